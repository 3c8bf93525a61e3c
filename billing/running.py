"""What would the bill be so far, and what will it come to? The running period, by the price path of the invoice."""

import datetime as dt
import math
import uuid
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from api.asking import Question, Row, ask, columns, instance
from billing.models import BillingSchedule, Redemption
from billing.owing import Basis, Owed, owed_for
from billing.records import Records
from metering.catching_up import catch_up
from metering.counting import Span
from metering.reading import added, count_open, count_settled
from metering.watching import GoingOn, Running, going_on, watch_if_many
from plans.calendar import Period
from plans.meters import EVERYTHING, Meters, meters_of
from plans.models import Customer, PlanVersion, Subscription, SubscriptionPhase
from plans.periods import Agreement, agreement_at, period_of
from plans.pricing import PricedTier
from plans.proration import Span as Stretch
from plans.subscribing import live_subscription

PACE_TAKES = dt.timedelta(days=1)
"""Less of a period says nothing about its pace: what settles in its first minutes began in the period before."""
MICROSECOND = dt.timedelta(microseconds=1)
LIVE = Question(f"""
SELECT {columns(Subscription, "s")}, {columns(SubscriptionPhase, "p")},
    EXISTS (SELECT FROM billing_redemption r WHERE r.subscription_id = s.id)
FROM plans_subscription s JOIN plans_subscriptionphase p ON p.subscription_id = s.id
WHERE s.customer_id = %(customer)s AND s.starts_at <= %(now)s AND (s.ends_at IS NULL OR s.ends_at > %(now)s)
ORDER BY p.starts_at, p.id""")
"""The subscription that is in force, of which there is one, with each of its phases; and whether it has a coupon."""


class NotSubscribed(Exception):
    """The customer has no subscription now, so there is no running bill."""


class UsageNow(NamedTuple):
    """What is agreed with a customer, what was `asked` about its running period, what goes on in it, what settled."""

    agreed: Agreement
    asked: Running
    going_on: GoingOn
    records: "CountsAsOf"


class RunningBill(NamedTuple):
    """The period so far. `open_counts` are conversations going on, by the tier they would get if they settled now.

    Or, where they are many, would have got at `open_as_of`, a moment ago. `forecast` is what the period comes to if its
    rest goes like the part that is over, and at least what it comes to when those going on have settled.
    """

    agreed: Agreement
    owed: Owed
    open_counts: dict[str, int]
    open_as_of: dt.datetime
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
    found = usage_now(customer, now=now)
    if found is None:
        raise NotSubscribed(f"{customer.key} has no subscription")
    agreed, asked, still_open, records = found
    basis = Basis(agreed.subscription, agreed.period, records=records)
    so_far = basis.owed(records.count)
    watch_if_many(asked, still_open, sum(sum(counts.values()) for counts in so_far.counts), now=now)
    forecast = basis.owed(_Forecast(records, still_open.counts))
    return RunningBill(agreed, so_far, still_open.counts, still_open.as_of, forecast)


def usage_now(customer: Customer, *, now: dt.datetime) -> UsageNow | None:
    """All that a customer's running bill and entitlement follow from; None: no subscription is in force."""
    rows = ask(LIVE, {"customer": customer.pk, "now": now})
    if not rows:
        return None
    catch_up([customer.pk], now=now)
    agreed = agreement_at(_subscription(rows), now)
    asked = running_usage(agreed)
    still_open = going_on(asked, now=now)
    records = CountsAsOf(now, redeemed=rows[0][-1], settled_alone=not still_open.live)
    return UsageNow(agreed, asked, still_open, records)


def _subscription(live: Sequence[Row]) -> Subscription:
    """The customer's `live_subscription` with its phases, from rows of LIVE.

    Made by hand, and the versions of plans, which are frozen, from memory: for the ORM to make its queries would take
    as long as all the rest of a read.
    """
    of_subscription = len(Subscription._meta.concrete_fields)
    subscription = instance(Subscription, live[0][:of_subscription])
    phases = [instance(SubscriptionPhase, row[of_subscription:-1]) for row in live]
    for phase in phases:
        phase.subscription, phase.plan_version = subscription, _frozen(phase.plan_version_id)
    subscription._prefetched_objects_cache = {"phases": phases}  # type: ignore[attr-defined]
    return subscription


@lru_cache(maxsize=1024)
def _frozen(version_id: uuid.UUID) -> PlanVersion:
    return PlanVersion.objects.select_related("plan", "tier_scheme").get(pk=version_id)


def running_usage(agreed: Agreement) -> Running:
    """What to ask metering about the running period, as it is agreed."""
    subscription, held = agreed.subscription, agreed.period
    meters = meters_of(agreed.terms, subscription.timezone)
    return Running(subscription.customer_id, held.start, held.end, meters)


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
    charges = owed_for(subscription, period, records=CountsAsOf(now)).bill.charges
    return max(sum(charge.amount for charge in charges if charge.kind == "usage"), 0)


class CountsAsOf(Records):
    """Conversations that have settled by now, also where no sweep has noticed yet; each span is counted once.

    `settled_alone`: nothing is due, or it is only moments since, and not worth looking for among very many. Not
    `redeemed`: there is no coupon to look for.
    """

    def __init__(self, now: dt.datetime, *, redeemed: bool = True, settled_alone: bool = False) -> None:
        super().__init__()
        self.now = now
        self._settled_alone = settled_alone
        self._counted: dict[Span, dict[str, int]] = {}
        self._redeemed = redeemed

    def redemptions(self, subscription: Subscription) -> list[Redemption]:
        """As the records have them."""
        return super().redemptions(subscription) if self._redeemed else []

    def count(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
    ) -> dict[str, int]:
        """As `metering.reading.count_settled`, and what is due."""
        span = Span(customer_id, start, end, meters)
        if span not in self._counted:
            until = start if self._settled_alone else min(end, self.now)
            due = count_open(customer_id, start, until, meters=meters)
            self._counted[span] = added(count_settled(customer_id, start, end, meters=meters), due)
        return self._counted[span]


class _Forecast:
    """What a part of the period comes to at its end: what is over stays, what is running goes on at its pace."""

    def __init__(self, so_far: CountsAsOf, going_on: Mapping[str, int]) -> None:
        self.so_far = so_far
        self.going_on = dict(going_on)

    def __call__(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters
    ) -> dict[str, int]:
        counts, now = self.so_far.count(customer_id, start, end, meters=meters), self.so_far.now
        return forecast(counts, self.going_on, Period(0, start, end), now) if start <= now < end else counts


def forecast(counts: dict[str, int], going_on: dict[str, int], span: Stretch, now: dt.datetime) -> dict[str, int]:
    """The counts at the end of a span if the rest of it goes on at the pace so far, rounded up."""
    whole = span.end - span.start
    pace = Fraction(whole // MICROSECOND, min(max(now - span.start, PACE_TAKES), whole) // MICROSECOND)
    certain = added(counts, going_on)
    return {meter: max(math.ceil(counts.get(meter, 0) * pace), certain[meter]) for meter in certain}
