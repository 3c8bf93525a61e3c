"""What is in a request for POST /v1/events? Reports to ingest, and verdicts on what cannot be.

A body that cannot be read is refused whole (BadJson). An item that cannot be taken is rejected by itself, with a
pointer, and spoils nothing beside it; sent alone, without the envelope, it is the request that is refused.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from api.json_faults import BadJson, Fault
from api.strict_json import convert, decode_tree
from metering.ingest import Verdict
from metering.reports import EventIn, Report, UnusableReport, read_report

MAX_EVENTS = 1_000


class TooManyEvents(Exception):
    """A batch holds at most MAX_EVENTS events."""


class Intake(NamedTuple):
    """What a body held: reports that can be ingested and verdicts on items that cannot."""

    reports: list[Report]
    rejected: list[Verdict]


class Sender(NamedTuple):
    """What the caller may report: old events, and, if bound, only those of one customer (its key)."""

    backfill: bool
    bound_to: str | None = None


def read_batch(body: bytes, *, sender: Sender, now: dt.datetime) -> Intake:
    """Read `{"events": [...]}` or one event. Raises BadJson, TooManyEvents."""
    tree = decode_tree(body)
    if not (isinstance(tree, dict) and "events" in tree):
        return _read_single(tree, sender, now)
    items = tree.pop("events")
    if tree:
        raise BadJson([Fault(f"/{name}", "unknown field beside events") for name in tree])
    if not isinstance(items, list) or not items:
        raise BadJson([Fault("/events", "must be an array of 1 to 1,000 events")])
    if len(items) > MAX_EVENTS:
        raise TooManyEvents(f"A batch holds at most {MAX_EVENTS:,} events; this one has {len(items):,}.")
    return _read_items(items, sender, now)


def _read_single(tree: Any, sender: Sender, now: dt.datetime) -> Intake:
    try:
        return Intake([_read(0, convert(tree, EventIn), sender, now)], [])
    except UnusableReport as error:
        raise BadJson([Fault(error.pointer, error.detail)]) from error


def _read(index: int, sent: EventIn, sender: Sender, now: dt.datetime) -> Report:
    if sender.bound_to is not None and sent.customer != sender.bound_to:
        raise UnusableReport("/customer", f"this key reports for {sender.bound_to} only")
    return read_report(index, sent, now=now, backfill=sender.backfill)


def _read_items(items: Sequence[Any], sender: Sender, now: dt.datetime) -> Intake:
    intake = Intake([], [])
    for index, (item, sent) in enumerate(zip(items, _converted(items), strict=True)):
        try:
            report = _read(index, sent or convert(item, EventIn), sender, now)
        except UnusableReport as error:
            intake.rejected.append(_rejected(index, item, error.pointer, error.detail))
        except BadJson as error:
            intake.rejected.append(_rejected(index, item, *error.errors[0]))
        else:
            intake.reports.append(report)
    return intake


def _converted(items: Sequence[Any]) -> Sequence[EventIn | None]:
    """All items at once, which is the fast way; none where one of them is bad, to be read one by one."""
    try:
        return convert(items, list[EventIn])
    except BadJson:
        return [None] * len(items)


def _rejected(index: int, item: Any, pointer: str, detail: str) -> Verdict:
    event_id = item.get("id") if isinstance(item, dict) else None
    return Verdict(
        index, event_id if isinstance(event_id, str) else "", "rejected", detail, f"/events/{index}{pointer}"
    )
