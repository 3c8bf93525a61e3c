"""Which spans are in an OTLP/HTTP export, and what is answered to it? Protobuf and JSON, in and out. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from metering.doors.payloads import UnreadablePayload, read_json

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FAILED = Status.STATUS_CODE_ERROR
LONGEST_ID = 64
_DEEPEST = 4
_HEXADECIMAL = frozenset("0123456789abcdef")

Attributes = Mapping[str, Any]


class Span(Struct, kw_only=True):
    """A span of a trace. Ids are lower-case hexadecimal, "" where they are none; the root has the `parent_id` "".

    `started_nanos` counts from 1970. `exception` is the type of the exception recorded in its events, or "".
    """

    trace_id: str
    span_id: str
    parent_id: str
    scope: str
    name: str
    started_nanos: int
    attributes: Attributes
    resource: Attributes
    failed: bool
    status_message: str
    exception: str


def read_spans(body: bytes, media_type: str) -> list[Span]:
    """All spans of a request. Raises UnreadablePayload."""
    return list(_from_protobuf(body) if media_type == PROTOBUF else _from_json(body))


def write_answer(media_type: str, rejected: int, message: str) -> bytes:
    """The answer in the encoding of the request; without a message it says that everything was taken."""
    if media_type == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}} if message else {}
        return msgspec.json.encode(partial)
    answer = ExportTraceServiceResponse()
    if message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    return bytes(answer.SerializeToString())


# --- protobuf ---------------------------------------------------------------------------------------------------


def _from_protobuf(body: bytes) -> Iterator[Span]:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise UnreadablePayload("The body is no ExportTraceServiceRequest.") from error
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Span(
                    trace_id=span.trace_id.hex()[:LONGEST_ID],
                    span_id=span.span_id.hex()[:LONGEST_ID],
                    parent_id=span.parent_span_id.hex()[:LONGEST_ID],
                    scope=scope_spans.scope.name,
                    name=span.name,
                    started_nanos=span.start_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    failed=span.status.code == FAILED,
                    status_message=span.status.message,
                    exception=_exception(_attributes(event.attributes) for event in span.events),
                )


def _attributes(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values if item.WhichOneof("value") in _SIMPLE]
    return getattr(value, kind) if kind in _SIMPLE else None


_SIMPLE = frozenset({"string_value", "bool_value", "int_value", "double_value"})


# --- JSON -------------------------------------------------------------------------------------------------------


def _from_json(body: bytes) -> Iterator[Span]:
    request = read_json(body)
    if not isinstance(request, dict):
        raise UnreadablePayload("The body is no ExportTraceServiceRequest.")
    for resource_spans in _objects(request, "resourceSpans"):
        resource = _json_attributes(_object(resource_spans, "resource"))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            scope = _text(_object(scope_spans, "scope"), "name")
            for span in _objects(scope_spans, "spans"):
                yield _json_span(span, scope, resource)


def _json_span(span: dict[str, Any], scope: str, resource: Attributes) -> Span:
    status = _object(span, "status")
    return Span(
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_id=_id(span, "parentSpanId"),
        scope=scope,
        name=_text(span, "name"),
        started_nanos=_nanos(span.get("startTimeUnixNano")),
        attributes=_json_attributes(span),
        resource=resource,
        failed=status.get("code") in (FAILED, "STATUS_CODE_ERROR"),
        status_message=_text(status, "message"),
        exception=_exception(_json_attributes(event) for event in _objects(span, "events")),
    )


def _json_attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {
        _text(attribute, "key"): _json_value(attribute.get("value")) for attribute in _objects(holder, "attributes")
    }


def _json_value(value: Any, levels: int = _DEEPEST) -> Any:
    if not isinstance(value, dict) or levels == 0:
        return None
    for name in ("stringValue", "boolValue", "doubleValue"):
        if name in value:
            return value[name]
    if "intValue" in value:
        whole = value["intValue"]  # 64 bits go as text in JSON
        return int(whole) if isinstance(whole, str) and _is_number(whole) else whole
    if "arrayValue" in value:
        return [_json_value(item, levels - 1) for item in _objects(_object(value, "arrayValue"), "values")]
    return None


def _id(span: dict[str, Any], name: str) -> str:
    text = _text(span, name)[:LONGEST_ID].lower()
    return text if _HEXADECIMAL.issuperset(text) else ""


def _nanos(value: Any) -> int:
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if _is_number(text) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    part = holder.get(name)
    return part if isinstance(part, dict) else {}


def _objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    parts = holder.get(name)
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


# --- both -------------------------------------------------------------------------------------------------------


def _exception(events: Iterator[Attributes]) -> str:
    return next((str(event["exception.type"]) for event in events if event.get("exception.type")), "")
