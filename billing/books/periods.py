"""Is every period of a subscription invoiced once, for the time the calendar gives it, and soon after it is over?"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterator

from django.db.models import F

from billing.books.agreed import schedules, schedules_by_page
from billing.books.invariant import Invariant, Row
from billing.fee_lines import FEE_KINDS
from billing.given_up import still_to_bill
from billing.models import BillingSchedule, Invoice, InvoiceKind, InvoiceLine
from billing.owing import owed_in_advance
from billing.records import Records
from billing.steps import next_step
from plans.periods import period_of

TILES = """
SELECT * FROM (
    SELECT customer.key AS customer, invoice.number, invoice.period_index, invoice.period_start, invoice.period_end,
        row_number() OVER own - 1 AS expected_index, lag(invoice.period_end) OVER own AS previous_end,
        subscription.starts_at
    FROM billing_invoice invoice JOIN plans_subscription subscription ON subscription.id = invoice.subscription_id
    JOIN plans_customer customer ON customer.id = invoice.customer_id
    WHERE invoice.kind = 'cycle' AND invoice.ordinal = 0
    WINDOW own AS (PARTITION BY invoice.subscription_id ORDER BY invoice.period_index)) cycle
WHERE (period_index, period_start) IS DISTINCT FROM (expected_index, coalesce(previous_end, starts_at))
"""
UP_TO_DATE = """
SELECT customer.key AS customer, schedule.next_period, coalesce(billed.cycles, 0) AS cycles_invoiced
FROM billing_billingschedule schedule JOIN plans_subscription subscription ON subscription.id = schedule.subscription_id
JOIN plans_customer customer ON customer.id = subscription.customer_id
LEFT JOIN (SELECT subscription_id, count(*) AS cycles FROM billing_invoice WHERE kind = 'cycle' AND ordinal = 0
    GROUP BY subscription_id) billed ON billed.subscription_id = subscription.id
WHERE greatest(schedule.next_period, 0) <> coalesce(billed.cycles, 0)
"""
PHASES_TILE = """
WITH lived AS (
    SELECT subscription_id, starts_at, ends_at, lag(ends_at) OVER own AS previous_end,
        lead(starts_at) OVER own AS next_start
    FROM plans_subscriptionphase WHERE ends_at IS NULL OR ends_at > starts_at
    WINDOW own AS (PARTITION BY subscription_id ORDER BY starts_at)
)
SELECT customer.key AS customer, subscription.starts_at, subscription.ends_at, lived.starts_at AS phase_starts_at,
    lived.ends_at AS phase_ends_at
FROM plans_subscription subscription JOIN plans_customer customer ON customer.id = subscription.customer_id
LEFT JOIN lived ON lived.subscription_id = subscription.id
WHERE CASE WHEN lived.subscription_id IS NULL THEN subscription.ends_at IS DISTINCT FROM subscription.starts_at
    ELSE lived.starts_at <> coalesce(lived.previous_end, subscription.starts_at)
      OR lived.next_start IS NULL AND lived.ends_at IS DISTINCT FROM subscription.ends_at END
"""
UNSCHEDULED = """
SELECT customer.key AS customer, subscription.starts_at, subscription.ends_at
FROM plans_subscription subscription JOIN plans_customer customer ON customer.id = subscription.customer_id
WHERE greatest(subscription.starts_at, subscription.created_at) < %(now)s - interval '1 hour'
  AND NOT EXISTS (SELECT FROM billing_billingschedule schedule WHERE schedule.subscription_id = subscription.id)
"""
OVERDUE = """
SELECT customer.key AS customer, schedule.next_period, schedule.due_at, schedule.attempts, schedule.not_before,
    schedule.last_error
FROM billing_billingschedule schedule JOIN plans_subscription subscription ON subscription.id = schedule.subscription_id
JOIN plans_customer customer ON customer.id = subscription.customer_id
WHERE schedule.due_at < %(now)s - interval '1 hour' OR schedule.attempts > 0
"""
METERED = """
SELECT customer.key AS customer, invoice.number, invoice.period_end, reading.read_to
FROM billing_invoice invoice JOIN plans_customer customer ON customer.id = invoice.customer_id
LEFT JOIN metering_meterreading reading ON reading.customer_id = invoice.customer_id
WHERE invoice.kind = 'cycle' AND (reading.read_to IS NULL OR reading.read_to < invoice.period_end)
"""
# A subscription that goes on bills late changes with its next period; one that has ended has to be woken for them.
LATE_CHANGES = """
SELECT customer.key AS customer, late.day, late.noted_at
FROM metering_latechange late LEFT JOIN plans_customer customer ON customer.id = late.customer_id
WHERE late.noted_at < %(now)s - interval '1 hour' AND NOT EXISTS (
    SELECT FROM billing_billingschedule schedule JOIN plans_subscription subscription
      ON subscription.id = schedule.subscription_id
    WHERE subscription.customer_id = late.customer_id AND schedule.due_at IS NOT NULL)
"""


def periods_off_the_calendar(now: dt.datetime) -> Iterator[Row]:
    """Invoices and lines whose period is not where the calendar has it.

    A period that was cut short later is longer on what was billed before. Of one that is gone nothing is left in sum
    (`fees_off_the_agreement`).
    """
    for page in schedules_by_page():
        named = _named_periods(page)
        for schedule in page:
            for index, start, end, what in named[schedule.pk]:
                found = period_of(schedule.subscription, index) if index >= 0 else None
                if index >= 0 and found is None:
                    continue
                cycle = what == InvoiceKind.CYCLE
                if (
                    found is None
                    or not found.whole.start <= start < end <= found.whole.end
                    or (what != "line" and start != found.start)
                    or (cycle and end not in (found.end, found.whole.end))
                ):
                    yield {**_row(schedule), "index": index, "of": what, "start": start, "end": end, "expected": found}


def _named_periods(page: list[BillingSchedule]) -> dict[uuid.UUID, list[tuple[int, dt.datetime, dt.datetime, str]]]:
    """By subscription: the index, start and end of a period, and what kind of invoice (or that a line) names it."""
    columns = ("subscription_id", "period_index", "period_start", "period_end")
    named = defaultdict(list)
    for subscription_id, *period in Invoice.objects.filter(
        subscription__in=[schedule.pk for schedule in page]
    ).values_list(*columns, "kind"):
        named[subscription_id].append(tuple(period))
    # What was replaced as soon as it had begun may have been of another interval.
    lines = InvoiceLine.objects.filter(subscription__in=[schedule.pk for schedule in page]).exclude(
        phase__ends_at=F("phase__starts_at")
    )
    for subscription_id, *period in lines.values_list(*columns):
        named[subscription_id].append((*period, "line"))
    return named


def due_at_another_time(now: dt.datetime) -> Iterator[Row]:
    """Schedules that are not due when their next step is."""
    for schedule in schedules():
        step = next_step(schedule.subscription, schedule)
        if step is not None and step.due_at != schedule.due_at:
            yield {**_row(schedule), "due_at": schedule.due_at, "expected_due_at": step.due_at}


def fees_off_the_agreement(now: dt.datetime) -> Iterator[Row]:
    """Periods whose base fees were billed in advance otherwise than agreed, or that are gone and still billed."""
    for page in schedules_by_page():
        billed_ahead = _billed_ahead(page)
        records = Records()
        records.read_ahead([(schedule.pk, index) for schedule in page for index in billed_ahead[schedule.pk]], ())
        for schedule in page:
            for index in billed_ahead[schedule.pk]:
                # Discounts on fees may begin and end after those were billed; they are settled when the period closes.
                standing = records.standing_lines(schedule.subscription, index)
                fees = [line for line in standing if line.kind in FEE_KINDS]
                owed = _fees_owed(schedule, index, records)
                if owed is not None and still_to_bill(owed, fees):
                    billed = sum(line.amount for line in fees)
                    yield {**_row(schedule), "index": index, "billed": billed, "owed": owed}


def _billed_ahead(page: list[BillingSchedule]) -> dict[uuid.UUID, set[int]]:
    """By subscription: the period that is billed next, and all later ones for which something was billed."""
    ahead = {schedule.pk: {max(schedule.next_period, 0)} for schedule in page}
    lines = InvoiceLine.objects.filter(subscription__in=[schedule.pk for schedule in page]).order_by()
    for subscription_id, index in lines.values_list("subscription_id", "period_index").distinct():
        assert subscription_id is not None and index is not None
        if index >= min(ahead[subscription_id]):
            ahead[subscription_id].add(index)
    return ahead


def _fees_owed(schedule: BillingSchedule, index: int, records: Records) -> int | None:
    """What the base fees of a period come to in advance, in minor units; None: it is not billed in advance yet."""
    period = period_of(schedule.subscription, index)
    if period is None or schedule.changes_to is None:
        return 0
    if index > schedule.next_period:
        return None
    in_advance = owed_in_advance(schedule.subscription, period, as_of=schedule.changes_to, records=records)
    return sum(charge.amount for charge in in_advance.bill.charges if charge.kind == "base_fee")


def _row(schedule: BillingSchedule) -> Row:
    subscription = schedule.subscription
    return {
        "customer": subscription.customer.key,
        "starts_at": subscription.starts_at,
        "ends_at": subscription.ends_at,
        "next_period": schedule.next_period,
    }


PERIODS = (
    Invariant(
        "invoiced_period_is_that_of_the_calendar",
        "Invoices and lines name the periods the calendar gives their subscription, on the terms agreed for them.",
        periods_off_the_calendar,
    ),
    Invariant(
        "cycles_of_a_subscription_tile_its_periods",
        "The cycle invoices of a subscription follow each other from its start, without gap or overlap.",
        TILES,
    ),
    Invariant(
        "schedule_follows_the_last_cycle",
        "The period to be billed next is the one after those that are invoiced.",
        UP_TO_DATE,
    ),
    Invariant(
        "schedule_is_due_when_its_period_is_over",
        "A subscription is due when it starts, changes, or when its next period and the grace are over.",
        due_at_another_time,
    ),
    Invariant(
        "phases_tile_the_life_of_a_subscription",
        "The phases of a subscription follow each other from its start to its end, without gap or overlap.",
        PHASES_TILE,
    ),
    Invariant(
        "base_fees_are_billed_as_agreed",
        "What is billed in advance for a period is its base fee by the agreement, and nothing for one that is gone.",
        fees_off_the_agreement,
    ),
    Invariant("subscription_is_scheduled", "A subscription that has begun is on the billing schedule.", UNSCHEDULED),
    Invariant(
        "period_that_is_over_is_invoiced",
        "No period stays uninvoiced for an hour past its grace, and no billing fails.",
        OVERDUE,
    ),
    Invariant(
        "invoiced_period_was_read_from_the_meter",
        "The meter reading of a customer covers its invoiced periods, so that later changes are noted.",
        METERED,
    ),
    Invariant(
        "late_change_has_an_invoice_to_come",
        "A change after the last invoice of an ended subscription is billed within the hour.",
        LATE_CHANGES,
    ),
)
