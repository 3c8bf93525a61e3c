"""What is the same of every line that bills a period? Whose and which period it is, and how its days are written."""

import datetime as dt
from decimal import Decimal
from typing import Any

from billing.models import InvoiceLine, LineKind
from plans.calendar import time_zone
from plans.models import Subscription
from plans.periods import LAST_INSTANT


def new_line(
    subscription: Subscription,
    index: int,
    kind: LineKind,
    start: dt.datetime,
    end: dt.datetime,
    *,
    unit_amount: Decimal | None = None,
    **fields: Any,
) -> InvoiceLine:
    """A line for period `index` of the subscription; on no invoice yet."""
    return InvoiceLine(
        subscription=subscription,
        period_index=index,
        kind=kind,
        period_start=start,
        period_end=end,
        unit_amount=unit_amount,
        **fields,
    )


def days(subscription: Subscription, start: dt.datetime, end: dt.datetime) -> str:
    """The days of a span as the customer's calendar shows them, the last one included."""
    zone = time_zone(subscription.timezone)
    first, last = start.astimezone(zone), (end - LAST_INSTANT).astimezone(zone)
    return f"{first:%d %b %Y} to {last:%d %b %Y}"
