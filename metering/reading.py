"""How many conversations settled in a span of time, by what is counted apart? The one count behind every bill.

A reading that somebody relies on (`take_reading`) keeps ingestion of the customer waiting while it is taken, settles
what is due, and is remembered, so that whatever changes afterwards is noted as late. `count_*` only look. Which
conversations count, and by which meter, is said by `plans.meters`; without them all do, by their tier.
"""

import datetime as dt
import uuid
from collections import Counter
from typing import Any

from django.db import connection
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import TimestamptzRange

from metering.late_changes import take_late_days
from metering.models import Conversation, GoneConversation, MeterReading
from metering.settling import CLASSIFY_OPEN, settle_customers
from metering.usage_lock import take_usage_lock
from plans.meters import EVERYTHING, Meters, peak_spans
from plans.terms import PEAK

SETTLED = """
SELECT tier, outcome, settled_at AS settles_at FROM metering_conversation
WHERE customer_id = %(customer)s AND settled_at >= %(start)s AND settled_at < %(end)s"""
STILL_OPEN = f"""
{CLASSIFY_OPEN} AND c.customer_id = %(customer)s AND c.settles_at >= %(start)s AND c.settles_at < %(end)s"""
# Looked at only where the terms ask for it: a plain count reads nothing but the index.
BILLABLE = "outcome = ANY(%(outcomes)s)"
NOT_BILLABLE = "outcome <> ALL(%(outcomes)s) OR outcome IS NULL"
METER = f"""
CASE WHEN tier = ANY(%(peak_tiers)s) AND settles_at <@ %(peak)s::tstzmultirange THEN tier || '{PEAK}' ELSE tier END"""


def take_reading(customer_id: uuid.UUID, *, up_to: dt.datetime) -> list[dt.date]:
    """Settle and fix the customer's usage up to an instant; returns the days (UTC) that changed after an earlier count.

    Inside the transaction that bills: whoever takes the days has to recount them before it commits.
    """
    take_usage_lock(customer_id)
    reading, created = MeterReading.objects.get_or_create(customer_id=customer_id, defaults={"read_to": up_to})
    if not created and reading.read_to < up_to:
        reading.read_to = up_to
        reading.save(update_fields=["read_to"])
    # To where the meter has ever been read: a day taken below is recounted, and what is open there would be missed.
    settle_customers([customer_id], as_of=reading.read_to)
    return take_late_days(customer_id)


def count_settled(
    customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
) -> dict[str, int]:
    """Billable settled conversations by meter with their settling instant in [start, end)."""
    return _count(SETTLED, customer_id, start, end, meters)


def count_open(
    customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
) -> dict[str, int]:
    """Billable open conversations that will settle in [start, end) if nothing more happens, by the meter they are on.

    Which tier that is, and whether it is billable, is said by what is known of them now.
    """
    return _count(STILL_OPEN, customer_id, start, end, meters)


def count_unbillable(
    customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters
) -> dict[str | None, int]:
    """Settled conversations in [start, end) that cost nothing, by the outcome (None: without) that makes them free."""
    if meters.billable_outcomes is None:
        return {}
    params = _span(customer_id, start, end) | {"outcomes": list(meters.billable_outcomes)}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT outcome, count(*) FROM ({SETTLED}) c WHERE {NOT_BILLABLE} GROUP BY 1", params)
        return dict(cursor.fetchall())


def _count(
    conversations: str, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, meters: Meters
) -> dict[str, int]:
    meter, billable, params = "tier", "true", _span(customer_id, start, end)
    if meters.billable_outcomes is not None:
        billable = BILLABLE
        params["outcomes"] = list(meters.billable_outcomes)
    if meters.peak_tiers:
        meter = METER
        params["peak_tiers"] = sorted(meters.peak_tiers)
        params["peak"] = TimestamptzMultirange(TimestamptzRange(*span) for span in peak_spans(meters, start, end))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {meter}, count(*) FROM ({conversations}) c WHERE {billable} GROUP BY 1", params)
        return dict(cursor.fetchall())


def _span(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime) -> dict[str, Any]:
    return {"customer": customer_id, "start": start, "end": end}


def added(*counts: dict[str, int]) -> dict[str, int]:
    """The sum of counts by meter."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def changed_since(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, since: dt.datetime) -> list[str]:
    """References of the conversations that changed after `since`, by our clock, and settle in [start, end).

    Or had been counted there: those that are gone are named too.
    """
    there = Conversation.objects.filter(
        customer=customer_id, settled_at__gte=start, settled_at__lt=end, folded_at__gt=since
    )
    gone = GoneConversation.objects.filter(
        customer=customer_id, settled_at__gte=start, settled_at__lt=end, noted_at__gt=since
    )
    return sorted({reference for rows in (there, gone) for reference in rows.values_list("reference", flat=True)})
