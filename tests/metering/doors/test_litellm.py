"""LiteLLM's payloads: recorded from the real package (against a stand-in provider), and what may be wrong with them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from metering.models import Event, QuarantinedEvent
from tests.cast import acme, bolt
from tests.metering.doors.captured import stored
from tests.metering.doors.spans import RECORDED
from tests.rest import Caller

pytestmark = pytest.mark.django_db

URL = "/ingest/litellm"
Send = Callable[..., Any]
NOT_KNOWN = "usage: the call reports none"


@pytest.fixture
def send(caller: Any) -> Send:
    sender: Caller = caller("ingest")
    return lambda body, query="": sender.post(
        URL + query, body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / "litellm.ndjson").read_text().splitlines()]


def item(**changes: Any) -> dict[str, Any]:
    return recorded()[0] | changes


def reasons() -> list[str]:
    return list(QuarantinedEvent.objects.values_list("reason", flat=True))


def test_ndjson_an_array_and_single_objects_are_the_same(send: Send) -> None:
    acme()
    lines = (RECORDED / "litellm.ndjson").read_bytes()
    first = send(lines).json()
    again = [send(recorded()), *(send(each) for each in recorded())]
    assert first["accepted"] == Event.objects.count() == 10
    assert sum(answer.json()["duplicate"] for answer in again) == 20


def test_an_answer_from_the_cache_is_no_turn_and_no_token(send: Send) -> None:
    acme()
    send(recorded())
    (event,) = [event for event_id, event in stored().items() if "_cache_hit" in event_id]
    assert (event.kind, event.status, event.input_tokens + event.output_tokens) == ("other", "ok", 0)


def test_refusals_are_stored_as_errors_and_timeouts_wait_for_a_person(send: Send) -> None:
    acme()
    send(recorded())
    assert sorted(Event.objects.filter(status="error").values_list("input_tokens", "output_tokens")) == [(0, 0)] * 2
    assert "usage: the call failed (Timeout); what it used is not known" in reasons()


def test_a_call_for_a_tool_is_known_in_every_providers_shape(send: Send) -> None:
    acme()
    response = recorded()[0]["response"]
    send(
        [
            item(id="chat", response=response | {"choices": [{"finish_reason": "tool_calls"}]}),
            item(id="responses", response=response | {"output": [{"type": "function_call"}]}),
            item(id="messages", response=response | {"content": [{"type": "tool_use"}]}),
            item(id="answer"),
        ]
    )
    assert {key: event.kind for key, event in stored().items()} == {
        "chat": "tool",
        "responses": "tool",
        "messages": "tool",
        "answer": "completion",
    }


def test_zeros_of_a_stream_without_usage_are_not_taken_for_nothing(send: Send) -> None:
    acme()
    zeros = {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    assert send(item(response=zeros)).json()["quarantined"] == 1
    assert reasons() == [NOT_KNOWN]


def test_usage_is_found_where_responses_are_not_logged(send: Send) -> None:
    acme()
    send(item(response="redacted-by-litellm"))
    assert Event.objects.get().cache_read_tokens == 1920


def test_the_session_is_the_conversation_where_there_is_no_trace(send: Send) -> None:
    acme()
    send(item(trace_id="", session_id="s-7"))
    assert Event.objects.get().conversation == "s-7"


def test_an_end_user_goes_before_the_user_of_the_key(send: Send) -> None:
    acme()
    bolt()
    send([item(id="1", end_user="bolt"), item(id="2")])
    assert {key: event.customer.key for key, event in stored().items()} == {"1": "bolt", "2": "acme"}


def test_the_customer_of_the_url_is_for_those_that_name_none(send: Send) -> None:
    acme()
    bolt()
    send([item(id="1", metadata={}), item(id="2")], "?customer=bolt")
    assert {key: event.customer.key for key, event in stored().items()} == {"1": "bolt", "2": "acme"}


def test_a_call_that_names_nobody_waits_in_quarantine(send: Send) -> None:
    assert send(item(metadata={})).status_code == 200
    kept = QuarantinedEvent.objects.get()
    assert kept.reason.startswith("customer: the call names none")
    assert (kept.event["conversation"], kept.event["usage"]["cache_read_tokens"]) == ("s-1", 1920)


def test_a_key_bound_to_a_customer_reports_for_it_whoever_the_payload_names(bound_caller: Caller) -> None:
    acme()
    bolt()
    bound_caller.post(URL, [item(end_user="acme")])
    assert Event.objects.get().customer.key == "bolt"
    assert bound_caller.post(f"{URL}?customer=acme", [item()]).status_code == 403


def test_a_line_that_cannot_be_read_spoils_no_other_and_is_not_kept(send: Send) -> None:
    acme()
    answer = send(b'{"messages": "secret", \n' + json.dumps(item()).encode())
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    kept = QuarantinedEvent.objects.get()
    assert (kept.reason, kept.body["size"]) == ("line 1: is not JSON", 23)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_only_a_body_of_which_nothing_can_be_read_is_refused(send: Send, body: bytes) -> None:
    assert send(body).status_code == 400


@pytest.mark.parametrize("piece", [7, None, "text", [], {}, {"id": []}, {"id": {"a": 1}}, item(startTime="today")])
def test_a_piece_of_any_other_shape_is_kept_with_its_reason(send: Send, piece: object) -> None:
    answer = send([piece])
    assert (answer.status_code, answer.json()["quarantined"]) == (200, 1)
    assert all(reasons())


@pytest.mark.parametrize(
    "changes", [{"id": "a\0b"}, {"trace_id": "\ud800"}, {"model": "x" * 600}, {"startTime": 1e300}]
)
def test_what_no_database_can_hold_is_quarantined_too(send: Send, changes: dict[str, Any]) -> None:
    assert send([item(**changes)]).json()["quarantined"] == 1


def test_half_a_character_in_what_was_said_loses_nothing(send: Send) -> None:
    acme()
    assert send([item(messages=[{"content": "\ud83d"}])]).json()["accepted"] == 1


def test_what_was_said_is_kept_nowhere(send: Send) -> None:
    secret = [{"role": "user", "content": "my secret"}]
    response = {"choices": [{"message": {"content": "my secret"}}], "usage": {"prompt_tokens": "?"}}
    send([item(messages=secret, response=response, error_str="my secret", end_user="nobody")])
    send([item(messages=secret, model=None, error_str="my secret")])
    kept = QuarantinedEvent.objects.values_list("body", "event")
    assert len(kept) == 2
    assert "my secret" not in str(list(kept))


def test_a_call_too_old_is_kept_with_its_reason(send: Send) -> None:
    acme()
    send([item(startTime=recorded()[0]["startTime"] - 36 * 86_400)])
    assert reasons() == ["occurred_at: more than 35 days ago; the backfill scope allows older events"]


def test_another_call_under_a_stored_id_is_kept_as_a_conflict(send: Send) -> None:
    acme()
    answers = [send([item(trace_id=conversation)]).json() for conversation in ("one", "two", "two")]
    assert [answer["conflict"] for answer in answers] == [0, 1, 1]
    assert reasons() == ["conflict: conversation: stored one, sent two"]


def test_without_the_scope_or_a_key_nothing_comes_in(caller: Any) -> None:
    assert caller("read").post(URL, [item()]).status_code == 403
    assert Caller(None).post(URL, [item()]).status_code == 401
