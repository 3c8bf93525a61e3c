"""Does every amount follow from the terms? Priced anew by the one price path that billing itself uses."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import msgspec

from billing.books.agreed import TermsOfPhase, schedules_by_page, terms_of_phases
from billing.books.invariant import Invariant, Row, paged
from billing.given_up import still_to_bill
from billing.late import standing_cycles, touched
from billing.models import BillingSchedule, Invoice
from billing.owing import counted_for, owed_for
from billing.records import Records
from metering.models import LateChange
from plans.money import format_price, smallest_charge, take_share, to_minor
from plans.periods import BillingPeriod, period_of
from plans.price_steps import Own
from plans.pricing import PricedTier, price_free, price_tier
from plans.terms import PEAK, POOL, Terms, meters

LINES = """
SELECT invoice.number, invoice.currency, line.position, line.tier, line.quantity, line.unit_amount, line.amount,
    line.details::text, line.phase_id, line.period_start, line.period_end
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind = %(kind)s AND line.phase_id IS NOT NULL
"""
WITHOUT_PHASE = """
SELECT invoice.number, line.position, line.kind, line.description
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind IN ('base_fee', 'usage') AND line.phase_id IS NULL
"""
ADJUSTMENTS = """
SELECT invoice.number, line.position, line.amount, invoice.currency,
    (line.details ->> 'owed')::numeric AS owed, (line.details ->> 'billed')::numeric AS billed
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind = 'adjustment'
"""
EXPLAINED_APART = ("explanation", "taken")
"""Of credits: which conversations took them."""


def mispriced_usage(now: dt.datetime) -> Iterator[Row]:
    """Usage lines whose amount is not what their quantity costs; a line rounds together with those before it."""
    terms_of = terms_of_phases()
    for line in paged(LINES, kind="usage"):
        priced = _priced(line, terms_of)
        exact = to_minor(priced.amount, line["currency"]) if priced else None
        if exact is None or abs(line["amount"] - exact) > smallest_charge(line["currency"]) * bool(_cut(line)):
            del line["details"]
            yield {**line, "priced_anew": exact}


def misexplained_usage(now: dt.datetime) -> Iterator[Row]:
    """Usage lines whose details are not the sum that leads to their price."""
    terms_of = terms_of_phases()
    for line in paged(LINES, kind="usage"):
        priced = _priced(line, terms_of)
        expected = priced.details(line["currency"], line["amount"]) if priced else None
        if expected is None or _sum_of(expected) != _sum_of(msgspec.json.decode(line["details"])):
            yield {**line, "expected_details": expected}


def _cut(line: Row) -> bool:
    """Whether the line is for a part of a period, after other usage in it."""
    return "rounded" in line["details"] or "before" in line["details"]


def _sum_of(details: dict[str, Any]) -> dict[str, Any]:
    apart = EXPLAINED_APART if details.get("tier") == POOL else ()
    return {name: value for name, value in details.items() if name not in apart}


def _priced(line: Row, terms_of: TermsOfPhase) -> PricedTier | None:
    """From what the details say was left for the part; None where the terms cannot price such a line at all."""
    details, terms = msgspec.json.decode(line["details"]), terms_of(line["phase_id"])
    meter = details.get("tier", "")
    rate = meters(terms).get(meter)
    if (
        rate is None
        or line["quantity"] <= 0
        or _tier(meter) != line["tier"]
        or _unit(terms, details) != line["unit_amount"]
    ):
        return None
    if details.get("free"):
        return price_free(meter, line["quantity"])
    return price_tier(
        meter,
        rate,
        line["quantity"],
        allowance=details["allowance"],
        rolled_over=details.get("rolled_over", 0),
        before=details.get("before", 0),
        own=Own(*details["own"]) if "own" in details else None,
        committed=details.get("committed", 0),
    )


def _tier(meter: str) -> str:
    return "" if meter == POOL else meter.removesuffix(PEAK)


def _unit(terms: Terms, details: dict[str, Any]) -> object:
    price = meters(terms)[details["tier"]].price
    return getattr(price, "unit", None) if not details.get("committed") else None


def lines_of_no_phase(now: dt.datetime) -> Iterator[Row]:
    """Lines that do not say under which agreement they are due."""
    yield from paged(WITHOUT_PHASE)


def wrong_base_fees(now: dt.datetime) -> Iterator[Row]:
    """Base fee lines that are more than the fee of the terms, or a whole one that is less."""
    terms_of = terms_of_phases()
    for kind in ("base_fee", "proration"):
        for line in paged(LINES, kind=kind):
            fee = terms_of(line["phase_id"]).base_fee
            most = to_minor(fee, line["currency"])
            whole = line["unit_amount"] is not None
            if abs(line["amount"]) > most or (whole and (line["unit_amount"], line["amount"]) != (fee, most)):
                yield {**line, "fee_of_the_terms": most}


def misexplained_fees(now: dt.datetime) -> Iterator[Row]:
    """Lines of a part of a base fee for no time at all, or whose share of the fee in the terms is another amount."""
    terms_of = terms_of_phases()
    for kind in ("base_fee", "proration"):
        for line in paged(LINES, kind=kind):
            details, fee = msgspec.json.decode(line["details"]), terms_of(line["phase_id"]).base_fee
            written = details.get("base_fee", format_price(fee, line["currency"]))
            expected = abs(line["amount"])
            if "share" in details:
                expected = to_minor(take_share(fee, Fraction(details["share"])), line["currency"])
            # An amount rounds together with those of the parts before it.
            off = abs(abs(line["amount"]) - expected) > smallest_charge(line["currency"])
            if off or written != format_price(fee, line["currency"]) or line["period_start"] >= line["period_end"]:
                yield {**line, "fee_of_the_terms": fee, "share_of_it": expected}


def wrong_adjustments(now: dt.datetime) -> Iterator[Row]:
    """Adjustments whose amount is not the difference they name."""
    for line in paged(ADJUSTMENTS):
        if line["owed"] is None or to_minor(line["owed"] - line["billed"], line["currency"]) != line["amount"]:
            yield line


def wrongly_billed_periods(now: dt.datetime) -> Iterator[Row]:
    """Invoiced periods whose lines, adjustments included, are not what today's counts cost."""
    for page in schedules_by_page():
        periods = list(_settled_periods(page))
        records = Records()
        records.read_ahead(
            [(schedule.pk, period.index) for schedule, period in periods],
            [span for schedule, period in periods for span in counted_for(schedule.subscription, period)],
        )
        for schedule, period in periods:
            owed = owed_for(schedule.subscription, period, records=records)
            billed = records.standing_lines(schedule.subscription, period.index)
            if still_to_bill(owed.total, billed):
                yield {
                    "customer": schedule.subscription.customer.key,
                    "period_start": period.start,
                    "counts": owed.counts,
                    "billed": sum(line.amount for line in billed),
                    "owed": owed.total,
                }


def _settled_periods(page: list[BillingSchedule]) -> Iterator[tuple[BillingSchedule, BillingPeriod]]:
    """The invoiced periods of these subscriptions, but for those that a late change touches which is not billed yet.

    What stood on an invoice that is void by now was given up, and is not claimed again.
    """
    subscriptions = {schedule.pk: schedule.subscription for schedule in page}
    customers = [subscription.customer_id for subscription in subscriptions.values()]
    late: dict[object, list[dt.date]] = defaultdict(list)
    for customer_id, day in LateChange.objects.filter(customer__in=customers).values_list("customer_id", "day"):
        late[customer_id].append(day)
    cycles: dict[object, list[Invoice]] = defaultdict(list)
    for cycle in standing_cycles().filter(subscription__in=subscriptions).order_by("period_start"):
        assert cycle.subscription_id is not None
        cycle.subscription = subscriptions[cycle.subscription_id]
        cycles[cycle.subscription_id].append(cycle)
    for schedule in page:
        waiting = touched(cycles[schedule.pk], late[schedule.subscription.customer_id])
        for cycle in cycles[schedule.pk]:
            assert cycle.period_index is not None
            period = period_of(schedule.subscription, cycle.period_index)
            if cycle not in waiting and period is not None and cycle.period_index < schedule.next_period:
                yield schedule, period


PRICES = (
    Invariant(
        "usage_line_reprices_to_its_amount",
        "A usage line costs what its quantity costs by the terms of its phase.",
        mispriced_usage,
    ),
    Invariant(
        "usage_line_details_lead_to_its_amount",
        "The details of a usage line are the sum by which its quantity is priced.",
        misexplained_usage,
    ),
    Invariant(
        "line_of_an_agreement_names_its_phase",
        "A base fee or usage line says under which agreement it is due.",
        lines_of_no_phase,
    ),
    Invariant(
        "base_fee_line_is_the_fee_of_the_terms",
        "A base fee line is the fee of its phase, or less for a part of the period.",
        wrong_base_fees,
    ),
    Invariant(
        "base_fee_line_details_lead_to_its_amount",
        "A line of a part of a base fee says which part of which fee it is.",
        misexplained_fees,
    ),
    Invariant(
        "adjustment_is_what_is_owed_less_what_was_billed",
        "An adjustment is what it says the period comes to, minus what it says was billed before.",
        wrong_adjustments,
    ),
    Invariant(
        "invoiced_period_is_billed_as_counted_today",
        "All that was billed for an invoiced period is what it comes to, unless a late change is waiting.",
        wrongly_billed_periods,
    ),
)
