"""Recording says whose call it was and what it used, and never gets in the product's way."""

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from parley_client import NotRecorded, Parley
from tests.clients.shapes import (
    CHAT,
    CHAT_CHUNKS,
    DEEPSEEK,
    EMBEDDINGS,
    GEMINI,
    MESSAGE,
    MESSAGE_EVENTS,
    RESPONSE,
    SECRET,
    as_object,
)

ACME = {"customer": "acme", "conversation": "chat-9"}


def sent(parley, door):
    assert parley.flush(5)
    return [*door.events.values()]


def test_a_call_becomes_an_event_with_the_providers_id_and_usage(parley, door):
    assert parley.record(CHAT, **ACME) == CHAT["id"]
    (event,) = sent(parley, door)
    assert datetime.now(UTC) - datetime.fromisoformat(event.pop("occurred_at")) < timedelta(seconds=10)
    named = {"id": CHAT["id"], "provider": "openai", "model": "gpt-5", "provider_usage": CHAT["usage"]}
    assert event == ACME | named


def test_without_an_id_of_the_provider_one_is_made_before_it_is_sent(parley, door):
    event_id = parley.record(EMBEDDINGS, **ACME)
    assert uuid.UUID(event_id).version == 7
    assert [(event["id"], event["kind"]) for event in sent(parley, door)] == [(event_id, "embedding")]


def test_what_is_said_beside_the_response_counts_more(parley, door):
    said = {"id": "call-1", "provider": "groq", "model": "llama", "attempt": 2, "status": "error", "byok": True}
    parley.record(CHAT, **ACME, **said, turn=3, kind="tool", feature="support", outcome="resolved")
    (event,) = sent(parley, door)
    assert event.items() >= {**said, "turn": 3, "kind": "tool", "feature": "support", "outcome": "resolved"}.items()


def test_a_call_can_be_recorded_without_a_response(parley, door):
    usage = {"input_tokens": 10, "output_tokens": 0}
    at = datetime(2026, 11, 20, 10, tzinfo=UTC)
    c = parley.conversation(customer=7, id=uuid.UUID(int=1), provider="openai")
    c.record(model="gpt-5", usage=usage, occurred_at=at)
    (event,) = sent(parley, door)
    assert (event["customer"], event["conversation"]) == ("7", str(uuid.UUID(int=1)))
    assert (event["usage"], event["occurred_at"]) == (usage, at.isoformat())


def test_calls_of_a_turn_carry_its_number(parley, door):
    with parley.conversation(customer="acme", id="chat-9", feature="support") as c:
        c.record(CHAT)
        assert c.turn() == 1
        c.record(MESSAGE)
        assert c.turn(7) == 7
        c.record(GEMINI)
        [*c.stream(CHAT_CHUNKS, id="another")]
    assert [(event.get("turn"), event["feature"]) for event in sent(parley, door)] == [
        (None, "support"),
        (1, "support"),
        (7, "support"),
        (7, "support"),
    ]


def test_a_conversation_closes_itself_only_where_it_is_told_to_and_ends_well(parley, door):
    with parley.conversation(customer="acme", id="stays"):
        pass
    with parley.conversation(customer="acme", id="ends", close=True) as c:
        c.outcome = "resolved"
    with pytest.raises(ZeroDivisionError), parley.conversation(customer="acme", id="fails", close=True):
        _ = 1 / 0
    parley.conversation(customer="acme", id="given up").close("escalated")
    assert parley.flush(5)
    assert [(close["conversation"], close["outcome"]) for close in door.closes] == [
        ("ends", "resolved"),
        ("given up", "escalated"),
    ]


def test_a_close_is_never_before_the_calls_it_closes(parley, door):
    with parley.conversation(customer="acme", id="chat-9", close=True) as c:
        c.record(CHAT)
    (event,) = sent(parley, door)
    assert datetime.fromisoformat(door.closes[0]["at"]) >= datetime.fromisoformat(event["occurred_at"])


BAD = [
    lambda record: record(object(), **ACME),
    lambda record: record(**ACME),
    lambda record: record(CHAT, customer="", conversation="c"),
    lambda record: record(CHAT, customer="acme", conversation=None),
    lambda record: record({**CHAT, "object": "unheard of"}, **ACME),
    lambda record: record({**CHAT, "model": None}, **ACME),
    lambda record: record({**CHAT, "usage": {"prompt_tokens": float("nan")}}, **ACME),
    lambda record: record(CHAT, **ACME, occurred_at=datetime(2026, 1, 1)),  # noqa: DTZ001
]


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_recorded_is_told_and_hurts_nobody(parley, door, problems, bad):
    assert bad(parley.record) is None
    assert parley.record(CHAT, **ACME) == CHAT["id"]
    assert len(sent(parley, door)) == 1
    assert [problem.status for problem in problems] == ["unreadable"]


@pytest.mark.parametrize("bad", BAD)
def test_in_strict_mode_it_raises_as_well(parley_at, door, problems, bad):
    with pytest.raises(NotRecorded):
        bad(parley_at(door.url, strict=True).record)
    assert len(problems) == 1


def test_a_listener_that_fails_hurts_nobody(parley_at, door, caplog):
    parley = parley_at(door.url, listener=lambda problem: 1 / 0)
    assert parley.record(object(), **ACME) is None
    assert "the listener failed" in caplog.text


def test_without_a_listener_problems_are_logged_with_their_event(door, caplog):
    door.verdict = lambda event: "rejected"
    with caplog.at_level(logging.INFO), Parley(door.url, "pk_test") as parley:
        parley.record(CHAT, **ACME)
    assert f'usage rejected: because: {{"id": "{CHAT["id"]}"' in caplog.text


def test_the_log_is_not_flooded_but_keeps_count(caplog):
    parley = Parley("http://127.0.0.1:9", "pk_test", memory_bytes=1)
    for _ in range(1000):
        parley.record(CHAT, **ACME)
    parley.close(0)
    assert len(caplog.records) == 2
    assert "dropped: 999 more times" in caplog.text


def test_nothing_of_what_was_said_leaves_the_process(parley_at, door, problems, caplog, tmp_path):
    door.verdict = lambda event: "conflict"
    parley = parley_at(door.url, spool=tmp_path, linger_s=60)
    for response in (CHAT, RESPONSE, MESSAGE, GEMINI, DEEPSEEK, as_object(CHAT), {**CHAT, "usage": None}):
        parley.record(response, **ACME)
    [*parley.stream(MESSAGE_EVENTS, **ACME)]
    spooled = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert parley.flush(5)
    written = [spooled.decode(), caplog.text, json.dumps(problems, default=str), *(str(r) for r in door.requests)]
    assert MESSAGE["id"] in written[0] and MESSAGE["id"] in written[2] and MESSAGE["id"] in written[3]
    assert [text for text in written if SECRET in text] == []


def test_it_is_set_up_by_the_environment(monkeypatch, door):
    monkeypatch.setenv("PARLEY_URL", door.url)
    monkeypatch.setenv("PARLEY_KEY", "pk_from_outside")
    with Parley() as parley:
        parley.record(CHAT, **ACME)
    assert door.requests[0].headers["Authorization"] == "Bearer pk_from_outside"


@pytest.mark.parametrize(
    "setting",
    [
        {"url": "ftp://parley"},
        {"url": ""},
        {"key": ""},
        {"batch_events": 0},
        {"batch_events": 1001},
        {"batch_bytes": 2**21},
    ],
)
def test_a_wrong_setting_is_an_error_at_once(monkeypatch, setting):
    monkeypatch.delenv("PARLEY_URL", raising=False)
    monkeypatch.delenv("PARLEY_KEY", raising=False)
    with pytest.raises(ValueError, match=r"URL|url=|batch"):
        Parley(**{"url": "http://127.0.0.1:9", "key": "pk_test", **setting})
