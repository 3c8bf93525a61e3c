"""How does a customer come onto a plan and leave it again, and which period is it in?"""

import datetime as dt
import uuid
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, prefetch_related_objects

from plans.calendar import Anchor, Period, period, period_at
from plans.models import (
    Customer,
    Plan,
    PlanVersion,
    SchemeChange,
    Subscription,
    SubscriptionPhase,
    TierScheme,
    VersionStatus,
)
from plans.publishing import terms_of, unpriced_tiers
from plans.schemes import DEFAULT_SCHEME
from plans.terms import Terms

FARTHEST_START = dt.timedelta(days=3660)
WITH_PHASES = Prefetch(
    "phases", SubscriptionPhase.objects.select_related("plan_version__plan", "plan_version__tier_scheme")
)
"""What a subscription has to be read with to say what it agrees."""


class SubscriptionRefused(ValueError):
    """The subscription cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class SubscriptionOverlaps(Exception):
    """The customer has a subscription at that time; it can have one at a time."""


class AlreadyEnding(Exception):
    """The subscription's end is set already."""


class Agreement(NamedTuple):
    """What a subscription says about one of its periods."""

    subscription: Subscription
    period: Period
    plan_version: PlanVersion
    terms: Terms


def subscribe(
    customer: Customer, plan: Plan, *, version: int | None, starts_at: dt.datetime, now: dt.datetime
) -> Subscription:
    """Put a customer on a plan's newest published version, or the given one.

    Raises SubscriptionRefused for terms that do not fit the customer, SubscriptionOverlaps.
    """
    agreed = _version_to_sell(customer, plan, version)
    if abs(starts_at - now) > FARTHEST_START:
        raise SubscriptionRefused("/starts_at", "more than ten years away")
    try:
        with transaction.atomic():
            # One after the other: two inserts that both wait for the exclusion constraint would deadlock.
            Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
            _check_tiers_have_prices(agreed)
            subscription = Subscription.objects.create(
                customer=customer, starts_at=starts_at, timezone=customer.timezone, created_at=now
            )
            SubscriptionPhase.objects.create(
                subscription=subscription, customer=customer, plan_version=agreed, starts_at=starts_at
            )
            _note_scheme(customer.id, agreed, since=starts_at)
            return subscription
    except IntegrityError as error:
        raise SubscriptionOverlaps(f"{customer.key} has a subscription at that time") from error


def _note_scheme(customer_id: uuid.UUID, version: PlanVersion, *, since: dt.datetime) -> None:
    """Where a subscription begins or ends, its plan's scheme takes turns with the default one, if it is another."""
    if version.tier_scheme.code != DEFAULT_SCHEME:
        SchemeChange.objects.create(customer_id=customer_id, since=since)


def _version_to_sell(customer: Customer, plan: Plan, number: int | None) -> PlanVersion:
    if plan.customer_id not in (None, customer.id):
        raise SubscriptionRefused("/plan", "this plan is private to another customer")
    versions = plan.versions.filter(status=VersionStatus.PUBLISHED).order_by("-version")
    version = (versions if number is None else versions.filter(version=number)).first()
    if version is None:
        raise SubscriptionRefused("/plan" if number is None else "/version", "no such published version of the plan")
    currency = terms_of(version).currency
    if currency != customer.currency:
        raise SubscriptionRefused("/plan", f"priced in {currency}, but the customer pays in {customer.currency}")
    return version


def _check_tiers_have_prices(version: PlanVersion) -> None:
    """Its scheme may have got another tier since the plan version was published."""
    # Kept from getting one until the subscription is there to be seen.
    TierScheme.objects.select_for_update(no_key=True).get(pk=version.tier_scheme_id)
    missing = unpriced_tiers(version)
    if missing:
        raise SubscriptionRefused("/plan", f"the plan has no price for {', '.join(missing)} of its tier scheme")


def cancel_at_period_end(subscription: Subscription, *, now: dt.datetime, preview: bool = False) -> Subscription:
    """Let the subscription run out with the period that holds `now`; a preview writes nothing. Raises AlreadyEnding."""
    with transaction.atomic():
        subscription = Subscription.objects.select_for_update().get(pk=subscription.pk)
        if subscription.ends_at is not None:
            raise AlreadyEnding(f"the subscription ends at {subscription.ends_at.isoformat()} already")
        instant = max(now, subscription.starts_at)
        subscription.ends_at = agreement_at(subscription, instant).period.end
        subscription.canceled_at = now
        if preview:
            return subscription
        subscription.save(update_fields=["ends_at", "canceled_at"])
        subscription.phases.filter(ends_at=None).update(ends_at=subscription.ends_at)
        _note_scheme(subscription.customer_id, _version_at(subscription, instant), since=subscription.ends_at)
        return subscription


def live_subscription(customer: Customer, *, at: dt.datetime) -> Subscription | None:
    """The customer's subscription at an instant, if it has one."""
    begun = customer.subscriptions.filter(starts_at__lte=at)
    return begun.exclude(ends_at__lte=at).order_by("-starts_at").first()


def agreement_at(subscription: Subscription, instant: dt.datetime) -> Agreement:
    """The period that holds an instant, and the terms in force at its start."""
    version = _version_at(subscription, instant)
    terms = terms_of(version)
    return Agreement(subscription, period_at(anchor_of(subscription), terms.interval, instant), version, terms)


def agreement(subscription: Subscription, index: int) -> Agreement:
    """The period with this index (0 is the first), and the terms in force during it."""
    version = _version_at(subscription, subscription.starts_at)
    terms = terms_of(version)
    return Agreement(subscription, period(anchor_of(subscription), terms.interval, index), version, terms)


def anchor_of(subscription: Subscription) -> Anchor:
    """Where the subscription's periods hang."""
    return Anchor(subscription.starts_at, subscription.timezone)


def _version_at(subscription: Subscription, instant: dt.datetime) -> PlanVersion:
    prefetch_related_objects([subscription], WITH_PHASES)  # once for a subscription; it is asked for every period
    begun = [phase for phase in subscription.phases.all() if phase.starts_at <= instant]
    return max(begun, key=lambda phase: phase.starts_at).plan_version
