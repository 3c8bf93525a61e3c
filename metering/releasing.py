"""When does a quarantined event come in? As soon as its customer exists, through the same ingest as any other."""

import datetime as dt
from collections.abc import Sequence

import msgspec
from django.db import transaction
from django.db.models import Exists, OuterRef

from metering.ingest import QUARANTINED, ingest
from metering.models import QuarantinedEvent
from metering.reports import EventIn, Report, UnusableReport, read_report
from plans.models import Customer

BATCH = 1000


def release_quarantined(*, now: dt.datetime) -> int:
    """Ingest quarantined events whose customer has been created since; returns how many were released."""
    released = 0
    while True:
        with transaction.atomic():
            rows = _releasable()
            if not rows:
                return released
            reports = _read(rows, now)
            verdicts = ingest(reports, now=now)
            # A customer erased this very moment leaves its events in quarantine.
            let_in = [rows[verdict.index].pk for verdict in verdicts if verdict.status != QUARANTINED]
            QuarantinedEvent.objects.filter(pk__in=let_in).update(released_at=now)
            released += len(let_in)


def _read(rows: Sequence[QuarantinedEvent], now: dt.datetime) -> list[Report]:
    """The rows as reports; one that today's rules refuse is marked, and holds nobody up."""
    reports = []
    for index, row in enumerate(rows):
        try:
            sent = msgspec.convert(row.body, EventIn)
            reports.append(read_report(index, sent, now=row.received_at, backfill=True))
        except (UnusableReport, msgspec.ValidationError) as error:
            row.reason, row.refused_at = str(error), now
            row.save(update_fields=["reason", "refused_at"])
    return reports


def _releasable() -> list[QuarantinedEvent]:
    customer = Customer.objects.filter(key=OuterRef("customer_key"), erased_at=None)
    waiting = QuarantinedEvent.objects.filter(Exists(customer), released_at=None, refused_at=None).order_by("id")
    return list(waiting.select_for_update(skip_locked=True)[:BATCH])
