"""Does every amount follow from the terms? Priced anew by the one price path that billing itself uses."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from billing.books.agreed import FIRST_PHASE, TermsBook, terms_book
from billing.books.invariant import Invariant, Row, paged
from plans.money import format_amount, to_minor
from plans.pricing import PricedTier, UnpricedTier, price_tier, price_usage
from plans.terms import Flat, Terms

LINES = f"""
SELECT invoice.number, line.position, line.tier, line.quantity, line.unit_amount, line.amount, line.details::text,
    phase.plan_version_id AS plan_version
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
JOIN plans_subscription subscription ON subscription.id = line.subscription_id
{FIRST_PHASE}
WHERE line.kind = %(kind)s
"""
# What stood on an invoice that is void by now counts as billed: it was given up, and is not claimed again.
INVOICED_PERIODS = """
WITH cycle AS (SELECT * FROM billing_invoice WHERE kind = 'cycle' AND status <> 'void'
), counted AS (
    SELECT cycle.id, conversation.tier, count(*) AS conversations
    FROM cycle JOIN metering_conversation conversation ON conversation.customer_id = cycle.customer_id
      AND conversation.settled_at >= cycle.period_start AND conversation.settled_at < cycle.period_end
    GROUP BY cycle.id, conversation.tier
), counts AS (SELECT id, jsonb_object_agg(tier, conversations)::text AS counts FROM counted GROUP BY id
), billed AS (
    SELECT subscription_id, period_index, sum(amount)::bigint AS billed FROM billing_invoiceline
    WHERE kind IN ('usage', 'adjustment') GROUP BY subscription_id, period_index
)
SELECT customer.key AS customer, cycle.number AS invoice, cycle.period_start, cycle.period_end,
    cycle.plan_version_id AS plan_version, coalesce(counts.counts, '{}') AS counts,
    coalesce(billed.billed, 0) AS billed
FROM cycle JOIN plans_customer customer ON customer.id = cycle.customer_id LEFT JOIN counts ON counts.id = cycle.id
LEFT JOIN billed ON billed.subscription_id = cycle.subscription_id AND billed.period_index = cycle.period_index
WHERE NOT EXISTS (SELECT FROM metering_latechange late WHERE late.customer_id = cycle.customer_id
    AND late.day::timestamp AT TIME ZONE 'UTC' < cycle.period_end
    AND (late.day + 1)::timestamp AT TIME ZONE 'UTC' > cycle.period_start)
"""


def mispriced_usage(now: dt.datetime) -> Iterator[Row]:
    """Usage lines whose amount is not what their quantity costs."""
    book = terms_book()
    for line in paged(LINES, kind="usage"):
        priced, terms = _priced(line, book)
        price = terms.rates[line["tier"]].price if priced else None
        amount = to_minor(priced.amount, terms.currency) if priced else None
        unit = price.unit if isinstance(price, Flat) else None
        if (line["amount"], line["unit_amount"]) != (amount, unit):
            del line["details"]
            yield {**line, "priced_anew": amount, "unit_of_the_terms": unit}


def misexplained_usage(now: dt.datetime) -> Iterator[Row]:
    """Usage lines whose details are not the sum that leads to their price."""
    book = terms_book()
    for line in paged(LINES, kind="usage"):
        priced, terms = _priced(line, book)
        expected = priced.details(terms.currency) if priced else None
        if msgspec.json.decode(line["details"]) != expected:
            yield {**line, "expected_details": expected}


def _priced(line: Row, book: TermsBook) -> tuple[PricedTier | None, Terms]:
    """None where the terms cannot price such a line at all."""
    terms = book(line["plan_version"])
    rate = terms.rates.get(line["tier"])
    quantity = line["quantity"]
    return (price_tier(line["tier"], rate, quantity) if rate and quantity > 0 else None), terms


def wrong_base_fees(now: dt.datetime) -> Iterator[Row]:
    """Base fee lines that are not once the fee of the terms."""
    book = terms_book()
    for line in paged(LINES, kind="base_fee"):
        terms = book(line["plan_version"])
        fee = to_minor(terms.base_fee, terms.currency)
        if (line["quantity"], line["unit_amount"], line["amount"]) != (1, terms.base_fee, fee):
            yield {**line, "fee_of_the_terms": fee}


def wrong_adjustments(now: dt.datetime) -> Iterator[Row]:
    """Adjustments whose counts do not cost what they say, or whose amount is not the difference they name."""
    book = terms_book()
    for line in paged(LINES, kind="adjustment"):
        terms = book(line["plan_version"])
        details = msgspec.json.decode(line["details"])
        owed = _usage_total(terms, details["counts"])
        billed = to_minor(Decimal(details["billed"]), terms.currency)
        if (details["owed"], line["amount"]) != (_amount(owed, terms), None if owed is None else owed - billed):
            yield {**line, "counts_cost": _amount(owed, terms)}


def wrongly_billed_periods(now: dt.datetime) -> Iterator[Row]:
    """Invoiced periods whose lines, adjustments included, are not what today's counts cost."""
    book = terms_book()
    for period in paged(INVOICED_PERIODS):
        terms = book(period["plan_version"])
        owed = _usage_total(terms, msgspec.json.decode(period["counts"]))
        if owed != period["billed"]:
            yield {**period, "owed": owed}


def _usage_total(terms: Terms, counts: dict[str, Any]) -> int | None:
    """What these conversations cost in minor units, each tier rounded by itself; None where a tier has no price."""
    try:
        return sum(to_minor(priced.amount, terms.currency) for priced in price_usage(terms, counts))
    except UnpricedTier:
        return None


def _amount(minor: int | None, terms: Terms) -> str | None:
    return None if minor is None else format_amount(minor, terms.currency)


PRICES = (
    Invariant(
        "usage_line_reprices_to_its_amount",
        "A usage line costs what its quantity costs by the terms of its plan version.",
        mispriced_usage,
    ),
    Invariant(
        "usage_line_details_lead_to_its_amount",
        "The details of a usage line are the sum by which its quantity is priced.",
        misexplained_usage,
    ),
    Invariant(
        "base_fee_line_is_the_fee_of_the_terms",
        "A base fee line is once the fee of its plan version.",
        wrong_base_fees,
    ),
    Invariant(
        "adjustment_is_what_its_counts_cost_less_what_was_billed",
        "An adjustment is the price of the counts it names minus what it says was billed before.",
        wrong_adjustments,
    ),
    Invariant(
        "invoiced_period_is_billed_as_counted_today",
        "All usage billed for an invoiced period is what its conversations cost, unless a late change is waiting.",
        wrongly_billed_periods,
    ),
)
