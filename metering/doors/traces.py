"""How do the calls of a trace find their conversation, which a span above them names in a later export?

Spans are exported as they end, a call before the span around it. So the spans of a trace are remembered (a day long)
and its calls wait until the spans above them have named conversation and customer, or the root has come and named
none: then the trace is the conversation. Nobody can know that a span will never come; after MAX_WAIT a call is taken
with what the trace has named by then.

The exports of a trace take turns at remembering it, so that a span which repeats another's call knows of it whichever
came first. That is committed before it is looked at who can go on, and waiting calls are locked while that is decided.
So of two exports that meet, the later one sees what the other has remembered, and no call is forgotten between them.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
from django.db import transaction

from metering.doors.admitting import DoorSender, admit
from metering.doors.foreign_calls import CannotBill, ForeignCall, first_text
from metering.doors.genai_spans import conversation_of, customer_of, read_call
from metering.doors.nested_spans import Origin, TracedSpan, name_calls, one_report, origins
from metering.doors.otlp_reading import Span
from metering.doors.turns import TRACES, take_turn
from metering.ingest import Verdict
from metering.isolating import count_what_works
from metering.reports import UnusableReport, check_time
from metering.span_models import SpanContext, WaitingCall

DOOR = "otlp"
MAX_WAIT = dt.timedelta(minutes=30)
"""Longer than most agents run, and within the hour after which a period is billed."""
REMEMBERED = dt.timedelta(days=1)
CUSTOMERS_OF_RESOURCES = ("customer.id",)
"""Attributes of a whole process that name whose calls it makes, where no span does."""
BATCH = 500

Traces = dict[str, dict[str, TracedSpan]]
"""Spans by trace id and span id."""


def receive(spans: Sequence[Span], *, sender: DoorSender, now: dt.datetime) -> list[Verdict]:
    """Take in the spans of an export; a verdict for each of its calls that need not wait. Raises IngestContended."""
    calls = {id(span): call for span in spans if (call := read_call(span)) is not None}
    placed = [span for span in spans if span.trace_id and span.span_id]
    trace_ids = {span.trace_id for span in placed}
    with transaction.atomic():
        take_turn(TRACES, trace_ids)
        mine = _remember(placed, calls, _remembered(trace_ids, sender), sender, now)
    verdicts = _let_in(trace_ids, sender.bound_to or "", given_up_at=None, asked=mine, now=now)
    nowhere = [calls[id(span)] for span in spans if id(span) in calls and not (span.trace_id and span.span_id)]
    for call in nowhere:
        call.fault = "the span has no trace id or no span id"
    return [*verdicts, *admit(nowhere, door=DOOR, sender=sender, now=now)]


def release_waiting(*, now: dt.datetime) -> int:
    """Let in the calls that have waited for MAX_WAIT, and forget old spans; how many calls were let in.

    A trace that breaks keeps no other waiting.
    """
    given_up_at = now - MAX_WAIT
    late = WaitingCall.objects.filter(received_at__lte=given_up_at).order_by("id")
    released, last = 0, uuid.UUID(int=0)
    while due := list(late.filter(id__gt=last).values_list("id", "sender", "trace_id")[:BATCH]):
        for sender in sorted({sender for _, sender, _ in due}):
            traces = sorted({trace_id for _, whose, trace_id in due if whose == sender})
            let_in = partial(_count_let_in, sender=sender, given_up_at=given_up_at, now=now)
            released += count_what_works(let_in, traces, failure="the waiting calls of trace %s cannot be let in")
        last = due[-1][0]
    SpanContext.objects.filter(received_at__lt=now - REMEMBERED).delete()
    return released


# --- remembering ------------------------------------------------------------------------------------------------


def _remembered(trace_ids: Iterable[str], sender: DoorSender) -> Traces:
    """What is remembered of these traces; an empty trace where that is nothing."""
    traces: Traces = {trace_id: {} for trace_id in trace_ids}
    for row in SpanContext.objects.filter(trace_id__in=traces, sender=sender.bound_to or ""):
        traces[row.trace_id][row.span_id] = _traced(row)
    return traces


def _traced(row: SpanContext) -> TracedSpan:
    return TracedSpan(
        row.trace_id,
        row.span_id,
        row.parent_id,
        row.conversation,
        row.customer,
        event_id=row.event_id,
        failed=row.failed,
    )


def _remember(
    spans: Sequence[Span], calls: dict[int, ForeignCall], traces: Traces, sender: DoorSender, now: dt.datetime
) -> set[tuple[str, str]]:
    """Store what the spans tell of their traces, and their calls as waiting; the places of those calls."""
    fresh = [_place(span, calls.get(id(span)), traces[span.trace_id]) for span in spans]
    for trace in traces.values():
        name_calls(trace)
    defaults = {(span.trace_id, span.span_id): _default_customer(span, sender) for span in spans}
    waiting = [
        WaitingCall(
            trace_id=place[0],
            span_id=place[1],
            sender=sender.bound_to or "",
            default_customer=defaults[place],
            fields=msgspec.to_builtins(call.fields),
            fault=call.fault or _out_of_time(call, sender, now),
            sent=call.sent,
            received_at=now,
        )
        for place, call in _reports(fresh).items()
    ]
    waiting.sort(key=lambda row: (row.trace_id, row.span_id))
    SpanContext.objects.bulk_create(_contexts(fresh, traces, sender, now), ignore_conflicts=True)
    WaitingCall.objects.bulk_create(waiting, ignore_conflicts=True)
    return {(row.trace_id, row.span_id) for row in waiting}


def _place(span: Span, call: ForeignCall | None, trace: dict[str, TracedSpan]) -> TracedSpan:
    """The span in its trace; where it is remembered, it stays what it was there."""
    traced = trace.setdefault(span.span_id, TracedSpan(span.trace_id, span.span_id, span.parent_id))
    try:
        traced.conversation = traced.conversation or conversation_of(span)
        traced.customer = traced.customer or customer_of(span)
    except CannotBill:
        pass  # a name that cannot be stored is none; the call itself says so
    if call is not None:
        traced.call = call
        traced.failed = call.fields.get("status") == "error"
    return traced


def _reports(fresh: Sequence[TracedSpan]) -> dict[tuple[str, str], ForeignCall]:
    """The calls among these spans, several reports of one call made one, by the place of the innermost."""
    same = defaultdict(list)
    for span in {(span.trace_id, span.span_id): span for span in fresh}.values():
        if span.call is not None and span.event_id:
            same[span.trace_id, span.event_id].append(span)
    reports = {}
    for (trace_id, event_id), spans in same.items():
        around = {span.parent_id for span in spans}
        innermost = next((span for span in spans if span.span_id not in around), spans[0])
        calls = [span.call for span in spans if span.call is not None]
        reports[trace_id, innermost.span_id] = one_report(calls, event_id)
    return reports


def _contexts(fresh: Sequence[TracedSpan], traces: Traces, sender: DoorSender, now: dt.datetime) -> list[SpanContext]:
    """What to remember: spans that name something, and all of a trace in which a call has been seen."""
    with_calls = {trace_id for trace_id, trace in traces.items() if any(span.is_call for span in trace.values())}
    rows = {
        (span.trace_id, span.span_id): SpanContext(
            trace_id=span.trace_id,
            span_id=span.span_id,
            sender=sender.bound_to or "",
            parent_id=span.parent_id,
            conversation=span.conversation,
            customer=span.customer,
            event_id=span.event_id,
            failed=span.failed,
            received_at=now,
        )
        for span in fresh
        if span.trace_id in with_calls or span.conversation or span.customer
    }
    return [rows[place] for place in sorted(rows)]


def _default_customer(span: Span, sender: DoorSender) -> str | None:
    try:
        return first_text(span.resource, CUSTOMERS_OF_RESOURCES) or sender.default_customer
    except CannotBill:
        return sender.default_customer


def _out_of_time(call: ForeignCall, sender: DoorSender, now: dt.datetime) -> str:
    """What is wrong with the call's time, or "". Asked when it comes: waiting makes nothing too old."""
    try:
        check_time(call.fields["occurred_at"], now=now, backfill=sender.backfill)
    except UnusableReport as error:
        return f"occurred_at: {error.detail}"
    return ""


# --- going on ---------------------------------------------------------------------------------------------------


def _let_in(
    trace_ids: Iterable[str],
    sender: str,
    *,
    given_up_at: dt.datetime | None,
    asked: set[tuple[str, str]] | None,
    now: dt.datetime,
) -> list[Verdict]:
    """Admit the waiting calls of these traces that know enough, or came before `given_up_at`.

    The verdicts are those of the calls `asked` for (all, if None).
    """
    with transaction.atomic():
        in_traces = WaitingCall.objects.filter(trace_id__in=list(trace_ids), sender=sender).order_by("id")
        rows = list(in_traces.select_for_update())
        if not rows:
            return []
        bound = DoorSender(bound_to=sender or None, backfill=True)
        traces = _remembered({row.trace_id for row in rows}, bound)
        wanted = defaultdict(list)
        for row in rows:
            wanted[row.trace_id].append(row.span_id)
        found = {trace_id: origins(traces[trace_id], span_ids) for trace_id, span_ids in wanted.items()}
        ready = []
        for row in rows:
            given_up = given_up_at is not None and row.received_at <= given_up_at
            call = _attributed(row, found[row.trace_id][row.span_id], traces[row.trace_id], given_up)
            if call is not None:
                ready.append((row, call))
        verdicts = admit([call for _, call in ready], door=DOOR, sender=bound, now=now)
        WaitingCall.objects.filter(pk__in=[row.pk for row, _ in ready]).delete()
        answered = zip(ready, verdicts, strict=True)
        return [verdict for (row, _), verdict in answered if asked is None or (row.trace_id, row.span_id) in asked]


def _count_let_in(trace_ids: Sequence[str], *, sender: str, given_up_at: dt.datetime, now: dt.datetime) -> int:
    return len(_let_in(trace_ids, sender, given_up_at=given_up_at, asked=None, now=now))


def _attributed(row: WaitingCall, origin: Origin, trace: dict[str, TracedSpan], given_up: bool) -> ForeignCall | None:
    """The call with its conversation and customer, or None while a span still to come may name them."""
    fields = dict(row.fields)
    conversation = fields.get("conversation") or origin.conversation
    customer = row.sender or fields.get("customer") or origin.customer
    if given_up:
        conversation = conversation or _only(span.conversation for span in trace.values())
        customer = customer or _only(span.customer for span in trace.values())
    if given_up or origin.rooted:
        conversation = conversation or row.trace_id
        customer = customer or row.default_customer
    elif not (conversation and customer):
        return None
    fields |= {name: value for name, value in (("conversation", conversation), ("customer", customer)) if value}
    return ForeignCall(fields, row.fault, row.sent)


def _only(names: Iterable[str | None]) -> str | None:
    """The one name that is named, or None."""
    named = {name for name in names if name}
    return named.pop() if len(named) == 1 else None
