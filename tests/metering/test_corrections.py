"""A void or an amendment puts an event right once, is kept as history, and moves with it whatever it counted in."""

from typing import Any

import pytest
import time_machine

from metering.models import Correction, Event
from tests.cast import LATER, acme, bolt, report, send, settled, sittings_of, the_sitting
from tests.rest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(caller: Any) -> Any:
    acme()
    with time_machine.travel(LATER, tick=False):
        yield caller("manage", "read")


def corrected(manager: Caller, event_id: str, how: str, expect: int = 200, **fields: Any) -> Any:
    body = {"customer": "acme", "reason": "a test"} | fields
    answer = manager.post(f"/v1/events/{event_id}/{how}", body)
    assert answer.status_code == expect, answer.content
    return answer.json()


def history(manager: Caller, event_id: str = "e1") -> Any:
    return manager.get(f"/v1/events/{event_id}/corrections?customer=acme").json()["data"]


def test_everything_a_call_says_may_be_amended_and_taken_back(manager: Caller) -> None:
    send([report("e1", turn=3, outcome="resolved", feature="support")])
    said = {
        "conversation": "other", "occurred_at": "2026-11-03T12:00:00+01:00", "provider": "openai", "model": "gpt-4o",
        "usage": {"input_tokens": 1, "output_tokens": 2, "reasoning_tokens": 1}, "turn": None, "kind": "tool",
        "attempt": 2, "status": "error", "outcome": None, "byok": True, "feature": "sales",
    }  # fmt: skip
    answer = corrected(manager, "e1", "amend", **said)
    assert {name: answer[name] for name in said} == said | {
        "occurred_at": "2026-11-03T11:00:00Z",
        "usage": said["usage"] | {"cache_read_tokens": 0, "cache_write_tokens": 0},  # type: ignore[operator]
    }


def test_an_event_that_moves_leaves_its_conversation_and_joins_the_other(manager: Caller) -> None:
    send([report("e1"), report("e2"), report("e3", conversation="other")])
    settled()
    corrected(manager, "e1", "amend", conversation="other")
    assert (the_sitting().calls, the_sitting("acme", "other").calls) == (1, 2)
    corrected(manager, "e2", "amend", conversation="other")
    assert (sittings_of(), the_sitting("acme", "other").calls) == ([], 3)


def test_voiding_the_call_between_parts_a_conversation(manager: Caller) -> None:
    send([report("e1"), report("e2", 20), report("e3", 40)])
    corrected(manager, "e2", "void")
    assert [row.calls for row in sittings_of()] == [1, 1]


def test_a_voided_event_is_void_for_good(manager: Caller) -> None:
    send([report("e1")])
    assert corrected(manager, "e1", "void")["voided"] is True
    corrected(manager, "e1", "void", 409)
    corrected(manager, "e1", "amend", 409, turn=1)
    assert send([report("e1"), report("e1", model="another")]) == ["duplicate", "duplicate"]
    assert (sittings_of(), Correction.objects.count()) == ([], 1)


def test_a_correction_repeated_under_its_key_is_made_once(manager: Caller) -> None:
    send([report("e1"), report("e2")])
    body = {"customer": "acme", "reason": "twice"}
    answers = [manager.post("/v1/events/e1/void", body, Idempotency_Key="k") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert manager.post("/v1/events/e2/void", body, Idempotency_Key="k").status_code == 409
    assert Correction.objects.count() == 1


def test_the_history_of_an_event_is_read_back_newest_first(manager: Caller) -> None:
    send([report("e1"), report("e2")])
    corrected(manager, "e1", "amend", model="gpt-4o", reason="wrong model")
    corrected(manager, "e1", "void", reason="sent by a test")
    void, amendment = history(manager)
    assert [(row["action"], row["reason"]) for row in (void, amendment)] == [
        ("void", "sent by a test"),
        ("amend", "wrong model"),
    ]
    assert (amendment["before"]["model"], amendment["after"]["model"]) == ("unpriced-1", "gpt-4o")
    assert void["after"] is None
    assert amendment["before"]["usage"]["input_tokens"] == 900
    assert history(manager, "e2") == []


def test_an_amendment_that_makes_no_event_changes_nothing(manager: Caller) -> None:
    send([report("e1")])
    for said, pointer in (
        ({}, ""),
        ({"occurred_at": "1969-01-01T00:00:00Z"}, "/occurred_at"),
        ({"occurred_at": "2031-01-01T00:00:00Z"}, "/occurred_at"),
        ({"usage": {"input_tokens": 1, "output_tokens": 1, "reasoning_tokens": 2}}, "/usage/reasoning_tokens"),
        ({"usage": {"input_tokens": 1}}, "/usage/output_tokens"),
        ({"model": None}, "/model"),
        ({"kind": "close"}, "/kind"),
        ({"id": "e2"}, "/id"),
    ):
        answer = corrected(manager, "e1", "amend", 400, **said)
        assert answer["errors"][0]["pointer"] == pointer, said
    assert not Correction.objects.exists()


def test_only_the_customers_own_calls_can_be_corrected(manager: Caller, caller: Any) -> None:
    send([report("e1")])
    bolt()
    corrected(manager, "e1", "void", 404, customer="bolt")
    corrected(manager, "e1", "void", 404, customer="nobody")
    manager.post("/v1/conversations/close", {"customer": "acme", "conversation": "chat"})
    close_id = f"parley:close:{LATER.isoformat()}:chat"
    caller("ingest").post("/v1/conversations/close", {"customer": "acme", "conversation": "chat"})
    assert Event.objects.filter(event_id=close_id).exists()
    corrected(manager, close_id, "void", 404)
    assert caller("ingest", "read").post("/v1/events/e1/void", {}).status_code == 403
