"""Graduated, volume and package prices, and rounding, as others have them."""

from decimal import Decimal
from typing import Any

from plans.money import format_amount, to_minor
from plans.terms import Flat, Package, Price
from tests.cases.bills import agreed, amount_of, bill, graduated, priced, volume
from tests.cases.collection import Case, field_cases


@field_cases("graduated")
def test_a_graduated_price(case: Case) -> None:
    check(graduated(case["inputs"]), case)


@field_cases("volume")
def test_a_volume_price(case: Case) -> None:
    check(volume(case["inputs"]), case)


@field_cases("package", "quantity")
def test_a_package_price(case: Case) -> None:
    check(package(case["inputs"]), case, included=int(case["inputs"].get("free_units", 0)))


@field_cases("package", "quantity_before")
def test_a_part_of_a_period_pays_for_the_packages_that_it_begins(case: Case) -> None:
    terms = agreed(package(case["inputs"]))
    before = int(case["inputs"]["quantity_before"])
    until_now = before + int(case["inputs"]["quantity_in_line"])
    assert amount_of(bill(terms, until_now)) - amount_of(bill(terms, before)) == Decimal(case["expected"]["amount"])


@field_cases("rounding", "amount", "mode")
def test_an_amount_is_rounded_half_away_from_zero(case: Case) -> None:
    assert rounded(case["inputs"]["amount"], case) == case["expected"]["rounded"]


@field_cases("rounding", "half_up")
def test_of_two_ways_to_round_a_half_ours_is_up(case: Case) -> None:
    assert rounded(case["inputs"]["amount"], case) == case["expected"]["half_up"]


@field_cases("rounding", "lines")
def test_each_line_is_rounded_and_then_they_are_added(case: Case) -> None:
    currency, lines = case["inputs"]["currency"], case["inputs"]["lines"]
    found = bill(agreed(*priced(*lines), currency=currency), *[1] * len(lines))
    assert format_amount(found.total, currency) == case["expected"]["subtotal"]


@field_cases("rounding", "unit_price")
def test_a_price_is_never_a_float(case: Case) -> None:
    inputs = case["inputs"]
    found = bill(agreed(Flat(unit=Decimal(inputs["unit_price"]))), int(inputs["quantity"]))
    assert amount_of(found) == Decimal(case["expected"]["amount"])


def check(price: Price, case: Case, *, included: int = 0) -> None:
    """The amount, exact and on the bill, and each step's part of it where the case has them."""
    terms = agreed(price, currency=case["inputs"]["currency"], included=included)
    found = bill(terms, int(case["inputs"]["quantity"]))
    (usage,) = found.usage[0]
    assert usage.amount == amount_of(found) == Decimal(case["expected"]["amount"])
    if "lines" in case["expected"]:
        assert [step.amount for step in usage.steps] == [Decimal(amount) for _, amount in case["expected"]["lines"]]


def package(inputs: dict[str, Any]) -> Package:
    return Package(size=int(inputs["package_size"]), amount=Decimal(inputs["package_price"]))


def rounded(amount: str, case: Case) -> str:
    currency: str = case["inputs"]["currency"]
    return format_amount(to_minor(Decimal(amount), currency), currency)
