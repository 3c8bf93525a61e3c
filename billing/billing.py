"""Which periods are over and not invoiced yet? The bill run: settle, then one invoice after the other per subscription.

Every subscription has a row that says when it is to be billed next; a run takes the due ones, each in a transaction of
its own, and puts off those that fail. Nothing depends on when or how often it runs.
"""

import datetime as dt
import logging
import uuid
from collections.abc import Callable
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from billing.drafting import draft_adjustment, draft_cycle, draft_start
from billing.finalizing import finalize_invoice
from billing.models import BillingSchedule, Invoice
from metering.models import LateChange
from metering.reading import take_reading
from metering.settling import settle
from plans.models import Subscription
from plans.subscribing import agreement

log = logging.getLogger(__name__)

START = -1
"""`next_period` of a subscription whose first base fee is still to be billed."""
RETRY_AFTER = dt.timedelta(minutes=1)
LONGEST_RETRY = dt.timedelta(hours=6)
MOST_DOUBLINGS = 9
"""Of RETRY_AFTER until it is beyond LONGEST_RETRY; a subscription that nobody repairs would double beyond all dates."""


class BillRun(NamedTuple):
    """What a run did: conversations settled, invoices made, subscriptions put off because of an error."""

    settled: int
    invoices: list[uuid.UUID]
    failed: int


def bill(
    *, as_of: dt.datetime, now: dt.datetime, progress: Callable[[Invoice], object] = lambda invoice: None
) -> BillRun:
    """Settle what is due and invoice every period that is over (and past its grace) at `as_of`."""
    settled = settle(as_of=as_of, now=now)
    schedule_new_subscriptions()
    schedule_late_changes(as_of=as_of)
    invoices: list[uuid.UUID] = []
    failed: set[uuid.UUID] = set()
    for schedule_id in list(_due(as_of, now).values_list("pk", flat=True)):
        try:
            while (made := bill_next(schedule_id, as_of=as_of, now=now)) is not None:
                for invoice in made:
                    invoices.append(invoice.pk)
                    progress(invoice)
        except Exception as error:
            log.exception("billing subscription %s failed", schedule_id)
            _put_off(schedule_id, error, now)
            failed.add(schedule_id)
    return BillRun(settled, invoices, len(failed))


def schedule_new_subscriptions() -> None:
    """Give every subscription without one its row of the schedule."""
    scheduled = BillingSchedule.objects.filter(subscription=OuterRef("pk"))
    rows = Subscription.objects.filter(~Exists(scheduled)).values_list("pk", "starts_at")
    BillingSchedule.objects.bulk_create(
        [BillingSchedule(subscription_id=pk, next_period=START, due_at=starts_at) for pk, starts_at in rows],
        ignore_conflicts=True,
    )


def schedule_late_changes(*, as_of: dt.datetime) -> None:
    """Wake subscriptions that were billed to their end and whose usage changed after that.

    Where the customer has another subscription by now, the next invoice of that one carries the difference.
    """
    late = LateChange.objects.filter(customer=OuterRef("subscription__customer"))
    going_on = BillingSchedule.objects.filter(
        subscription__customer=OuterRef("subscription__customer"), due_at__isnull=False
    )
    ended = BillingSchedule.objects.filter(Exists(late), ~Exists(going_on), due_at=None)
    BillingSchedule.objects.filter(pk__in=list(ended.values_list("pk", flat=True))).update(due_at=as_of)


def bill_next(schedule_id: uuid.UUID, *, as_of: dt.datetime, now: dt.datetime) -> list[Invoice] | None:
    """Bill the next step of one subscription, if it is due and nobody else is at it; None: there is nothing to do."""
    with transaction.atomic():
        schedule = (
            _due(as_of, now)
            .select_related("subscription__customer")
            .select_for_update(of=["self"], skip_locked=True)
            .filter(pk=schedule_id)
            .first()
        )
        if schedule is None:
            return None
        drafted = _draft_next(schedule, as_of, now)
        if settings.HOLD_DRAFTS:
            return [] if drafted is None else [drafted]
        return [] if drafted is None else [finalize_invoice(drafted.pk, now=now)]


def _due(as_of: dt.datetime, now: dt.datetime) -> QuerySet[BillingSchedule]:
    ready = BillingSchedule.objects.filter(Q(not_before=None) | Q(not_before__lte=now))
    return ready.filter(due_at__lte=as_of).order_by("due_at")


def _draft_next(schedule: BillingSchedule, as_of: dt.datetime, now: dt.datetime) -> Invoice | None:
    subscription = schedule.subscription
    index = schedule.next_period
    if index == START:
        invoice = draft_start(subscription, now=now)
    elif _is_over(subscription, index):
        late_days = take_reading(subscription.customer_id, up_to=as_of)
        invoice = draft_adjustment(subscription, index - 1, late_days, now=now)
        return _schedule(schedule, index, None, invoice)
    else:
        end = agreement(subscription, index).period.end
        late_days = take_reading(subscription.customer_id, up_to=end)
        invoice = draft_cycle(subscription, index, late_days, now=now)
    following = agreement(subscription, index + 1)
    over = _is_over(subscription, index + 1)
    return _schedule(schedule, index + 1, None if over else following.period.end + following.terms.grace, invoice)


def _is_over(subscription: Subscription, index: int) -> bool:
    """Whether the subscription has ended before the period begins."""
    ends_at = subscription.ends_at
    return ends_at is not None and agreement(subscription, index).period.start >= ends_at


def _schedule(
    schedule: BillingSchedule, next_period: int, due_at: dt.datetime | None, invoice: Invoice | None
) -> Invoice | None:
    schedule.next_period, schedule.due_at = next_period, due_at
    schedule.attempts, schedule.not_before, schedule.last_error = 0, None, ""
    schedule.save()
    return invoice


def _put_off(schedule_id: uuid.UUID, error: Exception, now: dt.datetime) -> None:
    schedule = BillingSchedule.objects.get(pk=schedule_id)
    delay = min(RETRY_AFTER * 2 ** min(schedule.attempts, MOST_DOUBLINGS), LONGEST_RETRY)
    BillingSchedule.objects.filter(pk=schedule_id).update(
        attempts=F("attempts") + 1, not_before=now + delay, last_error=f"{type(error).__name__}: {error}"
    )
