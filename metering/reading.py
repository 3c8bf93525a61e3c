"""How many conversations of each tier settled in a span of time? The one count behind every bill.

A reading that somebody relies on (`take_reading`) keeps ingestion of the customer waiting while it is taken, settles
what is due, and is remembered, so that whatever changes afterwards is noted as late. `count_*` only look.
"""

import datetime as dt
import uuid
from collections import Counter

from django.db import connection
from django.db.models import Count

from metering.late_changes import take_late_days
from metering.models import Conversation, MeterReading
from metering.settling import CLASSIFY_OPEN, settle_customers
from metering.usage_lock import take_usage_lock

OPEN_BY_TIER = f"""
SELECT tier, count(*) FROM ({CLASSIFY_OPEN} AND c.customer_id = %s AND c.settles_at >= %s AND c.settles_at < %s) open
GROUP BY tier
"""


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


def count_settled(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime) -> dict[str, int]:
    """Settled conversations by tier with their settling instant in [start, end)."""
    rows = Conversation.objects.filter(customer=customer_id, settled_at__gte=start, settled_at__lt=end)
    return dict(rows.values_list("tier").annotate(count=Count("id")).order_by())


def count_open(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime) -> dict[str, int]:
    """Open conversations that will settle in [start, end) if nothing more happens, by the tier they are in."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN_BY_TIER, [customer_id, start, end])
        return dict(cursor.fetchall())


def added(*counts: dict[str, int]) -> dict[str, int]:
    """The sum of counts by tier."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def changed_since(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, since: dt.datetime) -> list[str]:
    """References of the conversations that settled in [start, end) and changed after `since`, by our clock."""
    rows = Conversation.objects.filter(
        customer=customer_id, settled_at__gte=start, settled_at__lt=end, folded_at__gt=since
    )
    return list(rows.order_by("reference").values_list("reference", flat=True).distinct())
