"""What the client records arrives in Parley once, in the right buckets and conversations, whatever happens between."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.usage_normalising import UnreadableUsage, normalise
from parley_client import Parley
from tests.clients.producing import Producer
from tests.clients.reporting import conversations, ready, stored
from tests.clients.shapes import (
    BEDROCK,
    CHAT,
    CHAT_CHUNKS,
    DEEPSEEK,
    EMBEDDINGS,
    GEMINI,
    GEMINI_CHUNKS,
    MESSAGE,
    MESSAGE_EVENTS,
    RESPONSE,
    RESPONSE_EVENTS,
)
from tests.clients.test_processes import AWAY, wait_until_empty

BODIES = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "extracts" / "provider_usage_bodies.ndjson"
THE_CALL = (86, 1920, 0, 300, 128)
WITHOUT_REASONING = (86, 1920, 0, 300, 0)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key(live_server):
    return ready()


@pytest.fixture
def parley(live_server, key, problems):
    with Parley(live_server.url, key, linger_s=0.02, listener=problems.append) as client:
        yield client


@pytest.mark.parametrize(
    ("response", "tokens"),
    [
        (CHAT, THE_CALL),
        (RESPONSE, THE_CALL),
        (MESSAGE, WITHOUT_REASONING),
        (GEMINI, THE_CALL),
        (DEEPSEEK, THE_CALL),
        (EMBEDDINGS, (86, 0, 0, 0, 0)),
        (BEDROCK, (86, 0, 0, 300, 0)),
    ],
)
def test_a_providers_usage_lands_in_our_buckets(parley, problems, response, tokens):
    model = {"model": "claude-sonnet-4-5"} if response is BEDROCK else {}
    event_id = parley.record(response, customer="acme", conversation="chat-9", **model)
    assert parley.flush(10)
    assert (stored(), problems) == ({event_id: tokens}, [])


@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        (CHAT_CHUNKS, THE_CALL),
        (RESPONSE_EVENTS, THE_CALL),
        (MESSAGE_EVENTS, WITHOUT_REASONING),
        (GEMINI_CHUNKS, THE_CALL),
    ],
)
def test_so_does_that_of_a_stream_also_if_it_was_told_in_part_before(parley, problems, chunks, tokens):
    for _ in parley.stream(chunks, customer="acme", conversation="chat-9"):
        if chunks is MESSAGE_EVENTS:
            break
    assert parley.flush(10)
    for _ in range(2):
        [*parley.stream(chunks, customer="acme", conversation="chat-9")]
        assert parley.flush(10)
    assert ([*stored().values()], problems) == ([tokens], [])


@pytest.mark.skipif(not BODIES.exists(), reason="the real data lies beside the project, not in it")
def test_every_usage_body_that_providers_really_sent_arrives_untouched(parley, problems):
    expected, unreadable = {}, set()
    for number, line in enumerate(BODIES.read_text().splitlines()):
        body = json.loads(line)
        said = {"id": f"call-{number:012}", "model": body["model"] or "unknown", "provider": body["provider_family"]}
        parley.record(
            {**said, "usage": body["usage"]}, customer="acme", conversation="chat-9", provider=said["provider"]
        )
        try:
            expected[said["id"]] = tuple(normalise(said["provider"], body["usage"]))
        except UnreadableUsage:
            unreadable.add(said["id"])
    assert parley.flush(30)
    assert len(expected) > 150
    assert stored() == expected
    assert {problem.event["id"] for problem in problems} == unreadable


def test_a_conversation_has_the_turns_that_were_said_and_settles_when_closed(parley, key):
    with parley.conversation(customer="acme", id="chat-9", close=True) as c:
        for _ in range(4):
            c.turn()
            c.record(EMBEDDINGS, kind="tool")
            c.record(EMBEDDINGS, kind="completion")
        c.outcome = "resolved"
    assert parley.flush(10)
    (conversation,) = conversations(key).values()
    assert (conversation["turns"], conversation["calls"], conversation["outcome"]) == (4, 8, "resolved")
    assert datetime.fromisoformat(conversation["settles_at"]) < datetime.now(UTC)


def test_an_event_of_nobody_known_waits_for_its_customer(parley, problems):
    parley.record(CHAT, customer="bolt", conversation="chat-9")
    assert parley.flush(10)
    assert ([problem.status for problem in problems], stored()) == (["quarantined"], {})


def test_a_wrong_key_loses_nothing_of_a_spool(live_server, key, problems, tmp_path):
    with Parley(live_server.url, "pk_wrong", spool=tmp_path, listener=problems.append) as parley:
        parley.record(CHAT, customer="acme", conversation="chat-9")
        assert not parley.flush(0.5)
    assert {problem.status for problem in problems} == {"refused"}
    with Parley(live_server.url, key, spool=tmp_path):
        wait_until_empty(tmp_path)
    assert [*stored()] == [CHAT["id"]]


def test_a_producer_killed_while_parley_was_away_has_lost_and_doubled_nothing(live_server, key, tmp_path):
    with Producer(AWAY, tmp_path, "first", 100_000, key=key) as first:
        first.wait_for_calls(300)
        recorded = first.kill()
    with Producer(live_server.url, tmp_path, "second", 100, key=key) as second:
        wait_until_empty(tmp_path)
        recorded += second.recorded
    assert set(recorded) <= set(stored())
    assert len(set(stored()) - set(recorded)) <= 1
    told = {event_id.rpartition("-")[2] for event_id in stored() if "-first-" in event_id}
    assert told == {f"{number:08}" for number in range(len(told))}
    turns = [conversation["turns"] for name, conversation in conversations(key).items() if name.startswith("first")]
    assert sum(turns) == len(told)
