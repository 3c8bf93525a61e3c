"""Which periods are over and not invoiced yet? The bill run: settle, then one invoice after the other per subscription.

Every subscription has a row that says when it is to be billed next. A run takes the due ones in batches, and bills
one step of each in a transaction, until none is due. One that fails is found by halving its batch, and is put off.
Nothing depends on when or how often it runs, or on who runs it at the same time; so batches may be given to processes
or workers.
"""

import datetime as dt
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, prefetch_related_objects

from billing.in_processes import map_over
from billing.models import BillingSchedule, Invoice
from billing.steps import START, bill_steps
from metering.models import LateChange
from metering.settling import settle
from metering.usage_lock import slot_of
from plans.models import Subscription
from plans.periods import WITH_PHASES

log = logging.getLogger(__name__)

SUBSCRIPTIONS_A_BATCH = 200
"""Billed in one transaction: long enough to be fast, short enough not to hold up ingestion and the invoice numbers."""
RETRY_AFTER = dt.timedelta(minutes=1)
LONGEST_RETRY = dt.timedelta(hours=6)
MOST_DOUBLINGS = 9
"""Of RETRY_AFTER until it is beyond LONGEST_RETRY; a subscription that nobody repairs would double beyond all dates."""


class Waiting(NamedTuple):
    """A schedule that is due, and whose it is."""

    schedule_id: uuid.UUID
    customer_id: uuid.UUID


class Done(NamedTuple):
    """What became of some schedules: the invoices made, and how many were put off because of an error."""

    invoices: list[uuid.UUID]
    failed: int


class BillRun(NamedTuple):
    """What a run did: conversations settled, invoices made, subscriptions put off because of an error."""

    settled: int
    invoices: list[uuid.UUID]
    failed: int


def bill(
    *,
    as_of: dt.datetime,
    now: dt.datetime,
    processes: int = 1,
    progress: Callable[[int], object] = lambda invoices: None,
) -> BillRun:
    """Settle what is due and invoice every period that is over (and past its grace) at `as_of`.

    Where there is more than a batch, that many processes share the work. `progress` is called with the number of
    invoices made in each batch.
    """
    settled = settle(as_of=as_of, now=now)
    waiting = schedules_due(as_of=as_of, now=now)
    invoices: list[uuid.UUID] = []
    failed = 0
    with map_over(processes if len(waiting) > SUBSCRIPTIONS_A_BATCH else 1) as each_done:
        while waiting:
            chosen = list(batches(waiting))
            for done in each_done(partial(bill_batch, as_of=as_of, now=now), chosen):
                invoices += done.invoices
                failed += done.failed
                progress(len(done.invoices))
            done_with = set(chain.from_iterable(chosen))
            waiting = [each for each in waiting if each.schedule_id not in done_with]
    return BillRun(settled, invoices, failed)


def schedules_due(*, as_of: dt.datetime, now: dt.datetime) -> list[Waiting]:
    """Whose turn it is, the longest due first; with those who have no schedule yet, or ended and were touched again."""
    schedule_new_subscriptions()
    schedule_late_changes(as_of=as_of)
    return [Waiting(*row) for row in _due(as_of, now).values_list("pk", "subscription__customer")]


def bill_batch(schedule_ids: Sequence[uuid.UUID], *, as_of: dt.datetime, now: dt.datetime) -> Done:
    """Bill all steps that are due of these schedules, each of another customer; what is not due (any more) is left."""
    invoices: list[uuid.UUID] = []
    failed = 0
    due = list(schedule_ids)
    while due:
        steps = list(_bill_apart(due, as_of=as_of, now=now))
        invoices += [invoice.pk for step in steps for invoice in step.invoices]
        failed += sum(step.failed for step in steps)
        due = [pk for step in steps for pk in step.still_due]
    return Done(invoices, failed)


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


def batches(waiting: Iterable[Waiting]) -> Iterator[list[uuid.UUID]]:
    """One schedule a customer, its earliest. Customers that share a usage lock come together, as far as they fit.

    So a batch keeps the events of few other customers waiting, and runs at the same time seldom wait for each other:
    batches that follow each other never share a lock.
    """
    sharing: dict[int, dict[uuid.UUID, uuid.UUID]] = defaultdict(dict)
    for schedule_id, customer_id in waiting:
        sharing[slot_of(customer_id)].setdefault(customer_id, schedule_id)
    groups = [list(sharing[slot].values()) for slot in sorted(sharing)]
    batch: list[uuid.UUID] = []
    for begin in range(0, max(map(len, groups), default=0), SUBSCRIPTIONS_A_BATCH):
        for group in groups:
            more = group[begin : begin + SUBSCRIPTIONS_A_BATCH]
            if len(batch) + len(more) > SUBSCRIPTIONS_A_BATCH:
                yield batch
                batch = []
            batch += more
    if batch:
        yield batch


class _Stepped(NamedTuple):
    """What one step of some schedules came to: the invoices made, whose next one is due, and how many failed."""

    invoices: list[Invoice]
    still_due: list[uuid.UUID]
    failed: int


def _bill_apart(schedule_ids: list[uuid.UUID], *, as_of: dt.datetime, now: dt.datetime) -> Iterator[_Stepped]:
    """Bill the next step of these, together if that works, else in halves; one that fails by itself is put off."""
    try:
        stepped = _bill_together(schedule_ids, as_of=as_of, now=now)
    except Exception as error:
        stepped = None
        if len(schedule_ids) == 1:
            log.exception("billing subscription %s failed", schedule_ids[0])
            _put_off(schedule_ids[0], error, now)
            stepped = _Stepped([], [], 1)
    if stepped is not None:
        yield stepped
        return
    middle = len(schedule_ids) // 2
    for half in (schedule_ids[:middle], schedule_ids[middle:]):
        yield from _bill_apart(half, as_of=as_of, now=now)


def _bill_together(schedule_ids: Sequence[uuid.UUID], *, as_of: dt.datetime, now: dt.datetime) -> _Stepped:
    with transaction.atomic():
        schedules = _locked(schedule_ids, as_of, now)
        invoices = bill_steps(schedules, as_of=as_of, now=now)
    still_due = [schedule.pk for schedule in schedules if schedule.due_at is not None and schedule.due_at <= as_of]
    return _Stepped(invoices, still_due, 0)


def _locked(schedule_ids: Sequence[uuid.UUID], as_of: dt.datetime, now: dt.datetime) -> list[BillingSchedule]:
    """Those of them that are due and nobody else is at, with what they are about, read after they were locked."""
    due = _due(as_of, now).filter(pk__in=schedule_ids)
    schedules = list(due.select_for_update(skip_locked=True))
    prefetch_related_objects(schedules, "subscription__customer")
    prefetch_related_objects([schedule.subscription for schedule in schedules], WITH_PHASES)
    return schedules


def _due(as_of: dt.datetime, now: dt.datetime) -> QuerySet[BillingSchedule]:
    ready = BillingSchedule.objects.filter(Q(not_before=None) | Q(not_before__lte=now))
    return ready.filter(due_at__lte=as_of).order_by("due_at")


def _put_off(schedule_id: uuid.UUID, error: Exception, now: dt.datetime) -> None:
    schedule = BillingSchedule.objects.get(pk=schedule_id)
    delay = min(RETRY_AFTER * 2 ** min(schedule.attempts, MOST_DOUBLINGS), LONGEST_RETRY)
    BillingSchedule.objects.filter(pk=schedule_id).update(
        attempts=F("attempts") + 1, not_before=now + delay, last_error=f"{type(error).__name__}: {error}"
    )
