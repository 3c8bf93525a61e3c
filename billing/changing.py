"""What does a change of a subscription cost, and when is it billed? At once, and a preview is the same, undone.

Whatever is due before the change is billed first, then the change is made, then what it makes due is billed: the
difference to base fees billed in advance, and for a subscription that ends the final invoice with all its usage.
"""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import TypeVar

from django.db import transaction

from billing.billing import schedule_new_subscriptions
from billing.drafting import Outline, draft, outline_change, outline_withdrawal
from billing.models import BillingSchedule, Invoice
from billing.numbering import Numbers, next_numbers, passing_numbers
from billing.steps import bill_steps, issue, next_step, reschedule
from metering.recutting import recut_customer
from metering.usage_lock import take_usage_lock
from plans.models import Customer, Subscription, TierScheme
from plans.periods import LAST_INSTANT, WITH_PHASES, NotInForce, period_holding, period_of

Change = Callable[[uuid.UUID], Subscription]
"""One of plans.changing, with everything but the subscription given."""
Shown = TypeVar("Shown")


def make_change(
    subscription_id: uuid.UUID,
    change: Change,
    *,
    now: dt.datetime,
    preview: bool,
    show: Callable[[Subscription, list[Invoice]], Shown],
) -> Shown:
    """Make a change and bill what it makes due; returns what `show` makes of both, before a preview is undone.

    Raises what the change raises; then nothing is billed either.
    """
    with transaction.atomic():
        before = transaction.savepoint()
        subscription, invoices = _changed(subscription_id, change, now, passing_numbers if preview else next_numbers)
        shown = show(subscription, invoices)
        if preview:
            transaction.savepoint_rollback(before)
        else:
            transaction.savepoint_commit(before)
        return shown


def _changed(
    subscription_id: uuid.UUID, change: Change, now: dt.datetime, numbers: Numbers
) -> tuple[Subscription, list[Invoice]]:
    schedule = _locked_schedule(subscription_id)
    invoices = _bill_due(schedule, now, numbers)
    schedule.subscription = change(subscription_id)
    recut_customer(schedule.subscription.customer_id, now=now)
    invoices += _bill_difference(schedule, now, numbers)
    reschedule(schedule)
    invoices += _bill_due(schedule, now, numbers)
    return schedule.subscription, invoices


def _locked_schedule(subscription_id: uuid.UUID) -> BillingSchedule:
    """Locked after the customer, as bill runs do not: they skip what is locked.

    With it all that the change and its bills will need before an invoice is numbered, in the order of usage_lock.py.
    """
    schedule_new_subscriptions(subscription_id)
    customer_id = Subscription.objects.values_list("customer_id", flat=True).get(pk=subscription_id)
    Customer.objects.select_for_update(no_key=True).get(pk=customer_id)
    schedule = BillingSchedule.objects.select_for_update().get(pk=subscription_id)
    list(TierScheme.objects.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    take_usage_lock(customer_id)
    schedule.subscription = _read(subscription_id)
    return schedule


def _read(subscription_id: uuid.UUID) -> Subscription:
    return Subscription.objects.select_related("customer").prefetch_related(WITH_PHASES).get(pk=subscription_id)


def _bill_due(schedule: BillingSchedule, now: dt.datetime, numbers: Numbers) -> list[Invoice]:
    invoices: list[Invoice] = []
    while (step := next_step(schedule.subscription, schedule)) is not None and step.due_at <= now:
        invoices += bill_steps([schedule], as_of=now, now=now, numbers=numbers)
    return invoices


def _bill_difference(schedule: BillingSchedule, now: dt.datetime, numbers: Numbers) -> list[Invoice]:
    """What the change does to fees billed in advance, unless the invoice that closes the period is due now anyway."""
    outline = _difference(schedule, now)
    bills = [] if outline is None else draft([outline], now=now)
    issue(bills, now=now, numbers=numbers)
    return [bill.invoice for bill in bills]


def _difference(schedule: BillingSchedule, now: dt.datetime) -> Outline | None:
    subscription = schedule.subscription
    if schedule.next_period < 0:
        return None
    if subscription.ends_at == subscription.starts_at:
        return outline_withdrawal(subscription)
    running = period_of(subscription, schedule.next_period)
    if running is not None and running.end <= now:
        return None
    try:
        period = period_holding(subscription, now)
    except NotInForce:
        assert subscription.ends_at is not None
        period = period_holding(subscription, subscription.ends_at - LAST_INSTANT)
    if period.index > schedule.next_period:
        return None  # still to be billed in advance, or after the invoice of the period before, in its grace
    schedule.changes_to = max(schedule.changes_to or now, now)
    return outline_change(subscription, period, schedule.next_period, as_of=now)
