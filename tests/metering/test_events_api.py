"""Is POST /v1/events what the contract says? Batches, single events, bad items, closes, corrections."""

import gzip
import json

import pytest
import time_machine

from api.keys import create_key
from metering.catching_up import fold_waiting
from metering.models import Correction, Event, QuarantinedEvent
from tests.cast import LATER, acme, bolt, cleo, settled, the_sitting
from tests.rest import LONG_AGO, Caller

pytestmark = pytest.mark.django_db
NOW = "2026-11-20T12:00:00Z"
CONTRACT = {
    "id": "req_123",
    "customer": "acme",
    "conversation": "chat-9",
    "occurred_at": "2026-11-20T10:00:00.123Z",
    "provider": "openai",
    "model": "gpt-5",
    "usage": {
        "input_tokens": 86,
        "cache_read_tokens": 1920,
        "cache_write_tokens": 0,
        "output_tokens": 300,
        "reasoning_tokens": 128,
    },
    "turn": 1,
    "kind": "completion",
    "attempt": 1,
    "status": "ok",
    "outcome": None,
    "byok": False,
    "feature": "support",
}


@pytest.fixture(autouse=True)
def at_noon():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def backend(caller):
    acme()
    return caller("ingest", "read", "manage")


def event(**fields):
    return {**CONTRACT, **fields}


def post(backend, *events):
    answer = backend.post("/v1/events", {"events": list(events)})
    assert answer.status_code == 200, answer.content
    return answer.json()


def counts(answer):
    return {name: count for name, count in answer.items() if name != "results" and count}


def test_the_event_of_the_contract_is_accepted_alone_and_then_a_duplicate(backend):
    assert counts(backend.post("/v1/events", CONTRACT).json()) == {"accepted": 1}
    assert counts(post(backend, CONTRACT)) == {"duplicate": 1}
    fold_waiting(now=LATER)
    assert the_sitting("acme", "chat-9").output_tokens == 300


def test_every_item_that_is_neither_accepted_nor_duplicate_is_listed_with_its_index(backend):
    grown = event(usage={**CONTRACT["usage"], "output_tokens": 301})
    other = event(model="gpt-4o")
    answer = post(
        backend, event(id="new"), CONTRACT, CONTRACT, grown, other, event(id="x", customer="nobody"), {"id": 1}
    )
    assert counts(answer) == {
        "accepted": 2,
        "duplicate": 1,
        "updated": 1,
        "conflict": 1,
        "quarantined": 1,
        "rejected": 1,
    }
    assert [(result["index"], result["status"]) for result in answer["results"]] == [
        (3, "updated"),
        (4, "conflict"),
        (5, "quarantined"),
        (6, "rejected"),
    ]
    assert answer["results"][1]["detail"] == "model: stored gpt-5, sent gpt-4o"


BAD_FIELDS = [
    ({"usage": {"input_tokens": 1.0, "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": True, "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": "1", "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": -1, "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": 10**9 + 1, "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": 10**40, "output_tokens": 1}}, "/usage/input_tokens"),
    ({"usage": {"input_tokens": 1}}, "/usage/output_tokens"),
    ({"usage": {"input_tokens": 1, "output_tokens": 1, "reasoning_tokens": 2}}, "/usage/reasoning_tokens"),
    ({"usage": {"input_tokens": 1, "output_tokens": 1, "total": 2}}, "/usage/total"),
    ({"provider_usage": {}}, "/provider_usage"),
    ({"occurred_at": "2026-11-20T10:00:00"}, "/occurred_at"),
    ({"occurred_at": "2026-11-20T12:05:01Z"}, "/occurred_at"),
    ({"occurred_at": "2026-10-16T11:59:59Z"}, "/occurred_at"),
    ({"occurred_at": "yesterday"}, "/occurred_at"),
    ({"id": ""}, "/id"),
    ({"id": "x" * 513}, "/id"),
    ({"turn": 0}, "/turn"),
    ({"attempt": 0}, "/attempt"),
    ({"kind": "close"}, "/kind"),
    ({"status": "fine"}, "/status"),
    ({"feature": "x" * 65}, "/feature"),
    ({"nonsense": 1}, "/nonsense"),
]


@pytest.mark.parametrize(("fields", "pointer"), BAD_FIELDS, ids=str)
def test_a_bad_field_is_400_alone_and_spoils_nothing_in_a_batch(backend, fields, pointer):
    alone = backend.post("/v1/events", event(id="bad") | fields)
    assert (alone.status_code, alone["Content-Type"]) == (400, "application/problem+json")
    assert alone.json()["errors"][0]["pointer"] == pointer
    answer = post(backend, event(id="bad") | fields, CONTRACT)
    assert counts(answer) == {"accepted": 1, "rejected": 1}
    assert answer["results"][0]["pointer"] == f"/events/0{pointer}"
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"id": "a", "id": "b"}', "/id"),
        (b'{"events": [{"id": "a", "\\u0069d": "b"}]}', "/events/0/id"),
        (b'{"id": NaN}', ""),
        (b'{"id": "a\\u0000"}', "/id"),
        (b'{"id": "\\ud800"}', ""),
        (b'{"id": "a"', ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"null", ""),
        (b'{"events": []}', "/events"),
        (b'{"events": {}}', "/events"),
        (b'{"events": [1], "more": 1}', "/more"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_cannot_be_read_is_400_with_a_pointer_and_stores_nothing(backend, body, pointer):
    answer = backend.post("/v1/events", body)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not Event.objects.exists()


def test_limits_of_size_number_and_media_type(backend):
    assert backend.post("/v1/events", {"events": [CONTRACT] * 1001}).status_code == 413
    assert backend.post("/v1/events", b" " * (1024 * 1024 + 1)).status_code == 413
    assert backend.post("/v1/events", CONTRACT, content_type="text/plain").status_code == 415
    bomb = gzip.compress(b" " * 20_000_000)
    assert backend.post("/v1/events", bomb, content_encoding="gzip").status_code == 413
    packed = gzip.compress(json.dumps(CONTRACT).encode())
    assert counts(backend.post("/v1/events", packed, content_encoding="gzip").json()) == {"accepted": 1}


def test_usage_in_the_providers_own_words_is_normalised(backend):
    body = event(
        provider_usage={
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "prompt_tokens_details": {"cached_tokens": 1920},
        }
    )
    del body["usage"]
    assert counts(post(backend, body)) == {"accepted": 1}
    stored = Event.objects.get()
    assert (stored.input_tokens, stored.cache_read_tokens, stored.output_tokens) == (86, 1920, 300)


def test_old_events_need_the_backfill_scope(backend, caller):
    old = event(occurred_at="2024-01-01T00:00:00Z")
    assert counts(post(backend, old)) == {"rejected": 1}
    assert counts(post(caller("ingest", "backfill"), old)) == {"accepted": 1}


def test_keys_and_scopes_decide_who_may_report(backend, caller):
    assert Caller(None).post("/v1/events", CONTRACT).status_code == 401
    assert caller("read").post("/v1/events", CONTRACT).status_code == 403
    assert caller("ingest").get("/v1/events?customer=acme").status_code == 403


def test_a_key_bound_to_cleo_reports_for_cleo_only(backend):
    cleo()
    bound = Caller(create_key("Cleo's own", ["ingest"], customer_key="cleo", now=LONG_AGO)[1])
    answer = post(bound, CONTRACT, event(id="mine", customer="cleo"))
    assert counts(answer) == {"accepted": 1, "rejected": 1}
    body = {"customer": "acme", "conversation": "chat-9"}
    assert bound.post("/v1/conversations/close", body).status_code == 400


def test_events_of_a_customer_to_come_wait_in_quarantine(backend, caller):
    assert counts(post(backend, event(customer="bolt"))) == {"quarantined": 1}
    assert QuarantinedEvent.objects.get().reason == "unknown customer"
    bolt()
    settled()
    assert the_sitting("bolt", "chat-9").calls == 1


def test_events_are_listed_by_customer_conversation_and_time(backend):
    post(backend, *[event(id=f"e{n}", occurred_at=f"2026-11-20T0{n}:00:00Z") for n in range(5)])
    listed = backend.get("/v1/events?customer=acme&conversation=chat-9&from=2026-11-20T01:00:00Z&limit=2").json()
    assert [row["id"] for row in listed["data"]] == ["e4", "e3"]
    following = backend.get(listed["next"].removeprefix("http://testserver")).json()
    assert [row["id"] for row in following["data"]] == ["e2", "e1"]
    assert backend.get("/v1/events?customer=nobody").status_code == 404
    assert backend.get("/v1/events").status_code == 400


def test_closing_settles_at_that_instant_and_twice_is_harmless(backend):
    post(backend, CONTRACT)
    body = {"customer": "acme", "conversation": "chat-9", "at": "2026-11-20T11:00:00Z", "outcome": "resolved"}
    assert backend.post("/v1/conversations/close", body).json() == {"status": "accepted"}
    assert backend.post("/v1/conversations/close", body).json() == {"status": "duplicate"}
    fold_waiting(now=LATER)
    sitting = the_sitting("acme", "chat-9")
    assert (sitting.settles_at.hour, sitting.outcome) == (11, "resolved")
    assert backend.post("/v1/conversations/close", body | {"customer": "nobody"}).status_code == 404


def test_a_voided_event_no_longer_counts_and_stays_void(backend):
    post(backend, CONTRACT, event(id="other"))
    answer = backend.post("/v1/events/req_123/void", {"customer": "acme", "reason": "sent by a test"})
    assert answer.json()["voided"] is True
    assert the_sitting("acme", "chat-9").calls == 1
    assert counts(post(backend, CONTRACT)) == {"duplicate": 1}
    again = backend.post("/v1/events/req_123/void", {"customer": "acme", "reason": "again"})
    assert again.status_code == 409
    assert Correction.objects.get().before["output_tokens"] == 300


def test_an_amended_event_says_what_it_should_have_said(backend):
    post(backend, CONTRACT)
    usage = {"input_tokens": 5, "output_tokens": 7}
    body = {"customer": "acme", "reason": "wrong unit", "usage": usage, "conversation": "chat-10"}
    assert backend.post("/v1/events/req_123/amend", body).json()["usage"]["output_tokens"] == 7
    moved = the_sitting("acme", "chat-10")
    assert (moved.input_tokens, moved.cache_read_tokens, moved.output_tokens) == (5, 0, 7)
    assert counts(post(backend, CONTRACT)) == {"duplicate": 1}
    assert backend.post("/v1/events/nobody/amend", body).status_code == 404
    empty = {"customer": "acme", "reason": "nothing"}
    assert backend.post("/v1/events/req_123/amend", empty).status_code == 400
