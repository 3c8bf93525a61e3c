"""`/v1/subscriptions`: which customer is on which plan, and until when."""

import datetime as dt
import uuid
from typing import Annotated

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body, Instant
from plans.models import Subscription
from plans.subscribing import (
    WITH_PHASES,
    AlreadyEnding,
    SubscriptionOverlaps,
    SubscriptionRefused,
    agreement_at,
    cancel_at_period_end,
    subscribe,
)
from plans.views.customers import Key, get_customer
from plans.views.plans import get_plan
from plans.views.tier_schemes import Code


class NewSubscription(Body):
    """Put a customer on a plan: its newest published version unless one is named, from now unless said."""

    customer: Key
    plan: Code
    version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    starts_at: Instant | None = None


class SubscriptionFilter(PageQuery):
    """Which subscriptions to list."""

    customer: Key | None = None


class Cancellation(Body):
    """When a subscription ends; with `preview` nothing is changed."""

    at_period_end: bool = True
    preview: bool = False


class SubscriptionOut(msgspec.Struct):
    """A subscription with the plan version and period it is in (its first or last, outside its life)."""

    id: uuid.UUID
    customer: str
    plan: str
    plan_version: int
    status: str
    timezone: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    canceled_at: dt.datetime | None
    current_period_start: dt.datetime
    current_period_end: dt.datetime


def subscription_out(subscription: Subscription) -> SubscriptionOut:
    now = timezone.now()
    instant = max(now, subscription.starts_at)
    if subscription.ends_at is not None:
        instant = min(instant, subscription.ends_at - dt.timedelta(microseconds=1))
    agreed = agreement_at(subscription, instant)
    return SubscriptionOut(
        id=subscription.id,
        customer=subscription.customer.key,
        plan=agreed.plan_version.plan.code,
        plan_version=agreed.plan_version.version,
        status=_status(subscription, now),
        timezone=subscription.timezone,
        starts_at=subscription.starts_at,
        ends_at=subscription.ends_at,
        canceled_at=subscription.canceled_at,
        current_period_start=agreed.period.start,
        current_period_end=agreed.period.end,
    )


def _status(subscription: Subscription, now: dt.datetime) -> str:
    if now < subscription.starts_at:
        return "scheduled"
    if subscription.ends_at is None:
        return "active"
    return "ended" if now >= subscription.ends_at else "ending"


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
            now=now,
        )
        return Answer(subscription_out(subscription), location=f"/v1/subscriptions/{subscription.id}")


class OneSubscription(Endpoint):
    """`/v1/subscriptions/{id}`"""

    @operation(scope="read", returns=SubscriptionOut, summary="Read a subscription")
    def get(self, request: Request, subscription_id: uuid.UUID) -> SubscriptionOut:
        return subscription_out(get_subscription(subscription_id))


class CanceledSubscription(Endpoint):
    """`/v1/subscriptions/{id}/cancel`"""

    @operation(
        scope="manage",
        body=Cancellation,
        returns=SubscriptionOut,
        problems={AlreadyEnding: 409, SubscriptionRefused: 400},
        summary="Cancel a subscription at the end of its period",
    )
    def post(self, request: Request, subscription_id: uuid.UUID, body: Cancellation) -> SubscriptionOut:
        subscription = get_subscription(subscription_id)
        if not body.at_period_end:
            raise SubscriptionRefused("/at_period_end", "only true: a subscription ends with its period")
        return subscription_out(cancel_at_period_end(subscription, now=timezone.now(), preview=body.preview))
