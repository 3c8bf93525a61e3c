"""How many conversations settled in a span of time, by what is counted apart? The one count behind every bill.

A reading that somebody relies on (`take_reading`) keeps ingestion of the customer waiting while it is taken, settles
what is due, and is remembered, so that whatever changes afterwards is noted as late. `count_*` only look. Which
conversations count, and by which meter, is said by `plans.meters`; without them all do, by their tier.
"""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.db import connection
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import TimestamptzRange

from api.asking import Question, ask
from metering.catching_up import catch_up
from metering.late_changes import take_late_days_of
from metering.models import Conversation, GoneConversation
from metering.settling import CLASSIFY_OPEN, settle_customers
from metering.tallies import COUNT_SETTLED, UNCUT
from metering.tier_rules import RULES
from metering.usage_lock import take_usage_lock
from plans.meters import EVERYTHING, Meters, peak_spans
from plans.terms import PEAK

DAY = dt.timedelta(days=1)
STILL_OPEN = f"{CLASSIFY_OPEN} AND c.settles_at >= %(start)s AND c.settles_at < %(end)s"
# Looked at only where the terms ask for it: a plain count reads nothing but the index.
BILLABLE = "outcome = ANY(%(outcomes)s)"
METER = f"""
CASE WHEN tier = ANY(%(peak_tiers)s) AND settles_at <@ %(peak)s::tstzmultirange THEN tier || '{PEAK}' ELSE tier END"""

READ_TO = """
INSERT INTO metering_meterreading AS reading (customer_id, read_to) SELECT * FROM unnest(%s::uuid[], %s::timestamptz[])
ON CONFLICT (customer_id) DO UPDATE SET read_to = greatest(reading.read_to, EXCLUDED.read_to)"""
DUE_BEFORE_READ_TO = """
SELECT reading.customer_id, reading.read_to FROM metering_meterreading reading
WHERE reading.customer_id = ANY(%s) AND EXISTS (
    SELECT FROM metering_openconversation o
    WHERE o.customer_id = reading.customer_id AND o.settles_at <= reading.read_to)"""


def take_reading(customer_id: uuid.UUID, *, up_to: dt.datetime, now: dt.datetime) -> list[dt.date]:
    """Settle and fix the customer's usage up to an instant; returns the days (UTC) that changed after an earlier count.

    Inside the transaction that bills: whoever takes the days has to recount them before it commits.
    """
    return take_readings({customer_id: up_to}, now=now).get(customer_id, [])


def take_readings(up_to: Mapping[uuid.UUID, dt.datetime], *, now: dt.datetime) -> dict[uuid.UUID, list[dt.date]]:
    """The same for several customers, each up to an instant of its own; those without such a day are left out."""
    if not up_to:
        return {}
    take_usage_lock(*up_to)
    catch_up(up_to, now=now)
    with connection.cursor() as cursor:
        cursor.execute(READ_TO, [list(up_to), list(up_to.values())])
        # To where the meter has ever been read: a day taken below is recounted, and what is open there would be missed.
        cursor.execute(DUE_BEFORE_READ_TO, [list(up_to)])
        due = cursor.fetchall()
    for customer_id, read_to in due:
        settle_customers([customer_id], as_of=read_to)
    return take_late_days_of(up_to)


def count_settled(
    customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
) -> dict[str, int]:
    """Billable settled conversations by meter with their settling instant in [start, end)."""
    sql = COUNT_SETTLED.format(by=_meter(meters), which=_billable(meters), uncut=UNCUT if meters.peak_tiers else "")
    return _counted(sql, customer_id, start, end, meters)


def count_open(
    customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
) -> dict[str, int]:
    """Billable open conversations that will settle in [start, end) if nothing more happens, by the meter they are on.

    Which tier that is, and whether it is billable, is said by what is known of them now.
    """
    sql = f"WITH {RULES} SELECT {_meter(meters)}, count(*) FROM ({STILL_OPEN}) c WHERE {_billable(meters)} GROUP BY 1"
    return _counted(sql, customer_id, start, end, meters)


def _meter(meters: Meters) -> str:
    return METER if meters.peak_tiers else "tier"


def _billable(meters: Meters) -> str:
    return "true" if meters.billable_outcomes is None else BILLABLE


def _counted(sql: str, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, meters: Meters) -> dict[Any, int]:
    if start >= end:
        return {}
    return dict(ask(_question(sql), _params(customer_id, start, end, meters)))


_question = lru_cache(maxsize=64)(Question)


def _params(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, meters: Meters) -> dict[str, Any]:
    return {
        "customer": customer_id,
        "customers": [customer_id],
        "start": start,
        "end": end,
        "outcomes": list(meters.billable_outcomes or ()),
        "peak_tiers": sorted(meters.peak_tiers),
        "peak": _peak(meters, _day_of(start), _day_of(end) + DAY),
    }


def _day_of(instant: dt.datetime) -> dt.datetime:
    return instant.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@lru_cache(maxsize=256)
def _peak(meters: Meters, start: dt.datetime, end: dt.datetime) -> TimestamptzMultirange:
    """The peak hours of whole days: more than is asked about, but the same at every moment of a day."""
    return TimestamptzMultirange(TimestamptzRange(*span) for span in peak_spans(meters, start, end))


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
        customer=customer_id, settled__settled_at__gte=start, settled__settled_at__lt=end, folded_at__gt=since
    )
    gone = GoneConversation.objects.filter(
        customer=customer_id, settled_at__gte=start, settled_at__lt=end, noted_at__gt=since
    )
    return sorted({reference for rows in (there, gone) for reference in rows.values_list("reference", flat=True)})
