"""Whatever is sent to a door, it answers: never a failure of ours, never a row that cannot be read back."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.doors.otlp_reading import JSON, PROTOBUF
from metering.models import QuarantinedEvent, WaitingCall
from tests.cast import acme
from tests.metering.doors.spans import RECORDED
from tests.rest import Caller

pytestmark = pytest.mark.django_db

URLS = {
    "litellm": "/ingest/litellm",
    "otlp": "/ingest/otlp/v1/traces",
    "openmeter": "/ingest/openmeter/api/v1/events",
    "polar": "/ingest/polar/v1/events/ingest",
}
NAMES = (
    *("id", "trace_id", "startTime", "model", "metadata", "response", "usage", "status", "call_type", "cache_hit"),
    *("resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "stringValue", "arrayValue", "values"),
    *("subject", "source", "time", "data", "tokens", "type", "events", "_llm", "external_id", "timestamp"),
    *("gen_ai.operation.name", "chat", "traceId", "spanId", "startTimeUnixNano", "error_information", "prompt_tokens"),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(NAMES),
    st.just("\0\ud800"),
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def sender(caller: Any) -> Caller:
    acme()
    return caller("ingest")


@pytest.mark.parametrize("door", URLS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_any_json_is_answered(sender: Caller, door: str, tree: Any) -> None:
    body = json.dumps({"events": tree} if door == "polar" else tree).encode()
    assert sender.post(URLS[door], body).status_code in (200, 204, 400)
    list(QuarantinedEvent.objects.values("body", "event", "reason"))  # can be read back


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 16_000), byte=st.integers(0, 255))
def test_a_damaged_export_is_answered(sender: Caller, at: int, byte: int) -> None:
    damaged = bytearray((RECORDED / "two_instruments.pb").read_bytes())
    damaged[at] = byte
    assert sender.post(URLS["otlp"], bytes(damaged), content_type=PROTOBUF).status_code in (200, 400)


def test_gzip_is_unpacked_and_a_bomb_is_not(sender: Caller) -> None:
    export = gzip.compress((RECORDED / "openai_v2.pb").read_bytes())
    assert sender.post(URLS["otlp"], export, content_type=PROTOBUF, content_encoding="gzip").status_code == 200
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    assert sender.post(URLS["otlp"], bomb, content_type=PROTOBUF, content_encoding="gzip").status_code == 413


def test_more_than_a_batch_of_events_may_come_with_what_was_said(sender: Caller) -> None:
    padded = [{"id": "x", "messages": "m" * 2 * 1024 * 1024}]
    assert sender.post(URLS["litellm"], padded).status_code == 200
    assert sender.post(URLS["litellm"], bytes(17 * 1024 * 1024)).status_code == 413


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
def test_otlp_comes_in_two_encodings_only(sender: Caller, content_type: str) -> None:
    assert sender.post(URLS["otlp"], b"{}", content_type=content_type).status_code == 415


def test_an_empty_export_is_taken(sender: Caller) -> None:
    answers = [
        sender.post(URLS["otlp"], body, content_type=kind) for body, kind in ((b"\n\0", PROTOBUF), (b"{}", JSON))
    ]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b""), (200, b"{}")]


@pytest.mark.parametrize("door", URLS)
def test_an_unknown_parameter_is_a_mistake_to_be_noticed(sender: Caller, door: str) -> None:
    assert sender.post(f"{URLS[door]}?costumer=acme", b"[]").status_code == 400


def test_what_no_database_can_hold_is_kept_of_a_span_in_other_characters(sender: Caller) -> None:
    told = {"gen_ai.operation.name": "chat", "error.type": "a\0\ud800", "gen_ai.provider.name": "x"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in told.items()]
    attributes += [{"key": "gen_ai.usage.input_tokens", "value": {"doubleValue": float("nan")}}]
    hostile = {"traceId": "a" * 100, "spanId": "b", "name": "\0\ud83d", "attributes": attributes}
    spans = [hostile, hostile | {"traceId": "\0"}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    assert sender.post(URLS["otlp"], body).status_code == 200
    assert WaitingCall.objects.count() + QuarantinedEvent.objects.count() == 2


def test_more_items_than_any_client_sends_are_refused(sender: Caller) -> None:
    assert sender.post(URLS["litellm"], b"[" + b"{}," * 20_000 + b"{}]").status_code == 413


@pytest.mark.parametrize(
    "number", ["9" * 5000, "9" * 4000, f'"{"9" * 5000}"', "-1", "1e400", "NaN", "true", "[]", '"٣"']
)
def test_any_spelling_of_a_time_and_a_count_is_answered(sender: Caller, number: str) -> None:
    attribute = f'{{"key": "gen_ai.usage.input_tokens", "value": {{"intValue": {number}}}}}'
    kind = '{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}'
    span = f'{{"traceId": "a", "spanId": "b", "startTimeUnixNano": {number}, "attributes": [{attribute}, {kind}]}}'
    otlp = f'{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{span}]}}]}}]}}'
    event = f'[{{"id": "1", "time": {number}, "data": {{"tokens": {number}, "model": {number}}}}}]'
    assert sender.post(URLS["otlp"], otlp.encode()).status_code in (200, 400)
    assert sender.post(URLS["openmeter"], event.encode()).status_code in (204, 400)
    assert sender.post(URLS["litellm"], f'[{{"id": {number}, "startTime": {number}}}]'.encode()).status_code in (
        200,
        400,
    )
