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

from billing.drafting import draft_adjustment, draft_change, draft_cycle, draft_start
from billing.finalizing import finalize_invoice
from billing.models import BillingSchedule, Invoice, InvoiceKind
from metering.models import LateChange
from metering.reading import take_reading
from metering.settling import settle
from plans.models import Subscription
from plans.periods import LAST_INSTANT, BillingPeriod, changes_within, parts_of, period_holding, period_of

log = logging.getLogger(__name__)

START = -1
"""`next_period` of a subscription whose first base fee is still to be billed."""
RETRY_AFTER = dt.timedelta(minutes=1)
LONGEST_RETRY = dt.timedelta(hours=6)
MOST_DOUBLINGS = 9
"""Of RETRY_AFTER until it is beyond LONGEST_RETRY; a subscription that nobody repairs would double beyond all dates."""


class Step(NamedTuple):
    """Something to be billed of a subscription: for which period, as the agreement is `at` an instant, once due."""

    kind: InvoiceKind
    period: BillingPeriod
    at: dt.datetime
    due_at: dt.datetime


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


def schedule_new_subscriptions(only: uuid.UUID | None = None) -> None:
    """Give every subscription without one its row of the schedule, or just one of them."""
    scheduled = BillingSchedule.objects.filter(subscription=OuterRef("pk"))
    missing = Subscription.objects.filter(~Exists(scheduled))
    rows = (missing if only is None else missing.filter(pk=only)).values_list("pk", "starts_at")
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
        return None if schedule is None else bill_step(schedule, as_of=as_of, now=now)


def bill_step(schedule: BillingSchedule, *, as_of: dt.datetime, now: dt.datetime) -> list[Invoice]:
    """Bill the next step of a schedule that the caller has locked; the invoices made, finalized if they may be."""
    drafted = _draft_next(schedule, as_of, now)
    reschedule(schedule)
    return [] if drafted is None else [finalize_if_free(drafted, now=now)]


def _due(as_of: dt.datetime, now: dt.datetime) -> QuerySet[BillingSchedule]:
    ready = BillingSchedule.objects.filter(Q(not_before=None) | Q(not_before__lte=now))
    return ready.filter(due_at__lte=as_of).order_by("due_at")


def _draft_next(schedule: BillingSchedule, as_of: dt.datetime, now: dt.datetime) -> Invoice | None:
    subscription = schedule.subscription
    step = next_step(subscription, schedule)
    if step is None:
        return _draft_late(subscription, as_of, now)
    if step.kind == InvoiceKind.START:
        schedule.next_period, schedule.changes_to = 0, step.at
        return draft_start(subscription, step.period, now=now)
    if step.kind == InvoiceKind.CHANGE:
        schedule.changes_to = step.at
        return draft_change(subscription, step.period, step.period.index, as_of=step.at, now=now)
    schedule.next_period, schedule.changes_to = step.period.index + 1, step.at
    late_days = take_reading(subscription.customer_id, up_to=step.at)
    return draft_cycle(subscription, step.period, late_days, now=now)


def _draft_late(subscription: Subscription, as_of: dt.datetime, now: dt.datetime) -> Invoice | None:
    """The subscription is billed to its end, and was woken because usage changed after that."""
    assert subscription.ends_at is not None
    late_days = take_reading(subscription.customer_id, up_to=as_of)
    if subscription.ends_at == subscription.starts_at:
        return None
    last = period_holding(subscription, subscription.ends_at - LAST_INSTANT)
    return draft_adjustment(subscription, last, late_days, now=now)


def next_step(subscription: Subscription, schedule: BillingSchedule) -> Step | None:
    """What is to be billed next for a subscription, and when; None: it has ended and is billed to its end."""
    index = schedule.next_period
    period = period_of(subscription, max(index, 0))
    if period is None:
        return None
    if index == START:
        return Step(InvoiceKind.START, period, period.start, period.start)
    changes = [at for at in changes_within(subscription, period) if schedule.changes_to and at > schedule.changes_to]
    if changes:
        return Step(InvoiceKind.CHANGE, period, changes[0], changes[0])
    # What is cut short was ended by somebody who waits for the bill; nothing of it can arrive that late.
    grace = dt.timedelta(0) if period.cut_short else parts_of(subscription, period)[-1].terms.grace
    return Step(InvoiceKind.CYCLE, period, period.end, period.end + grace)


def reschedule(schedule: BillingSchedule) -> None:
    """Write down when the schedule's next step is due."""
    step = next_step(schedule.subscription, schedule)
    schedule.due_at = None if step is None else step.due_at
    schedule.attempts, schedule.not_before, schedule.last_error = 0, None, ""
    schedule.save()


def finalize_if_free(draft: Invoice, *, now: dt.datetime) -> Invoice:
    """Finalize what was just drafted, unless drafts are held for an operator, or for Stripe to tax them."""
    return draft if settings.HOLD_DRAFTS else finalize_invoice(draft.pk, now=now)


def _put_off(schedule_id: uuid.UUID, error: Exception, now: dt.datetime) -> None:
    schedule = BillingSchedule.objects.get(pk=schedule_id)
    delay = min(RETRY_AFTER * 2 ** min(schedule.attempts, MOST_DOUBLINGS), LONGEST_RETRY)
    BillingSchedule.objects.filter(pk=schedule_id).update(
        attempts=F("attempts") + 1, not_before=now + delay, last_error=f"{type(error).__name__}: {error}"
    )
