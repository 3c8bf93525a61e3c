"""What would the bill be so far, and what will it come to? The running period, by the price path of the invoice."""

import datetime as dt
import math
import uuid
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from billing.models import BillingSchedule
from billing.owing import Owed, owed_for
from metering.reading import added, count_open, count_settled
from plans.calendar import Period
from plans.meters import Meters, meters_of
from plans.models import Customer, Subscription
from plans.periods import Agreement, agreement_at, period_of
from plans.pricing import PricedTier
from plans.proration import Span
from plans.subscribing import live_subscription

PACE_TAKES = dt.timedelta(days=1)
"""Less of a period says nothing about its pace: what settles in its first minutes began in the period before."""
MICROSECOND = dt.timedelta(microseconds=1)


class NotSubscribed(Exception):
    """The customer has no subscription now, so there is no running bill."""


class RunningBill(NamedTuple):
    """The period so far. `open_counts` are conversations going on, by the tier they would get if they settled now.

    `forecast` is what the period comes to if its rest goes like the part that is over, and at least what it comes to
    when those going on have settled.
    """

    agreed: Agreement
    owed: Owed
    open_counts: dict[str, int]
    forecast: Owed

    @property
    def tiers(self) -> list[PricedTier]:
        """Every meter of every part of the period, priced so far."""
        return [priced for part in self.owed.bill.usage for priced in part]

    @property
    def total(self) -> int:
        """What the period comes to so far, in minor units."""
        return self.owed.total

    @property
    def forecast_total(self) -> int:
        """Likewise at its end."""
        return self.forecast.total


def running_bill(customer: Customer, *, now: dt.datetime) -> RunningBill:
    """The running bill of a customer. Raises NotSubscribed."""
    subscription = live_subscription(customer, at=now)
    if subscription is None:
        raise NotSubscribed(f"{customer.key} has no subscription")
    agreed = agreement_at(subscription, now)
    so_far = owed_for(subscription, agreed.period, count=_CountAsOf(now))
    going_on = count_open(customer.id, now, agreed.period.end, meters=meters_of(agreed.terms, subscription.timezone))
    forecast = owed_for(subscription, agreed.period, count=_Forecast(now, going_on))
    return RunningBill(agreed, so_far, going_on, forecast)


def unbilled(customer: Customer, *, now: dt.datetime) -> int:
    """Minor units: usage of the customer's running period, and of one before it that is not invoiced yet."""
    subscription = live_subscription(customer, at=now)
    if subscription is None:
        return 0
    running = agreement_at(subscription, now).period.index
    schedule = BillingSchedule.objects.filter(subscription=subscription).first()
    first = running if schedule is None else min(max(schedule.next_period, 0), running)
    return sum(_usage_of(subscription, index, now) for index in range(first, running + 1))


def _usage_of(subscription: Subscription, index: int, now: dt.datetime) -> int:
    period = period_of(subscription, index)
    assert period is not None
    charges = owed_for(subscription, period, count=_CountAsOf(now)).bill.charges
    return max(sum(charge.amount for charge in charges if charge.kind == "usage"), 0)


class _CountAsOf:
    """Conversations that have settled by now, also where no sweep has noticed yet."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters
    ) -> dict[str, int]:
        due = count_open(customer_id, start, min(end, self.now), meters=meters) if start < self.now else {}
        return added(count_settled(customer_id, start, end, meters=meters), due)


class _Forecast(_CountAsOf):
    """What a part of the period comes to at its end: what is over stays, what is running goes on at its pace."""

    def __init__(self, now: dt.datetime, going_on: Mapping[str, int]) -> None:
        super().__init__(now)
        self.going_on = dict(going_on)

    def __call__(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters
    ) -> dict[str, int]:
        counts = super().__call__(customer_id, start, end, meters=meters)
        return forecast(counts, self.going_on, Period(0, start, end), self.now) if start <= self.now < end else counts


def forecast(counts: dict[str, int], going_on: dict[str, int], span: Span, now: dt.datetime) -> dict[str, int]:
    """The counts at the end of a span if the rest of it goes on at the pace so far, rounded up."""
    whole = span.end - span.start
    pace = Fraction(whole // MICROSECOND, min(max(now - span.start, PACE_TAKES), whole) // MICROSECOND)
    certain = added(counts, going_on)
    return {meter: max(math.ceil(counts.get(meter, 0) * pace), certain[meter]) for meter in certain}
