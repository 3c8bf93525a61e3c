"""Which spans of a trace tell of the same call, and what do the spans above a call name? Pure.

Two instruments report one call in two spans: side by side with the same response id, or one inside the other, where
one of them may not know the id. An inference span around a single other one is the same call; around several, without
an id of its own, it repeats their sum.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from metering.doors.foreign_calls import ForeignCall


class TracedSpan(Struct):
    """A span in its trace. `call` is what it reports, if it came just now; `event_id` under which id, if it is known.

    `conversation` and `customer` are those that the span itself names.
    """

    trace_id: str
    span_id: str
    parent_id: str
    conversation: str | None = None
    customer: str | None = None
    call: ForeignCall | None = None
    event_id: str = ""
    failed: bool = False

    @property
    def own_place(self) -> str:
        """The event id of a call that has no other."""
        return f"{self.trace_id}:{self.span_id}"

    @property
    def response_id(self) -> str:
        """The id of the provider's response, or ""."""
        if self.call is not None and self.call.id:
            return self.call.id
        return "" if self.event_id == self.own_place else self.event_id

    @property
    def is_call(self) -> bool:
        return self.call is not None or self.event_id != ""


Trace = Mapping[str, TracedSpan]
"""The known spans of one trace, by span id."""


class Origin(NamedTuple):
    """What the nearest span names, from a span upwards; `rooted` if all spans up to the root are known."""

    conversation: str | None
    customer: str | None
    rooted: bool


UNKNOWN = Origin(None, None, False)


def origins(trace: Trace, wanted: Iterable[str]) -> dict[str, Origin]:
    """The origin of each wanted span; every span of the trace is looked at once."""
    known: dict[str, Origin] = {}
    for span_id in wanted:
        path: dict[str, TracedSpan] = {}
        here = span_id
        while here in trace and here not in known and here not in path:
            path[here] = trace[here]
            here = trace[here].parent_id
        above = Origin(None, None, True) if here == "" else known.get(here, UNKNOWN)
        for passed, span in reversed(path.items()):
            above = Origin(span.conversation or above.conversation, span.customer or above.customer, above.rooted)
            known[passed] = above
        known.setdefault(span_id, UNKNOWN)
    return known


def name_calls(trace: Trace) -> None:
    """Give each call that came just now its event id; one that only repeats the calls inside it keeps "".

    A call that is stored keeps its id, and what is the same call joins it.
    """
    inside = _calls_inside(trace)
    same_as: dict[str, str] = {}
    repeating = set()
    for outer_id, inner in inside.items():
        outer = trace[outer_id]
        answered = [span for span in inner if not span.failed]
        alike = answered or (inner if outer.failed else [])
        if len(alike) == 1 and _may_be_one(outer, alike[0]):
            same_as[outer_id] = alike[0].span_id
        elif len(alike) > 1 and not outer.response_id:
            repeating.add(outer_id)
    groups = defaultdict(list)
    for span in trace.values():
        if span.is_call and span.span_id not in repeating:
            groups[_innermost(span.span_id, same_as)].append(span)
    for innermost, spans in groups.items():
        stored = next((span.event_id for span in spans if span.event_id), "")
        told = next((span.response_id for span in spans if span.response_id), "")
        for span in spans:
            span.event_id = span.event_id or stored or told or trace[innermost].own_place


def _calls_inside(trace: Trace) -> dict[str, list[TracedSpan]]:
    """The calls next below each call, with whatever else between them."""
    nearest: dict[str, str] = {}
    inside = defaultdict(list)
    for span in trace.values():
        if span.is_call and (above := _nearest_call(span.parent_id, trace, nearest)):
            inside[above].append(span)
    return inside


def _nearest_call(span_id: str, trace: Trace, nearest: dict[str, str]) -> str:
    """The first call from here upwards, or ""."""
    path: dict[str, None] = {}
    here = span_id
    while here in trace and not trace[here].is_call and here not in nearest and here not in path:
        path[here] = None
        here = trace[here].parent_id
    found = nearest.get(here) or (here if here in trace and trace[here].is_call else "")
    nearest |= dict.fromkeys(path, found)
    return found


def _may_be_one(outer: TracedSpan, inner: TracedSpan) -> bool:
    if outer.span_id == inner.span_id:
        return False
    return not outer.response_id or not inner.response_id or outer.response_id == inner.response_id


def _innermost(span_id: str, same_as: Mapping[str, str]) -> str:
    passed = set()
    while span_id in same_as and span_id not in passed:
        passed.add(span_id)
        span_id = same_as[span_id]
    return span_id


def one_report(calls: list[ForeignCall], event_id: str) -> ForeignCall:
    """Several reports of one call as one: the one that knows most, with what only others know."""
    best = max(calls, key=_knowledge)
    fields = dict(best.fields)
    for call in calls:
        for name in ("conversation", "customer", "provider", "model"):
            if name in call.fields:
                fields.setdefault(name, call.fields[name])
    fields["id"] = event_id
    if all("occurred_at" in call.fields for call in calls):
        fields["occurred_at"] = min(call.fields["occurred_at"] for call in calls)
    if any(call.fields.get("kind") == "tool" for call in calls):
        fields["kind"] = "tool"
    return ForeignCall(fields, best.fault, best.sent)


def _knowledge(call: ForeignCall) -> tuple[bool, bool, int]:
    usage = call.fields.get("usage", {})
    details = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    return not call.fault, call.fields.get("status") != "error", sum(usage.get(name, 0) > 0 for name in details)
