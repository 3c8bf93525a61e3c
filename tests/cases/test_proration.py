"""Parts of a period, changes of a plan within it and what is given back, as others have them."""

import datetime as dt
from decimal import Decimal

import pytest

from billing.credit_notes import InvalidCredit, credit_note
from billing.models import Invoice
from plans.calendar import Anchor, Period, period
from plans.money import round_half_away, to_major
from plans.period_bill import Segment, bill_period
from plans.proration import share_of
from plans.taxing import Tax, refund_tax, tax_on
from plans.terms import Flat, Pool
from tests.billing.purse import billed_once
from tests.cases.bills import MONTH, agreed, amount_of, fee
from tests.cases.collection import Case, field_cases, instant
from tests.cast import NOON

DAY = dt.timedelta(days=1)


@field_cases("proration", "factor")
def test_a_share_is_the_time_over_the_whole_month(case: Case) -> None:
    inputs = case["inputs"]
    part = Period(0, instant(inputs["from_"]), instant(inputs["to"]))
    share = share_of(part, period(Anchor(part.start, "UTC"), inputs["interval"], 0))
    assert round_half_away(Decimal(share.numerator) / share.denominator, 9) == Decimal(case["expected"]["factor"])


@field_cases("proration", "old", "credit", "period", without="interval_change")
def test_a_change_gives_the_rest_of_the_old_fee_back_and_charges_the_rest_of_the_new_one(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    credit, charge = changed(period_of(case), instant(inputs["change_at"]), inputs["old"], inputs["new"])
    assert (credit, charge) == (Decimal(expected["credit"]), Decimal(expected["charge"]))


@field_cases("proration", "new", "charge", without="old")
def test_a_plan_that_begins_within_the_period_costs_the_rest_of_its_fee(case: Case) -> None:
    inputs = case["inputs"]
    _, charge = changed(period_of(case), instant(inputs["change_at"]), "0", inputs["new"])
    assert charge == Decimal(case["expected"]["charge"])


@field_cases("proration", "next_invoice")
def test_the_next_invoice_has_the_change_and_the_new_fee(case: Case) -> None:
    inputs = case["inputs"]
    assert inputs["fraction_remaining"] == "0.75"
    change_at = MONTH.start + (MONTH.end - MONTH.start) / 4
    credit, charge = changed(MONTH, change_at, inputs["old"], inputs["new"])
    assert charge - credit + Decimal(inputs["renewal"]) == Decimal(case["expected"]["next_invoice"])


@field_cases("proration", "interval_change")
def test_a_change_of_interval_cuts_the_period_short_and_begins_a_whole_one(case: Case) -> None:
    inputs, expected, change_at = case["inputs"], case["expected"], instant(case["inputs"]["change_at"])
    assert Decimal(inputs["old"]) - fee_until(change_at, period_of(case), inputs["old"]) == Decimal(expected["credit"])
    year = period(Anchor(change_at, "UTC"), "year", 0)
    assert fee_until(year.end, year, inputs["new"]) == Decimal(expected["charge"])


@field_cases("proration", "unit_price")
def test_more_seats_cost_the_rest_of_the_period(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    old, new = (str(Decimal(inputs["unit_price"]) * inputs[name]) for name in ("quantity_old", "quantity_new"))
    credit, charge = changed(period_of(case), instant(inputs["change_at"]), old, new)
    assert (charge - credit, expected["direction"]) == (Decimal(expected["amount"]), "debit")


@field_cases("proration", "credits")
def test_an_allowance_accrues_by_time(case: Case) -> None:
    inputs, whole = case["inputs"], period_of(case)
    pool = Pool(credits=int(inputs["credits"]), weights={"0": 1}, overage=Flat(unit=Decimal(1)))
    part = Segment(start=instant(inputs["change_at"]), end=whole.end, terms=agreed(pool=pool), counts={"0": 1})
    assert bill_period([part], whole).usage[0][0].allowance == Decimal(case["expected"]["credits"])


@field_cases("proration", "price_paid")
def test_what_is_given_back_for_the_rest_of_a_period_is_taxed_as_it_was(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    whole = Period(0, MONTH.start, MONTH.start + inputs["period_days"] * DAY)
    used = fee_until(whole.end - inputs["days_unused"] * DAY, whole, inputs["price_paid"])
    paid, kept = int(Decimal(inputs["price_paid"]) * 100), int(used * 100)
    tax = tax_on(Tax("VAT", Decimal(inputs["tax_pct"])), paid, "EUR")
    returned = refund_tax(total_tax=tax, total_net=paid, refunded_net=paid - kept, currency="EUR")
    assert to_major(paid - kept, "EUR") == Decimal(expected["credit_excl_tax"])
    assert to_major(returned, "EUR") == Decimal(expected["credit_tax"])


@pytest.mark.django_db
@field_cases("proration", "potential_credit")
def test_no_more_is_credited_than_was_paid_and_nothing_negative(case: Case) -> None:
    paid, already, wanted = (
        int(case["inputs"][name]) for name in ("amount_paid", "already_credited", "potential_credit")
    )
    invoice = billed_once(paid)
    assert credited(invoice, already) == already
    assert credited(invoice, wanted) == int(case["expected"]["credit"])


def changed(whole: Period, change_at: dt.datetime, old: str, new: str) -> tuple[Decimal, Decimal]:
    """What is given back of the old fee, which was billed in advance, and charged of the new one; major units."""
    before = Segment(start=whole.start, end=change_at, terms=fee(old))
    after = Segment(start=change_at, end=whole.end, terms=fee(new))
    charges = bill_period([before, after], whole).charges
    kept, charged = (sum(each.amount for each in charges if each.segment == index) for index in (0, 1))
    return Decimal(old) - to_major(kept, "USD"), to_major(charged, "USD")


def fee_until(end: dt.datetime, whole: Period, amount: str) -> Decimal:
    """What a base fee comes to from the start of a period to this end, in major units."""
    return amount_of(bill_period([Segment(start=whole.start, end=end, terms=fee(amount))], whole))


def period_of(case: Case) -> Period:
    start, end = case["inputs"]["period"]
    return Period(0, instant(start), instant(end))


def credited(invoice: Invoice, amount: int) -> int:
    """How much a credit note gives back; nothing where it is refused."""
    try:
        return credit_note(invoice, reason="unused", amount=amount, now=NOON).net
    except InvalidCredit:
        return 0
