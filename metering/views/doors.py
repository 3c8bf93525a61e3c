"""`/ingest/...`: the requests of other products' clients, taken as they are, answered as those clients need it."""

import time
from collections import Counter
from collections.abc import Sequence

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from api.bodies import read_body
from api.endpoints import Endpoint, operation, require_scope
from api.problems import bad_request, forbidden, too_large, unsupported_media_type
from api.rate_limits import require_admission
from api.strict_json import Body
from metering.doors import litellm, openmeter, polar_events, traces
from metering.doors.admitting import DoorSender, admit
from metering.doors.otlp_reading import JSON, PROTOBUF, read_spans, write_answer
from metering.doors.payloads import UnreadableLine, UnreadablePayload, read_items, read_json
from metering.ingest import IngestContended, Verdict
from metering.receiving import IngestAnswer, ingest_answer
from metering.reports import Reference

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes. These payloads carry what was said, and come by the hundred."""
ITEMS_LIMIT = 20_000
"""Several times what these clients put into one request by themselves."""
REASONS_SHOWN = 3
CONTENDED: dict[type[Exception], int] = {IngestContended: 503}


class DoorQuery(Body):
    """Whose calls are that name no customer."""

    customer: Reference | None = None


class PolarAnswer(msgspec.Struct):
    """What Polar answers: how many events were stored, and how many had been."""

    inserted: int
    duplicates: int


def _sender(request: Request, query: DoorQuery) -> DoorSender:
    key = require_scope(request, "ingest")
    if key.customer_key is not None and query.customer not in (None, key.customer_key):
        raise forbidden(f"This key reports for {key.customer_key} only.")
    return DoorSender(key.customer_key, query.customer, "backfill" in key.scopes)


def _require_room(request: Request, items: int) -> None:
    """Raises Problem 413 for too many items and 429 for too many lately; then nothing of the request is stored."""
    if items > ITEMS_LIMIT:
        raise too_large(f"A request may have {ITEMS_LIMIT:,} items; this one has {items:,}.")
    require_admission(require_scope(request, "ingest"), events=items, requests=0, now_s=time.monotonic())


def _items(body: bytes) -> list[object]:
    try:
        return read_items(body)
    except UnreadablePayload as error:
        raise bad_request(str(error)) from error


class LiteLlm(Endpoint):
    """`/ingest/litellm`"""

    @operation(
        scope="ingest",
        query=DoorQuery,
        returns=IngestAnswer,
        idempotent=False,
        atomic=False,
        reads_body=False,
        problems=CONTENDED,
        door="litellm",
        summary="Take calls from LiteLLM",
        description="The payloads of LiteLLM's generic_api callback: a JSON array, NDJSON or one object. What cannot "
        "be used is quarantined; the answer is 200 whenever anything in the body can be read, since LiteLLM gives up "
        "a batch that is refused.",
    )
    def post(self, request: Request, query: DoorQuery) -> IngestAnswer:
        sender = _sender(request, query)
        items = _items(read_body(request, BODY_LIMIT))
        _require_room(request, len(items))
        calls = [item.as_call() if isinstance(item, UnreadableLine) else litellm.read_call(item) for item in items]
        return ingest_answer(admit(calls, door="litellm", sender=sender, now=timezone.now()))


class OtlpTraces(Endpoint):
    """`/ingest/otlp/v1/traces`"""

    @operation(
        scope="ingest",
        query=DoorQuery,
        idempotent=False,
        atomic=False,
        reads_body=False,
        problems=CONTENDED,
        door="otlp",
        summary="Take calls from OpenTelemetry",
        description="An OTLP/HTTP export of traces, in protobuf or JSON. Inference spans become events; a call waits "
        "for the span above it that names its conversation. Spans that had to be quarantined are told in "
        "`partial_success`.",
    )
    def post(self, request: Request, query: DoorQuery) -> HttpResponse:
        sender = _sender(request, query)
        media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type not in (PROTOBUF, JSON):
            raise unsupported_media_type(f"The content type must be {PROTOBUF} or {JSON}.")
        try:
            spans = read_spans(read_body(request, BODY_LIMIT), media_type)
        except UnreadablePayload as error:
            raise bad_request(str(error)) from error
        _require_room(request, len(spans))
        verdicts = traces.receive(spans, sender=sender, now=timezone.now())
        return HttpResponse(_otlp_answer(media_type, verdicts), content_type=media_type)


def _otlp_answer(media_type: str, verdicts: Sequence[Verdict]) -> bytes:
    kept = [verdict for verdict in verdicts if verdict.status in ("quarantined", "conflict")]
    if not kept:
        return write_answer(media_type, 0, "")
    reasons = Counter(f"{verdict.status}: {verdict.detail}" for verdict in kept).most_common(REASONS_SHOWN)
    return write_answer(media_type, len(kept), "; ".join(f"{times} {reason}" for reason, times in reasons))


class OpenMeterEvents(Endpoint):
    """`/ingest/openmeter/api/v1/events`"""

    @operation(
        scope="ingest",
        query=DoorQuery,
        status=204,
        idempotent=False,
        atomic=False,
        reads_body=False,
        problems=CONTENDED,
        door="openmeter",
        summary="Take CloudEvents from OpenMeter's clients",
        description="One CloudEvent or a batch. OpenMeter's SDK takes anything but 204 for a failure.",
    )
    def post(self, request: Request, query: DoorQuery) -> HttpResponse:
        sender = _sender(request, query)
        events = _items(read_body(request, BODY_LIMIT))
        _require_room(request, len(events))
        openmeter.receive(events, sender=sender, now=timezone.now())
        return HttpResponse(status=204)


class PolarEvents(Endpoint):
    """`/ingest/polar/v1/events/ingest`"""

    @operation(
        scope="ingest",
        query=DoorQuery,
        returns=PolarAnswer,
        idempotent=False,
        atomic=False,
        reads_body=False,
        problems=CONTENDED,
        door="polar",
        summary="Take events from Polar's clients",
    )
    def post(self, request: Request, query: DoorQuery) -> PolarAnswer:
        sender = _sender(request, query)
        try:
            body = read_json(read_body(request, BODY_LIMIT))
        except UnreadablePayload as error:
            raise bad_request(str(error)) from error
        events = body.get("events") if isinstance(body, dict) else None
        if not isinstance(events, list):
            raise bad_request("The body must be an object with an array `events`.")
        _require_room(request, len(events))
        calls = [polar_events.read_call(event) for event in events]
        verdicts = admit(calls, door="polar", sender=sender, now=timezone.now())
        counts = Counter(verdict.status for verdict in verdicts)
        return PolarAnswer(inserted=counts["accepted"], duplicates=counts["duplicate"])
