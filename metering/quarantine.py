"""How are events kept whose customer does not exist yet? As sent, until `releasing` can ingest them."""

import datetime as dt
import hashlib
from collections.abc import Sequence

import msgspec

from metering.models import QuarantinedEvent
from metering.reports import Report


def quarantine(reports: Sequence[Report], *, reason: str, now: dt.datetime) -> None:
    """Keep reports; the same body (which names customer and id) is kept once."""
    rows = []
    for report in reports:
        body = msgspec.json.encode(report.sent)
        rows.append(
            QuarantinedEvent(
                customer_key=report.customer,
                event_id=report.event.event_id,
                reason=reason,
                body=msgspec.json.decode(body),
                body_sha256=hashlib.sha256(body).digest(),
                received_at=now,
            )
        )
    rows.sort(key=lambda row: bytes(row.body_sha256))  # so that overlapping batches queue instead of deadlock
    QuarantinedEvent.objects.bulk_create(rows, ignore_conflicts=True)
