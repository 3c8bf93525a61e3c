"""Requests captured from real clients, sent unchanged and sent twice, become exactly the events they must become."""

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metering.models import Event, QuarantinedEvent, WaitingCall
from plans.customers import create_customer
from tests.metering.doors.captured import FOLDER, NOW, expected, needs_captured_requests, send_all, stored
from tests.rest import Caller

pytestmark = [pytest.mark.django_db, needs_captured_requests]

LITELLM = "/ingest/litellm"
OTLP = "/ingest/otlp/v1/traces"
OPENMETER = "/ingest/openmeter/api/v1/events"
POLAR = "/ingest/polar/v1/events/ingest"
FOLDERS = {
    "litellm_generic_json_array": (LITELLM, "acme-user"),
    "openinference_pb": (OTLP, "acme"),
    "otel_v2_json": (OTLP, "acme"),
    "sdk_openmeter": (OPENMETER, "acme"),
    "sdk_polar": (POLAR, "acme"),
}
LEFT_OUT = {"sdk_stripe": "requests to Stripe's own API: amounts and counts to bill, no model calls, nothing EXPECTED"}
SAID_BY_ALL = {"model", "customer_id", "conversation_id", "provider"}


@pytest.fixture
def sender(caller: Any) -> Caller:
    return caller("ingest")


def customer_of(folder: str) -> None:
    create_customer(key=FOLDERS[folder][1], currency="USD", now=NOW)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_events_are_exactly_those_expected(folder: str, sender: Caller) -> None:
    customer_of(folder)
    send_all(folder, FOLDERS[folder][0], sender)
    events = stored()
    billable = [wanted for wanted in expected(folder) if wanted["billable"]]
    for wanted in billable:
        assert told(events.pop(wanted["event_id"]), wanted) == as_told(wanted), wanted["event_id"]
    assert {event_id: (event.status, used(event)) for event_id, event in events.items()} == {
        wanted["event_id"]: ("error", 0) for wanted in expected(folder) if refused(wanted)
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_not_known_is_in_quarantine_with_its_reason_and_nothing_else_is(folder: str, sender: Caller) -> None:
    customer_of(folder)
    send_all(folder, FOLDERS[folder][0], sender)
    kept = QuarantinedEvent.objects.values_list("event_id", "customer_key", "reason")
    assert list(kept) == [
        (wanted["event_id"], "acme", "usage: the span reports none")
        for wanted in expected(folder)
        if not wanted["billable"] and not refused(wanted)
    ]
    assert not WaitingCall.objects.exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_sent_again_they_change_nothing(folder: str, sender: Caller) -> None:
    customer_of(folder)
    send_all(folder, FOLDERS[folder][0], sender)
    before = everything()
    send_all(folder, FOLDERS[folder][0], sender)
    assert everything() == before
    assert before[0]


@pytest.mark.parametrize("folder", FOLDERS)
def test_before_the_customer_exists_they_wait_in_quarantine(folder: str, sender: Caller) -> None:
    send_all(folder, FOLDERS[folder][0], sender)
    assert not Event.objects.exists()
    kept = set(QuarantinedEvent.objects.values_list("event_id", "customer_key"))
    assert kept == {(wanted["event_id"], FOLDERS[folder][1]) for wanted in expected(folder)}


def test_every_folder_is_sent_or_left_out_by_name() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == FOLDERS.keys() | LEFT_OUT.keys()


def test_openmeters_client_gets_the_empty_204_without_which_it_fails(sender: Caller) -> None:
    answers = send_all("sdk_openmeter", OPENMETER, sender)
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3


def test_litellm_and_polar_are_told_what_became_of_their_events(sender: Caller) -> None:
    customer_of("litellm_generic_json_array")
    (answer,) = send_all("litellm_generic_json_array", LITELLM, sender)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["results"]) == (200, 7, [])
    customer_of("sdk_polar")
    told_polar = [send_all("sdk_polar", POLAR, sender)[0].json() for _ in range(2)]
    assert told_polar == [{"inserted": 1, "duplicates": 0}, {"inserted": 0, "duplicates": 1}]


def test_an_otlp_exporter_is_answered_in_its_own_encoding(sender: Caller) -> None:
    customer_of("otel_v2_json")
    (binary,) = send_all("openinference_pb", OTLP, sender)
    (text,) = send_all("otel_v2_json", OTLP, sender)
    partial = ExportTraceServiceResponse.FromString(binary.content).partial_success
    assert (binary["Content-Type"], partial.rejected_spans) == ("application/x-protobuf", 1)
    assert text.json()["partialSuccess"] == {
        "rejectedSpans": "1",
        "errorMessage": "1 quarantined: usage: the span reports none",
    }


def refused(wanted: dict[str, Any]) -> bool:
    """Calls that the provider refused stand in EXPECTED with no response, and so without an id of one."""
    return not wanted["billable"] and not wanted["event_id"].startswith("chatcmpl-")


def as_told(wanted: dict[str, Any]) -> dict[str, Any]:
    """What EXPECTED says of an event; null is what the payload does not say, which is no token of that kind."""
    said = {name: wanted[name] for name in SAID_BY_ALL if wanted.get(name)}
    if wanted.get("conversation_id_from_parent"):
        said["conversation_id"] = wanted["conversation_id_from_parent"]
        said["customer_id"] = wanted["customer_id_from_parent"]
    counts = {name: wanted[name] or 0 for name in wanted if name.endswith("_tokens")}
    others = {
        name: wanted[name] for name in ("occurred_at_epoch", "is_tool_call", "source", "tokens") if name in wanted
    }
    return said | counts | others


def told(event: Event, wanted: dict[str, Any]) -> dict[str, Any]:
    """The same of the stored event."""
    everything = {
        "model": event.model,
        "provider": event.provider,
        "customer_id": event.customer.key,
        "conversation_id": event.conversation,
        "input_tokens": event.input_tokens + event.cache_read_tokens + event.cache_write_tokens,
        "cached_input_tokens": event.cache_read_tokens,
        "cache_write_tokens": event.cache_write_tokens,
        "output_tokens": event.output_tokens,
        "reasoning_tokens": event.reasoning_tokens,
        "occurred_at_epoch": event.occurred_at.timestamp(),
        "is_tool_call": event.kind == "tool",
        "source": event.feature,
        "tokens": str(used(event)),
    }
    assert event.status == "ok"
    return {name: everything[name] for name in as_told(wanted)}


def used(event: Event) -> int:
    return event.input_tokens + event.cache_read_tokens + event.cache_write_tokens + event.output_tokens


def everything() -> tuple[list[Any], list[Any]]:
    return list(Event.objects.order_by("pk").values()), list(QuarantinedEvent.objects.order_by("pk").values())
