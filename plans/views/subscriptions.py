"""`/v1/subscriptions`: which customer is on which plan, and until when."""

import datetime as dt
import uuid
from typing import Annotated, Any

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body, Instant
from plans.models import Subscription
from plans.periods import LAST_INSTANT, WITH_PHASES, Agreement, agreement_at, phases_of
from plans.subscribing import SubscriptionOverlaps, SubscriptionRefused, subscribe
from plans.views.customers import Key, get_customer
from plans.views.plans import get_plan
from plans.views.tier_schemes import Code


class NewSubscription(Body):
    """Put a customer on a plan: its newest published version unless one is named, from now unless said.

    Periods hang on `anchor_at`, the start unless said; a first period that it leaves partial costs its share.
    """

    customer: Key
    plan: Code
    version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    starts_at: Instant | None = None
    anchor_at: Instant | None = None


class SubscriptionFilter(PageQuery):
    """Which subscriptions to list."""

    customer: Key | None = None


class ScheduledChange(msgspec.Struct):
    """Another plan, or version, that will take over."""

    at: dt.datetime
    plan: str
    plan_version: int


class SubscriptionOut(msgspec.Struct):
    """A subscription with the plan version and period it is in (its first or last, outside its life).

    `status` is scheduled, trialing, active, paused, ending or ended.
    """

    id: uuid.UUID
    customer: str
    plan: str
    plan_version: int
    status: str
    timezone: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    canceled_at: dt.datetime | None
    trial_ends_at: dt.datetime | None
    anchor_at: dt.datetime
    current_period_start: dt.datetime
    current_period_end: dt.datetime
    scheduled_change: ScheduledChange | None


def subscription_out(subscription: Subscription, *, now: dt.datetime | None = None) -> SubscriptionOut:
    now = now or timezone.now()
    if subscription.ends_at == subscription.starts_at:
        return _withdrawn(subscription)
    instant = max(now, subscription.starts_at)
    if subscription.ends_at is not None:
        instant = min(instant, subscription.ends_at - LAST_INSTANT)
    agreed = agreement_at(subscription, instant)
    return SubscriptionOut(
        **_said(subscription),
        plan=agreed.plan_version.plan.code,
        plan_version=agreed.plan_version.version,
        status=_status(subscription, agreed, now),
        anchor_at=agreed.phase.anchor_at,
        current_period_start=agreed.period.start,
        current_period_end=agreed.period.end,
        scheduled_change=_scheduled(subscription, instant),
    )


def _said(subscription: Subscription) -> dict[str, Any]:
    same = ("id", "timezone", "starts_at", "ends_at", "canceled_at", "trial_ends_at")
    return {name: getattr(subscription, name) for name in same} | {"customer": subscription.customer.key}


def _withdrawn(subscription: Subscription) -> SubscriptionOut:
    """One that was canceled before it began has no period."""
    phase = subscription.phases.select_related("plan_version__plan")[0]
    return SubscriptionOut(
        **_said(subscription),
        plan=phase.plan_version.plan.code,
        plan_version=phase.plan_version.version,
        status="ended",
        anchor_at=phase.anchor_at,
        current_period_start=subscription.starts_at,
        current_period_end=subscription.starts_at,
        scheduled_change=None,
    )


def _status(subscription: Subscription, agreed: Agreement, now: dt.datetime) -> str:
    if now < subscription.starts_at:
        return "scheduled"
    if subscription.ends_at is not None:
        return "ended" if now >= subscription.ends_at else "ending"
    if agreed.phase.paused:
        return "paused"
    trial_ends_at = subscription.trial_ends_at
    return "trialing" if trial_ends_at is not None and now < trial_ends_at else "active"


def _scheduled(subscription: Subscription, instant: dt.datetime) -> ScheduledChange | None:
    coming = [phase for phase in phases_of(subscription) if phase.starts_at > instant]
    if not coming:
        return None
    version = coming[0].plan_version
    return ScheduledChange(at=coming[0].starts_at, plan=version.plan.code, plan_version=version.version)


def get_subscription(subscription_id: uuid.UUID) -> Subscription:
    """The subscription a URL names, or the problem 404."""
    try:
        return Subscription.objects.select_related("customer").get(pk=subscription_id)
    except Subscription.DoesNotExist as error:
        raise not_found("There is no such subscription.") from error


class Subscriptions(Endpoint):
    """`/v1/subscriptions`"""

    @operation(scope="read", query=SubscriptionFilter, returns=Page[SubscriptionOut], summary="List subscriptions")
    def get(self, request: Request, query: SubscriptionFilter) -> Page[SubscriptionOut]:
        rows = Subscription.objects.select_related("customer").prefetch_related(WITH_PHASES)
        if query.customer is not None:
            rows = rows.filter(customer=get_customer(query.customer))
        return paginated(request, rows, to_json=subscription_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewSubscription,
        returns=SubscriptionOut,
        status=201,
        problems={SubscriptionOverlaps: 409, SubscriptionRefused: 400},
        summary="Subscribe a customer to a plan",
    )
    def post(self, request: Request, body: NewSubscription) -> Answer:
        now = timezone.now()
        subscription = subscribe(
            get_customer(body.customer),
            get_plan(body.plan),
            version=body.version,
            starts_at=body.starts_at or now,
            anchor_at=body.anchor_at,
            now=now,
        )
        return Answer(subscription_out(subscription), location=f"/v1/subscriptions/{subscription.id}")


class OneSubscription(Endpoint):
    """`/v1/subscriptions/{id}`"""

    @operation(scope="read", returns=SubscriptionOut, summary="Read a subscription")
    def get(self, request: Request, subscription_id: uuid.UUID) -> SubscriptionOut:
        return subscription_out(get_subscription(subscription_id))
