"""Which periods does a subscription have, and what was agreed in each part of one?

Periods hang on the anchor of the phase they are in and are clipped to the subscription's life: the first is partial
where the anchor is another instant than the start, and one is cut short where the subscription ends, or changes its
interval, within it. Indexes count from 0 through the whole life; what is added later never renumbers a period.
"""

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from django.db.models import Prefetch, prefetch_related_objects

from plans.calendar import Anchor, Interval, Period, period, period_at
from plans.models import PlanVersion, Subscription, SubscriptionPhase
from plans.publishing import terms_of
from plans.terms import Terms

WITH_PHASES = Prefetch(
    "phases", SubscriptionPhase.objects.select_related("plan_version__plan", "plan_version__tier_scheme")
)
"""What a subscription has to be read with to say what it agrees."""
LAST_INSTANT = dt.timedelta(microseconds=1)
"""Before an end that is not part of what it ends."""


class NotInForce(LookupError):
    """The instant is not within the subscription's life."""


class BillingPeriod(msgspec.Struct, frozen=True):
    """Period `index` of a subscription: half-open, UTC; `whole` is the calendar's period, of which it may be a part."""

    index: int
    start: dt.datetime
    end: dt.datetime
    whole: Period

    @property
    def cut_short(self) -> bool:
        """Whether it ended before the calendar's period did."""
        return self.end < self.whole.end


class Part(NamedTuple):
    """A part of a period under one agreement; in a trial no base fee is due for it."""

    phase: SubscriptionPhase
    start: dt.datetime
    end: dt.datetime
    trial: bool

    @property
    def terms(self) -> Terms:
        """What is agreed in it."""
        return terms_of(self.phase.plan_version)


class Agreement(NamedTuple):
    """What a subscription says at an instant."""

    subscription: Subscription
    period: BillingPeriod
    phase: SubscriptionPhase
    plan_version: PlanVersion
    terms: Terms


class _Stretch(NamedTuple):
    """Phases that follow each other on one calendar; `first` is the calendar's index of its first period."""

    start: dt.datetime
    end: dt.datetime | None
    anchor: Anchor
    interval: Interval
    first: int
    periods_before: int

    def length(self) -> int | None:
        """How many periods it has; None: it goes on."""
        if self.end is None:
            return None
        return period_at(self.anchor, self.interval, self.end - LAST_INSTANT).index - self.first + 1

    def period(self, index: int) -> BillingPeriod:
        whole = period(self.anchor, self.interval, self.first + index - self.periods_before)
        end = whole.end if self.end is None else min(whole.end, self.end)
        return BillingPeriod(index, max(whole.start, self.start), end, whole)


def phases_of(subscription: Subscription) -> list[SubscriptionPhase]:
    """The phases that were or will be in force, oldest first; those replaced before they began are left out."""
    if "phases" not in getattr(subscription, "_prefetched_objects_cache", ()):  # it is asked several times a period
        prefetch_related_objects([subscription], WITH_PHASES)
    phases = subscription._prefetched_objects_cache["phases"]  # type: ignore[attr-defined]  # a query set copies itself
    return [phase for phase in phases if phase.ends_at is None or phase.ends_at > phase.starts_at]


def period_of(subscription: Subscription, index: int) -> BillingPeriod | None:
    """The period with this index (0 is the first); None where the subscription ends before it."""
    for stretch in _stretches(subscription):
        length = stretch.length()
        if length is None or index < stretch.periods_before + length:
            return stretch.period(index)
    return None


def period_holding(subscription: Subscription, instant: dt.datetime) -> BillingPeriod:
    """The period that holds an instant. Raises NotInForce."""
    for stretch in _stretches(subscription):
        if stretch.start <= instant and (stretch.end is None or instant < stretch.end):
            calendar_index = period_at(stretch.anchor, stretch.interval, instant).index
            return stretch.period(stretch.periods_before + calendar_index - stretch.first)
    raise NotInForce(f"the subscription is not in force at {instant.isoformat()}")


def parts_of(
    subscription: Subscription, billing_period: BillingPeriod, *, as_of: dt.datetime | None = None
) -> list[Part]:
    """The parts of a period, oldest first: one for each phase in it, and cut where the trial ends.

    `as_of` an instant, changes after it are not known yet: the phase in force then goes on to the period's end, except
    that a trial ends when it ends and what follows it is left out.
    """
    phases = [phase for phase in phases_of(subscription) if as_of is None or phase.starts_at <= as_of]
    parts: list[Part] = []
    for position, phase in enumerate(phases):
        goes_on = as_of is not None and position == len(phases) - 1
        phase_end = billing_period.end if goes_on or phase.ends_at is None else phase.ends_at
        start, end = max(phase.starts_at, billing_period.start), min(phase_end, billing_period.end)
        if start < end:
            parts.extend(_split_by_trial(Part(phase, start, end, trial=False), subscription.trial_ends_at))
    return parts[:1] + [part for part in parts[1:] if as_of is None or part.start <= as_of]


def agreement_at(subscription: Subscription, instant: dt.datetime) -> Agreement:
    """What is agreed at an instant. Raises NotInForce."""
    held = period_holding(subscription, instant)
    phase = next(
        phase
        for phase in reversed(phases_of(subscription))
        if phase.starts_at <= instant and (phase.ends_at is None or instant < phase.ends_at)
    )
    return Agreement(subscription, held, phase, phase.plan_version, terms_of(phase.plan_version))


def changes_within(subscription: Subscription, billing_period: BillingPeriod) -> list[dt.datetime]:
    """The instants inside a period (its start not among them) at which another phase begins or the trial ends."""
    instants = {phase.starts_at for phase in phases_of(subscription)} | {subscription.trial_ends_at}
    return sorted(i for i in instants if i is not None and billing_period.start < i < billing_period.end)


def _split_by_trial(part: Part, trial_ends_at: dt.datetime | None) -> Iterator[Part]:
    if trial_ends_at is None or trial_ends_at <= part.start:
        yield part
        return
    yield part._replace(end=min(part.end, trial_ends_at), trial=True)
    if trial_ends_at < part.end:
        yield part._replace(start=trial_ends_at)


def _stretches(subscription: Subscription) -> Iterator[_Stretch]:
    current: _Stretch | None = None
    for phase in phases_of(subscription):
        terms = terms_of(phase.plan_version)
        anchor = Anchor(phase.anchor_at, subscription.timezone)
        if current is not None and (current.anchor, current.interval) == (anchor, terms.interval):
            current = current._replace(end=phase.ends_at)
            continue
        before = 0
        if current is not None:
            yield current
            before = current.periods_before + (current.length() or 0)
        first = period_at(anchor, terms.interval, phase.starts_at).index
        current = _Stretch(phase.starts_at, phase.ends_at, anchor, terms.interval, first, before)
    if current is not None:
        yield current
