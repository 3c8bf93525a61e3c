"""What is to be billed next of a subscription, when, and what is on that invoice?

A subscription's schedule says which step comes next: its start, a change within a period, or the end of one. A step is
billed for one schedule or for many at once, in the transaction of whoever has locked them.
"""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.conf import settings

from billing.bills import Bill, write
from billing.drafting import Outline, draft, outline_adjustment, outline_change, outline_cycle, outline_start
from billing.finalizing import finalize_bills
from billing.late import cycles_touched
from billing.models import BillingSchedule, Invoice, InvoiceKind
from billing.numbering import Numbers, next_numbers
from metering.reading import take_readings
from plans.models import Subscription
from plans.periods import LAST_INSTANT, BillingPeriod, changes_within, parts_of, period_holding, period_of

START = -1
"""`next_period` of a subscription whose first base fee is still to be billed."""
MOVED = ["next_period", "changes_to", "due_at", "attempts", "not_before", "last_error"]


class Step(NamedTuple):
    """Something to be billed of a subscription: for which period, as the agreement is `at` an instant, once due."""

    kind: InvoiceKind
    period: BillingPeriod
    at: dt.datetime
    due_at: dt.datetime


def bill_steps(
    schedules: Sequence[BillingSchedule], *, as_of: dt.datetime, now: dt.datetime, numbers: Numbers = next_numbers
) -> list[Invoice]:
    """Bill the next step of schedules that the caller has locked; the invoices made, finalized if they may be.

    Of several, each is of another customer: what one invoice changes in the records, no other of the batch asks for.
    """
    bills = draft(_outlines(schedules, as_of, now), now=now)
    for schedule in schedules:
        put_next_step(schedule)
    # All are there: an insert that conflicts updates many rows in one short statement, as bulk_update does not.
    BillingSchedule.objects.bulk_create(
        schedules, update_conflicts=True, unique_fields=["subscription"], update_fields=MOVED
    )
    issue(bills, now=now, numbers=numbers)
    return [bill.invoice for bill in bills]


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
    put_next_step(schedule)
    schedule.save()


def put_next_step(schedule: BillingSchedule) -> None:
    """Say on a schedule, for the caller to save, when its next step is due."""
    step = next_step(schedule.subscription, schedule)
    schedule.due_at = None if step is None else step.due_at
    schedule.attempts, schedule.not_before, schedule.last_error = 0, None, ""


def issue(bills: Sequence[Bill], *, now: dt.datetime, numbers: Numbers = next_numbers) -> None:
    """Write what was just drafted, finalized unless drafts are held for an operator, or for Stripe to tax them."""
    if settings.HOLD_DRAFTS:
        write(bills)
    else:
        finalize_bills(bills, numbers=numbers, now=now)


def _outlines(schedules: Sequence[BillingSchedule], as_of: dt.datetime, now: dt.datetime) -> list[Outline]:
    """What the next steps of schedules bill; these are moved on in memory, and the meters read."""
    steps = [(schedule, next_step(schedule.subscription, schedule)) for schedule in schedules]
    read_to = {
        schedule.subscription.customer_id: as_of if step is None else step.at
        for schedule, step in steps
        if step is None or step.kind == InvoiceKind.CYCLE
    }
    touched = cycles_touched(take_readings(read_to, now=now))
    outlines = (_outline(schedule, step, touched) for schedule, step in steps)
    return [outline for outline in outlines if outline is not None]


def _outline(
    schedule: BillingSchedule, step: Step | None, touched: Mapping[uuid.UUID, list[Invoice]]
) -> Outline | None:
    subscription = schedule.subscription
    late = touched.get(subscription.customer_id, [])
    if step is None:
        return _outline_late(subscription, late)
    schedule.changes_to = step.at
    if step.kind == InvoiceKind.START:
        schedule.next_period = 0
        return outline_start(subscription, step.period)
    if step.kind == InvoiceKind.CHANGE:
        return outline_change(subscription, step.period, step.period.index, as_of=step.at)
    schedule.next_period = step.period.index + 1
    return outline_cycle(subscription, step.period, late)


def _outline_late(subscription: Subscription, late: list[Invoice]) -> Outline | None:
    """The subscription is billed to its end, and was woken because usage changed after that."""
    assert subscription.ends_at is not None
    if subscription.ends_at == subscription.starts_at:
        return None
    last = period_holding(subscription, subscription.ends_at - LAST_INSTANT)
    return outline_adjustment(subscription, last, late)
