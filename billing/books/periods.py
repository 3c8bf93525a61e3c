"""Is every period of a subscription invoiced once, for the time the calendar gives it, and soon after it is over?"""

import datetime as dt
from collections.abc import Iterator

from billing.billing import START
from billing.books.agreed import FIRST_PHASE, TermsBook, terms_book
from billing.books.invariant import Invariant, Row, paged
from plans.calendar import Anchor, Period, period

AGREED = f"""
SELECT customer.key AS customer, subscription.id AS subscription, subscription.starts_at, subscription.ends_at,
    subscription.timezone, phase.plan_version_id AS plan_version, own.*
FROM plans_subscription subscription JOIN plans_customer customer ON customer.id = subscription.customer_id
{FIRST_PHASE}
"""
BILLED_PERIODS = f"""
{AGREED}JOIN (
    SELECT subscription_id, period_index, period_start, period_end, 'invoice' AS named_by, plan_version_id
    FROM billing_invoice WHERE kind IN ('start', 'cycle')
    UNION SELECT subscription_id, period_index, period_start, period_end, 'line', NULL FROM billing_invoiceline
) own ON own.subscription_id = subscription.id
"""
SCHEDULED = f"""
{AGREED}JOIN billing_billingschedule own ON own.subscription_id = subscription.id
"""
TILES = """
SELECT * FROM (
    SELECT customer.key AS customer, invoice.number, invoice.period_index, invoice.period_start, invoice.period_end,
        row_number() OVER own - 1 AS expected_index, lag(invoice.period_end) OVER own AS previous_end,
        subscription.starts_at
    FROM billing_invoice invoice JOIN plans_subscription subscription ON subscription.id = invoice.subscription_id
    JOIN plans_customer customer ON customer.id = invoice.customer_id WHERE invoice.kind = 'cycle'
    WINDOW own AS (PARTITION BY invoice.subscription_id ORDER BY invoice.period_index)) cycle
WHERE (period_index, period_start) IS DISTINCT FROM (expected_index, coalesce(previous_end, starts_at))
"""
UP_TO_DATE = """
SELECT customer.key AS customer, schedule.next_period, coalesce(billed.cycles, 0) AS cycles_invoiced
FROM billing_billingschedule schedule JOIN plans_subscription subscription ON subscription.id = schedule.subscription_id
JOIN plans_customer customer ON customer.id = subscription.customer_id
LEFT JOIN (SELECT subscription_id, count(*) AS cycles FROM billing_invoice WHERE kind = 'cycle'
    GROUP BY subscription_id) billed ON billed.subscription_id = subscription.id
WHERE greatest(schedule.next_period, 0) <> coalesce(billed.cycles, 0)
"""
FIRST_FEES = f"""
SELECT customer.key AS customer, subscription.starts_at, version.terms::jsonb ->> 'base_fee' AS base_fee,
    invoice.number AS start_invoice
FROM plans_subscription subscription JOIN plans_customer customer ON customer.id = subscription.customer_id
JOIN billing_billingschedule schedule ON schedule.subscription_id = subscription.id {FIRST_PHASE}
JOIN plans_planversion version ON version.id = phase.plan_version_id
LEFT JOIN billing_invoice invoice ON invoice.subscription_id = subscription.id AND invoice.kind = 'start'
WHERE (invoice.id IS NOT NULL)
   <> (schedule.next_period > {START} AND (version.terms::jsonb ->> 'base_fee')::numeric > 0)
"""
OUTSIDE_LIFE = """
SELECT customer.key AS customer, invoice.number, invoice.kind, line.kind AS line_kind, line.period_start,
    line.period_end, subscription.starts_at, subscription.ends_at
FROM billing_invoice invoice LEFT JOIN billing_invoiceline line ON line.invoice_id = invoice.id
JOIN plans_subscription subscription ON subscription.id = coalesce(line.subscription_id, invoice.subscription_id)
JOIN plans_customer customer ON customer.id = invoice.customer_id
WHERE coalesce(line.period_start, invoice.period_start) < subscription.starts_at
   OR line.period_start >= subscription.ends_at
   OR invoice.kind <> 'adjustment' AND invoice.subscription_id = subscription.id
      AND invoice.period_start >= subscription.ends_at
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
    """Invoices and lines whose period begins or ends when the calendar says something else."""
    book = terms_book()
    for row in paged(BILLED_PERIODS):
        expected = _period(row, row["period_index"], book) if row["period_index"] >= 0 else None
        # Adjustment invoices count on; their lines name periods of the calendar like any other.
        if expected is None or (row["period_start"], row["period_end"]) != (expected.start, expected.end):
            yield {**row, "expected_start": expected and expected.start, "expected_end": expected and expected.end}
        elif row["plan_version_id"] not in (None, row["plan_version"]):
            yield {**row, "expected_plan_version": row["plan_version"]}


def due_at_another_time(now: dt.datetime) -> Iterator[Row]:
    """Schedules that are not due when their next period, with its grace, is over."""
    book = terms_book()
    for row in paged(SCHEDULED):
        index = row["next_period"]
        if index == START:
            expected = row["starts_at"]
        else:
            next_period = _period(row, index, book)
            if row["ends_at"] is not None and next_period.start >= row["ends_at"]:
                continue  # billed to its end; woken by late changes at any time
            expected = next_period.end + book(row["plan_version"]).grace
        if row["due_at"] != expected:
            yield {**row, "expected_due_at": expected}


def _period(row: Row, index: int, book: TermsBook) -> Period:
    return period(Anchor(row["starts_at"], row["timezone"]), book(row["plan_version"]).interval, index)


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
        "A subscription is due when it starts, or when its next period and the grace are over.",
        due_at_another_time,
    ),
    Invariant("first_base_fee_is_billed", "A subscription with a base fee begins with an invoice of it.", FIRST_FEES),
    Invariant(
        "invoice_is_within_the_life_of_its_subscription",
        "Nothing is billed for a period before a subscription begins or after it has ended.",
        OUTSIDE_LIFE,
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
