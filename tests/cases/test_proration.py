"""Parts of a period, changes of a plan within it and what is given back, as others have them."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from billing.credit_notes import InvalidCredit, credit_note
from plans.calendar import Anchor, Period, period
from plans.money import round_half_away, to_major, to_minor
from plans.period_bill import Segment, bill_period
from plans.proration import Span, share_of
from plans.taxing import Tax, refund_tax, tax_on
from plans.terms import Flat, Pool, Terms
from tests.billing.purse import billed_once
from tests.cases.bills import MONTH, agreed, amount_of, fee
from tests.cases.collection import Case, field_cases, instant
from tests.cast import NOON


@field_cases("proration", "factor")
def test_a_share_is_the_time_over_the_whole_month(case: Case) -> None:
    inputs = case["inputs"]
    part = Period(0, instant(inputs["from_"]), instant(inputs["to"]))
    share = share_of(part, period(Anchor(part.start, "UTC"), inputs["interval"], 0))
    assert round_half_away(Decimal(share.numerator) / share.denominator, 9) == Decimal(case["expected"]["factor"])


@field_cases("proration", "old", "new", "period", without="interval_change")
def test_a_change_of_plan_gives_the_rest_of_one_fee_back_and_charges_the_rest_of_the_other(case: Case) -> None:
    credit, charge = changed(case["inputs"], case["inputs"]["old"], case["inputs"]["new"])
    assert {"credit": credit, "charge": charge} == figures(case)


@field_cases("proration", "fraction_remaining")
def test_the_next_invoice_has_the_change_and_the_new_fee(case: Case) -> None:
    inputs = case["inputs"]
    passed = (MONTH.end - MONTH.start) * (1 - Decimal(inputs["fraction_remaining"]).as_integer_ratio()[0] / 4)
    credit, charge = changed(
        {"period": MONTH, "change_at": MONTH.start + passed}, inputs["old"], inputs["new"]
    )
    assert charge - credit + Decimal(inputs["renewal"]) == Decimal(case["expected"]["next_invoice"])


@field_cases("proration", "interval_change")
def test_a_change_of_interval_cuts_the_period_short_and_begins_a_whole_one(case: Case) -> None:
    """What the old period comes to now, less what was billed for it; and the first year in advance."""


@field_cases("proration", "unit_price")
def test_more_seats_cost_the_rest_of_the_period(case: Case) -> None:
    pass
