"""Discounts, minimums and maximums, as others have them."""

from decimal import Decimal
from typing import Any

from plans.calendar import Anchor, period_at
from plans.period_bill import PeriodBill, PeriodDiscount, Segment, bill_period
from plans.terms import Flat, Terms
from tests.cases.bills import agreed, amount_of, bill, graduated, priced, volume
from tests.cases.collection import Case, field_cases, instant


@field_cases("discounts")
def test_a_fixed_discount_is_divided_over_the_lines_by_the_largest_remainder(case: Case) -> None:
    amounts = case["inputs"]["line_amounts"]
    welcome = PeriodDiscount(id="1", name="Welcome", amount=int(Decimal(case["inputs"]["fixed_discount"]) * 100))
    found = bill(agreed(*priced(*amounts)), *[1] * len(amounts), discounts=[welcome])
    (discount,) = [charge for charge in found.charges if charge.kind == "discount"]
    allocated = [-Decimal(part["amount"]) for part in discount.details["allocation"]]
    assert allocated == [Decimal(amount) for amount in case["expected"]["allocation"]]


@field_cases("minimum_and_cap", "unit_price", without="quantity_before")
def test_limits_of_a_price_a_unit(case: Case) -> None:
    inputs = case["inputs"]
    split = inputs.get("line") == "mid-period split"
    terms = agreed(Flat(unit=Decimal(inputs["unit_price"])), **limits(inputs))
    check(bill(terms, int(inputs["quantity"]), complete=not split), case)


@field_cases("minimum_and_cap", "tiers", without="quantity_before")
def test_limits_of_a_volume_price(case: Case) -> None:
    assert "tieredvolume" in case["source"]["where"]
    check(bill(agreed(volume(case["inputs"]), **limits(case["inputs"])), int(case["inputs"]["quantity"])), case)


@field_cases("minimum_and_cap", "quantity_before", without="unit_price")
def test_a_maximum_reached_within_the_period_of_a_graduated_price(case: Case) -> None:
    assert "tieredgraduated" in case["source"]["where"]
    check_second_line(agreed(graduated(case["inputs"]), **limits(case["inputs"])), case)


@field_cases("minimum_and_cap", "quantity_before", "unit_price")
def test_a_discount_comes_before_the_maximum(case: Case) -> None:
    half = PeriodDiscount(id="1", name="Half", percent=Decimal(case["inputs"]["percent_discount"]), on="usage")
    terms = agreed(Flat(unit=Decimal(case["inputs"]["unit_price"])), **limits(case["inputs"]))
    check_second_line(terms, case, half)


@field_cases("minimum_and_cap", "base_fee", "minimum", without="start")
def test_the_base_fee_and_the_usage_count_towards_the_minimum(case: Case) -> None:
    inputs = case["inputs"]
    usage = inputs.get("usage_fees", [inputs.get("usage")])
    terms = agreed(*priced(*usage), base_fee=inputs["base_fee"], **limits(inputs))
    check(bill(terms, *[1] * len(usage)), case)


@field_cases("minimum_and_cap", "start")
def test_a_minimum_shrinks_with_the_part_of_the_period_and_the_usage_does_not(case: Case) -> None:
    inputs = case["inputs"]
    start = instant(inputs["start"])
    whole = period_at(Anchor(start.replace(day=1), "UTC"), "month", start)
    terms = agreed(*priced(*inputs["usage_fees"]), base_fee=inputs["base_fee"], **limits(inputs))
    counts = {str(number): 1 for number, _ in enumerate(inputs["usage_fees"])}
    check(bill_period([Segment(start=start, end=whole.end, terms=terms, counts=counts)], whole), case)


@field_cases("minimum_and_cap", "fees")
def test_what_the_fees_lack_to_the_minimum_is_due(case: Case) -> None:
    fees = case["inputs"]["fees"]
    check(bill(agreed(*priced(*fees), **limits(case["inputs"])), *[1] * len(fees)), case)


@field_cases("minimum_and_cap", "included")
def test_what_is_included_is_paid_with_the_base_fee(case: Case) -> None:
    inputs = case["inputs"]
    price = Flat(unit=Decimal(inputs["overage_unit_price"]))
    terms = agreed(price, base_fee=inputs["base_fee"], included=int(inputs["included"]))
    check(bill(terms, int(inputs["quantity"])), case)


def limits(inputs: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(inputs[name]) for name in ("minimum", "maximum") if name in inputs}


def check(found: PeriodBill, case: Case) -> None:
    figures = {
        "total": amount_of(found),
        "true_up": amount_of(found, "minimum"),
        "discount": -amount_of(found, "discount", "maximum"),
    }
    assert {name: figures[name] for name in case["expected"]} == wanted(case)


def check_second_line(terms: Terms, case: Case, *discounts: PeriodDiscount) -> None:
    """What a bill comes to, less what was billed for the period before: the figures of a second line."""
    inputs = case["inputs"]
    earlier = int(inputs["quantity_before"])
    before = bill(terms, earlier, discounts=discounts)
    after = bill(terms, earlier + int(inputs["quantity_in_line"]), discounts=discounts)
    assert amount_of(before) == Decimal(inputs["billed_before"])
    off = amount_of(before, "discount", "maximum") - amount_of(after, "discount", "maximum")
    assert {"total": amount_of(after) - amount_of(before), "discount": off} == wanted(case)


def wanted(case: Case) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in case["expected"].items()}
