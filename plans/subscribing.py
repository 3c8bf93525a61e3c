"""How does a customer come onto a plan?"""

import datetime as dt
import uuid

from django.db import IntegrityError, transaction

from plans.calendar import MONTHS_IN, days_later
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
from plans.periods import LAST_INSTANT
from plans.publishing import terms_of, unpriced_tiers
from plans.schemes import DEFAULT_SCHEME

FARTHEST_START = dt.timedelta(days=3660)


class SubscriptionRefused(ValueError):
    """The subscription cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class SubscriptionOverlaps(Exception):
    """The customer has a subscription at that time; it can have one at a time."""


def subscribe(
    customer: Customer,
    plan: Plan,
    *,
    version: int | None,
    starts_at: dt.datetime,
    now: dt.datetime,
    anchor_at: dt.datetime | None = None,
) -> Subscription:
    """Put a customer on a plan's newest published version, or the given one.

    Periods hang on `anchor_at`, the start unless given; a first period that the anchor leaves partial costs its share.
    A plan's trial is given to a customer once. Raises SubscriptionRefused for terms that do not fit the customer,
    SubscriptionOverlaps.
    """
    agreed = version_to_sell(customer, plan, version)
    terms = terms_of(agreed)
    anchor_at = starts_at if anchor_at is None else anchor_at
    if abs(starts_at - now) > FARTHEST_START:
        raise SubscriptionRefused("/starts_at", "more than ten years away")
    if abs(anchor_at - starts_at) > dt.timedelta(days=31 * MONTHS_IN[terms.interval]):
        raise SubscriptionRefused("/anchor_at", f"more than a {terms.interval} from the start")
    try:
        with transaction.atomic():
            # One after the other: two inserts that both wait for the exclusion constraint would deadlock.
            Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
            check_tiers_have_prices(agreed)
            subscription = Subscription.objects.create(
                customer=customer,
                starts_at=starts_at,
                timezone=customer.timezone,
                trial_ends_at=_trial_end(customer, agreed, starts_at),
                created_at=now,
            )
            SubscriptionPhase.objects.create(
                subscription=subscription,
                customer=customer,
                plan_version=agreed,
                starts_at=starts_at,
                anchor_at=anchor_at,
                created_at=now,
            )
            note_scheme(customer.id, agreed, since=starts_at)
            return subscription
    except IntegrityError as error:
        raise SubscriptionOverlaps(f"{customer.key} has a subscription at that time") from error


def _trial_end(customer: Customer, agreed: PlanVersion, starts_at: dt.datetime) -> dt.datetime | None:
    days = terms_of(agreed).trial_days
    had_before = SubscriptionPhase.objects.filter(customer=customer, plan_version__plan=agreed.plan_id).exists()
    return days_later(starts_at, days, customer.timezone) if days and not had_before else None


def version_to_sell(customer: Customer, plan: Plan, number: int | None) -> PlanVersion:
    """The plan's newest published version, or the numbered one, if it is for this customer. SubscriptionRefused."""
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


def check_tiers_have_prices(version: PlanVersion) -> None:
    """Its scheme may have got another tier since the plan version was published. SubscriptionRefused."""
    # Kept from getting one until the subscription is there to be seen.
    TierScheme.objects.select_for_update(no_key=True).get(pk=version.tier_scheme_id)
    missing = unpriced_tiers(version)
    if missing:
        raise SubscriptionRefused("/plan", f"the plan has no price for {', '.join(missing)} of its tier scheme")


def note_scheme(customer_id: uuid.UUID, version: PlanVersion, *, since: dt.datetime) -> None:
    """Where a subscription begins or changes, its plan's scheme takes turns with another, if it is not the default."""
    if version.tier_scheme.code != DEFAULT_SCHEME:
        SchemeChange.objects.create(customer_id=customer_id, since=since)


def note_end(customer_id: uuid.UUID, ends_at: dt.datetime) -> None:
    """Where a subscription ends, or is not to end any more, the conversations open then end otherwise."""
    SchemeChange.objects.create(customer_id=customer_id, since=ends_at - LAST_INSTANT)


def live_subscription(customer: Customer, *, at: dt.datetime) -> Subscription | None:
    """The customer's subscription at an instant, if it has one."""
    begun = customer.subscriptions.filter(starts_at__lte=at)
    return begun.exclude(ends_at__lte=at).order_by("-starts_at").first()
