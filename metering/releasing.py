"""When does what is in quarantine come in? As soon as its customer exists, or when a reviewer says what was missing.

Either way it goes through the same ingest as any other event. What still cannot be used says why and waits for a
person; what is in conflict with the event stored under its id waits as well, for nobody else would hear of it.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from api.json_faults import BadJson
from api.strict_json import convert
from metering.backfill_provenance import ingest_noted
from metering.ingest import QUARANTINED, UNKNOWN, Verdict, ingest
from metering.isolating import count_what_works
from metering.models import QuarantinedEvent
from metering.payers import find_payers
from metering.quarantine import MAX_REASON
from metering.reports import EventIn, Report, UnusableReport, read_report
from metering.usage_lock import take_usage_lock
from plans.models import Customer

BATCH = 1000
USED = ("accepted", "duplicate", "updated")
"""The verdicts on an event that is stored as it came, or was."""


def release_quarantined(*, now: dt.datetime) -> int:
    """Ingest quarantined events whose customer has been created since; returns how many were released.

    What breaks keeps nothing else waiting.
    """
    released, last = 0, uuid.UUID(int=0)
    while ids := list(_releasable().filter(id__gt=last).values_list("id", flat=True)[:BATCH]):
        release = partial(_release, now=now)
        released += count_what_works(release, ids, failure="the quarantined event %s cannot be let in")
        last = ids[-1]
    return released


def let_in(rows: Sequence[QuarantinedEvent], said: Mapping[str, Any], *, by: str, now: dt.datetime) -> list[Verdict]:
    """Ingest locked rows, each with what is `said` of it anew (fields of EventIn); a verdict each, in their order.

    `by` is who does it; "" where nobody had to.
    """
    verdicts: dict[int, Verdict] = {}
    reports = []
    for index, row in enumerate(rows):
        try:
            reports.append(read_report(index, _event(row, said), now=row.received_at, backfill=True))
        except UnusableReport as error:
            verdicts[index] = Verdict(index, row.event_id, "rejected", error.detail, error.pointer)
        except BadJson as error:
            pointer, detail = error.errors[0]
            verdicts[index] = Verdict(index, row.event_id, "rejected", detail, pointer)
    for verdict in _ingest(reports, rows, now):
        verdicts[verdict.index] = verdict
    named = {report.index: report for report in reports}
    for index, row in enumerate(rows):
        _mark(row, verdicts[index], named.get(index), said, by=by, now=now)
    QuarantinedEvent.objects.bulk_update(
        rows, ["customer_key", "event_id", "reason", "refused_at", "released_at", "handled_by", "handled_note"]
    )
    return [verdicts[index] for index in range(len(rows))]


def _event(row: QuarantinedEvent, said: Mapping[str, Any]) -> EventIn:
    known = row.body if row.event is None else row.event
    if not isinstance(known, dict):
        raise UnusableReport("", "nothing is left of it that could be replayed")
    return convert({**known, **said}, EventIn)


def _ingest(reports: Sequence[Report], rows: Sequence[QuarantinedEvent], now: dt.datetime) -> Iterator[Verdict]:
    """Those of known customers; what a file brought is noted with that file, so that its undo finds it."""
    payers = find_payers(report.customer for report in reports)
    known = [report for report in reports if report.customer in payers]
    for report in reports:
        if report.customer not in payers:
            yield Verdict(report.index, report.event.event_id, QUARANTINED, UNKNOWN, "/customer")

    by_file: dict[uuid.UUID | None, list[Report]] = defaultdict(list)
    for report in known:
        by_file[rows[report.index].backfill_id].append(report)
    if any(by_file):
        take_usage_lock(*(payer.id for payer in payers.values()))  # all at once, so that nobody waits in a circle
    for backfill_id, own in by_file.items():
        yield from ingest(own, now=now) if backfill_id is None else ingest_noted(own, backfill_id, now=now)


def _mark(
    row: QuarantinedEvent,
    verdict: Verdict,
    report: Report | None,
    said: Mapping[str, Any],
    *,
    by: str,
    now: dt.datetime,
) -> None:
    if verdict.status in USED and report is not None:
        row.customer_key, row.event_id = report.customer, report.event.event_id
        row.released_at, row.handled_by = now, by
        row.handled_note = msgspec.json.encode(said).decode() if said else ""
    elif verdict.status != QUARANTINED:
        place = f"{verdict.pointer}: " if verdict.pointer else ""
        row.reason = f"{place}{verdict.detail}"[:MAX_REASON]
        row.refused_at = now


def _release(ids: Sequence[uuid.UUID], *, now: dt.datetime) -> int:
    with transaction.atomic():
        rows = list(_releasable().filter(id__in=ids).select_for_update(skip_locked=True))
        return sum(verdict.status in USED for verdict in let_in(rows, {}, by="", now=now))


def _releasable() -> QuerySet[QuarantinedEvent]:
    customer = Customer.objects.filter(key=OuterRef("customer_key"), erased_at=None)
    waiting = QuarantinedEvent.objects.filter(released_at=None, refused_at=None, discarded_at=None)
    return waiting.filter(Exists(customer)).order_by("id")
