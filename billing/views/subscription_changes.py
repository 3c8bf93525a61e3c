"""`/v1/subscriptions/{id}/change`, `/cancel`, `/pause` and the like: each can be tried first, with `preview`."""

import datetime as dt
import uuid
from typing import Annotated, Literal, Protocol

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.strict_json import Body, Instant
from billing.changing import Change, make_change
from billing.models import Invoice
from billing.views.invoices import INVOICES, InvoiceOut, invoice_out
from plans import changing
from plans.models import Subscription
from plans.subscribing import SubscriptionOverlaps, SubscriptionRefused, version_to_sell
from plans.views.plans import get_plan
from plans.views.subscriptions import SubscriptionOut, get_subscription, subscription_out
from plans.views.tier_schemes import Code

PROBLEMS = {
    changing.AlreadyEnded: 409,
    changing.AlreadyEnding: 409,
    changing.NotEnding: 409,
    changing.NothingToChange: 409,
    SubscriptionOverlaps: 409,
    SubscriptionRefused: 400,
}


class PlainChange(Protocol):
    """A change of plans.changing that takes no more than the subscription and the time."""

    def __call__(self, subscription_id: uuid.UUID, *, now: dt.datetime) -> Subscription: ...


class ChangedSubscription(SubscriptionOut, kw_only=True):
    """The subscription after the change, and the invoices made at once for it.

    In a preview none of it has happened; an invoice of a preview has neither an id nor a number to come back to.
    """

    preview: bool
    invoices: list[InvoiceOut]


class PlanChange(Body):
    """Another plan, or another version of the same one: the newest published unless one is named.

    It begins `when` is said, `now` or at `period_end`, or `at` an instant to come; unless either is said, a dearer plan
    (by base fee) now, any other at the end of the period. A change that is scheduled already is replaced.
    """

    plan: Code
    version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    when: Literal["now", "period_end"] | None = None
    at: Instant | None = None
    preview: bool = False


class Cancellation(Body):
    """When the subscription ends: with its period, or now, with a final invoice of all usage."""

    at_period_end: bool = True
    preview: bool = False


class Preview(Body):
    """With `preview` nothing is changed."""

    preview: bool = False


def changed(subscription_id: uuid.UUID, change: Change, *, now: dt.datetime, preview: bool) -> ChangedSubscription:
    """Make the change, or try it, and say what it does."""
    get_subscription(subscription_id)

    def show(subscription: Subscription, invoices: list[Invoice]) -> ChangedSubscription:
        rows = INVOICES.filter(pk__in=[invoice.pk for invoice in invoices]).order_by("created_at", "id")
        return ChangedSubscription(
            **msgspec.structs.asdict(subscription_out(subscription, now=now)),
            preview=preview,
            invoices=[_without_identity(invoice_out(row)) if preview else invoice_out(row) for row in rows],
        )

    return make_change(subscription_id, change, now=now, preview=preview, show=show)


def _without_identity(invoice: InvoiceOut) -> InvoiceOut:
    """What is undone in a moment has no id and no number to come back to."""
    lines = [msgspec.structs.replace(line, id=None) for line in invoice.lines]
    return msgspec.structs.replace(invoice, id=None, number=None, lines=lines)


class ChangedPlan(Endpoint):
    """`/v1/subscriptions/{id}/change`"""

    @operation(
        scope="manage",
        body=PlanChange,
        returns=ChangedSubscription,
        problems=PROBLEMS,
        summary="Move a subscription to another plan or version",
    )
    def post(self, request: Request, subscription_id: uuid.UUID, body: PlanChange) -> ChangedSubscription:
        now = timezone.now()
        subscription = get_subscription(subscription_id)
        if body.at is not None and body.when is not None:
            raise SubscriptionRefused("/at", "say either when or at")
        version = version_to_sell(subscription.customer, get_plan(body.plan), body.version)

        def change(pk: uuid.UUID) -> Subscription:
            return changing.change_plan(pk, version, when=body.at or body.when, now=now)

        return changed(subscription_id, change, now=now, preview=body.preview)


class CanceledSubscription(Endpoint):
    """`/v1/subscriptions/{id}/cancel`"""

    @operation(
        scope="manage",
        body=Cancellation,
        returns=ChangedSubscription,
        problems=PROBLEMS,
        summary="Cancel a subscription, at the end of its period or now",
        description="One that has not begun is withdrawn when it is canceled now.",
    )
    def post(self, request: Request, subscription_id: uuid.UUID, body: Cancellation) -> ChangedSubscription:
        now = timezone.now()

        def change(pk: uuid.UUID) -> Subscription:
            return changing.cancel(pk, when="period_end" if body.at_period_end else "now", now=now)

        return changed(subscription_id, change, now=now, preview=body.preview)


def plain_change(make: PlainChange, *, summary: str, description: str = "") -> type[Endpoint]:
    """The endpoint of a change that needs no more to be said than which subscription."""

    class Plain(Endpoint):
        @operation(
            scope="manage",
            body=Preview,
            returns=ChangedSubscription,
            problems=PROBLEMS,
            summary=summary,
            description=description,
        )
        def post(self, request: Request, subscription_id: uuid.UUID, body: Preview) -> ChangedSubscription:
            now = timezone.now()
            return changed(subscription_id, lambda pk: make(pk, now=now), now=now, preview=body.preview)

    return Plain


UnscheduledChange = plain_change(changing.unschedule_change, summary="Take back a change that has not begun")
UncanceledSubscription = plain_change(changing.uncancel, summary="Let a canceled subscription go on that has not ended")
PausedSubscription = plain_change(
    changing.pause,
    summary="Pause a subscription",
    description="No base fee and no allowance accrue until it is resumed; what is used all the same is priced.",
)
ResumedSubscription = plain_change(changing.resume, summary="Resume a paused subscription")
