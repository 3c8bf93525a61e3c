"""What would the bill be so far, and what will it come to? The running period, by the price path of the invoice."""

import datetime as dt
import math
from fractions import Fraction
from typing import NamedTuple

from metering.reading import added, count_open, count_settled
from plans.calendar import Period
from plans.models import Customer
from plans.money import to_minor
from plans.pricing import PricedTier, price_usage
from plans.subscribing import Agreement, agreement_at, live_subscription

PACE_TAKES = dt.timedelta(days=1)
"""Less of a period says nothing about its pace: what settles in its first minutes began in the period before."""


class NotSubscribed(Exception):
    """The customer has no subscription now, so there is no running bill."""


class RunningBill(NamedTuple):
    """The period so far. `open_counts` are conversations going on, by the tier they would get if they settled now.

    `forecast_total` (minor units) is the bill if the rest of the period goes like the part that is over, and at least
    what it comes to when those going on have settled.
    """

    agreed: Agreement
    tiers: list[PricedTier]
    open_counts: dict[str, int]
    total: int
    forecast_total: int


def running_bill(customer: Customer, *, now: dt.datetime) -> RunningBill:
    """The running bill of a customer. Raises NotSubscribed."""
    subscription = live_subscription(customer, at=now)
    if subscription is None:
        raise NotSubscribed(f"{customer.key} has no subscription")
    agreed = agreement_at(subscription, now)
    period = agreed.period
    due_but_not_settled = count_open(customer.id, period.start, now)
    counts = added(count_settled(customer.id, period.start, period.end), due_but_not_settled)
    going_on = count_open(customer.id, now, period.end)
    return RunningBill(
        agreed=agreed,
        tiers=price_usage(agreed.terms, counts),
        open_counts=going_on,
        total=bill_total(agreed, counts),
        forecast_total=bill_total(agreed, forecast(counts, going_on, period, now)),
    )


def forecast(counts: dict[str, int], going_on: dict[str, int], period: Period, now: dt.datetime) -> dict[str, int]:
    """The counts at the period's end if the rest of it goes on at the pace so far, rounded up."""
    microsecond = dt.timedelta(microseconds=1)
    whole = period.end - period.start
    pace = Fraction(whole // microsecond, min(max(now - period.start, PACE_TAKES), whole) // microsecond)
    certain = added(counts, going_on)
    return {tier: max(math.ceil(counts.get(tier, 0) * pace), certain[tier]) for tier in certain}


def bill_total(agreed: Agreement, counts: dict[str, int]) -> int:
    """Base fee and usage of one period in minor units, each line rounded as on the invoice."""
    currency = agreed.terms.currency
    usage = sum(to_minor(priced.amount, currency) for priced in price_usage(agreed.terms, counts))
    return to_minor(agreed.terms.base_fee, currency) + usage
