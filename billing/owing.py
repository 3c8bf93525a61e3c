"""What does a period of a subscription come to, by today's agreement, counts and discounts?

The one way from a subscription to a price: invoices, adjustments, the running bill and the check of the books all ask
here, and here asks `plans.period_bill`.
"""

import datetime as dt
import uuid
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, Protocol

from billing.coupons import discounts_in
from billing.records import Records
from metering.counting import Span
from plans.meters import Meters, meters_of
from plans.models import Subscription
from plans.period_bill import NOTHING_ROLLED, Layers, PeriodBill, PeriodDiscount, Segment, bill_period
from plans.periods import BillingPeriod, Part, parts_of, period_of, phases_of
from plans.publishing import terms_of


class Count(Protocol):
    """How many conversations of a customer settled in a span, by meter."""

    def __call__(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters
    ) -> dict[str, int]: ...


class Owed(NamedTuple):
    """What a period comes to: its parts, how many conversations were counted in each, and all charges."""

    period: BillingPeriod
    parts: list[Part]
    counts: list[dict[str, int]]
    bill: PeriodBill

    @property
    def total(self) -> int:
        """Minor units."""
        return self.bill.total


class Basis:
    """What a period of a subscription is priced by today, so that it can be priced for several counts.

    Conversations of earlier periods, of which something may be rolled over, are counted as `records` have them.
    """

    def __init__(self, subscription: Subscription, period: BillingPeriod, *, records: Records) -> None:
        self._subscription = subscription
        self._period = period
        self._records = records
        self._parts = parts_of(subscription, period)

    def owed(self, count: Count) -> Owed:
        """What the period comes to with conversations counted like this."""
        # Counts come before discounts: these are read by the ORM, and after it api.asking has no answers at hand.
        counts, rolled = _counted(self._subscription, self._parts, count), self._rolled
        segments = _segments(self._parts, counts)
        bill = bill_period(segments, self._period.whole, discounts=self._discounts, rolled=rolled)
        return Owed(self._period, self._parts, counts, bill)

    @cached_property
    def _rolled(self) -> Layers:
        return _rolled_into(self._subscription, self._period, self._records)

    @cached_property
    def _discounts(self) -> list[PeriodDiscount]:
        return discounts_in(self._records.redemptions(self._subscription), self._period.index)


def owed_for(subscription: Subscription, period: BillingPeriod, *, records: Records) -> Owed:
    """All that a period comes to, conversations counted as `records` have them; for one that is over, or is running."""
    return Basis(subscription, period, records=records).owed(records.count)


def owed_in_advance(subscription: Subscription, period: BillingPeriod, *, as_of: dt.datetime, records: Records) -> Owed:
    """The base fees of a period, less discounts on them, as the agreement stands at an instant."""
    parts = parts_of(subscription, period, as_of=as_of)
    counts: list[dict[str, int]] = [{} for _ in parts]
    discounts = discounts_in(records.redemptions(subscription), period.index)
    bill = bill_period(_segments(parts, counts), period.whole, discounts=discounts, complete=False)
    return Owed(period, parts, counts, bill)


def counted_for(subscription: Subscription, period: BillingPeriod) -> Iterator[Span]:
    """The spans that `owed_for` asks the records about."""
    for index in range(period.index + 1) if rolls_over(subscription) else [period.index]:
        each = period if index == period.index else _earlier(subscription, index)
        for part in parts_of(subscription, each):
            yield Span(subscription.customer_id, part.start, part.end, meters_of(part.terms, subscription.timezone))


def rolls_over(subscription: Subscription) -> bool:
    """Whether what one period leaves unused can change what the next ones come to."""
    return any(terms_of(phase.plan_version).rollover for phase in phases_of(subscription))


def _rolled_into(subscription: Subscription, period: BillingPeriod, records: Records) -> Layers:
    """What earlier periods left unused and the agreement carries over: they are all counted anew, from the first."""
    rolled = NOTHING_ROLLED
    if not rolls_over(subscription):
        return rolled
    for index in range(period.index):
        earlier = _earlier(subscription, index)
        parts = parts_of(subscription, earlier)
        counts = _counted(subscription, parts, records.count)
        rolled = bill_period(_segments(parts, counts), earlier.whole, rolled=rolled).rolled
    return rolled


def _earlier(subscription: Subscription, index: int) -> BillingPeriod:
    period = period_of(subscription, index)
    assert period is not None
    return period


def _counted(subscription: Subscription, parts: list[Part], count: Count) -> list[dict[str, int]]:
    zone = subscription.timezone
    return [count(subscription.customer_id, part.start, part.end, meters=meters_of(part.terms, zone)) for part in parts]


def _segments(parts: list[Part], counts: list[dict[str, int]]) -> list[Segment]:
    return [
        Segment(
            start=part.start,
            end=part.end,
            terms=part.terms,
            counts=counted,
            paused=part.phase.paused,
            trial=part.trial,
            key=str(part.phase.pk),
        )
        for part, counted in zip(parts, counts, strict=True)
    ]
