"""When does a quarantined event come in? As soon as its customer exists, through the same ingest as any other."""

import datetime as dt

import msgspec
from django.db import transaction
from django.db.models import Exists, OuterRef

from metering.ingest import QUARANTINED, ingest
from metering.models import QuarantinedEvent
from metering.reports import EventIn, read_report
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
            reports = [
                read_report(index, msgspec.convert(row.body, EventIn), now=row.received_at, backfill=True)
                for index, row in enumerate(rows)
            ]
            verdicts = ingest(reports, now=now)
            # A customer erased this very moment leaves its events in quarantine.
            let_in = [row.pk for row, verdict in zip(rows, verdicts, strict=True) if verdict.status != QUARANTINED]
            QuarantinedEvent.objects.filter(pk__in=let_in).update(released_at=now)
            released += len(let_in)


def _releasable() -> list[QuarantinedEvent]:
    customer = Customer.objects.filter(key=OuterRef("customer_key"), erased_at=None)
    waiting = QuarantinedEvent.objects.filter(Exists(customer), released_at=None).order_by("id")
    return list(waiting.select_for_update(skip_locked=True)[:BATCH])
