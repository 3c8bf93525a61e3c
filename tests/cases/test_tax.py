"""Tax, added and contained, as others have it."""

from decimal import Decimal

from plans.money import to_minor
from plans.sharing import share_out
from plans.taxing import Tax, gross_of, net_of, tax_on
from tests.cases.collection import Case, field_cases


@field_cases("tax", "price")
def test_an_inclusive_tax_is_a_part_of_the_price(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    tax, price = vat(inputs["tax_pct"], inclusive=inputs["behaviour"] == "inclusive"), cents(inputs["price"])
    assert tax_on(tax, price, inputs["currency"]) == cents(expected["tax"])
    assert gross_of(tax, price, inputs["currency"]) == cents(expected["total"])


@field_cases("tax", "gross")
def test_a_price_without_its_inclusive_tax(case: Case) -> None:
    """The percentage is in the case's name."""
    tax = vat(case["id"].rsplit("-", 1)[1], inclusive=case["inputs"]["behaviour"] == "inclusive")
    assert tax_on(tax, cents(case["inputs"]["gross"]), "EUR") == cents(case["inputs"]["tax"])
    assert net_of(tax, cents(case["inputs"]["gross"]), "EUR") == cents(case["expected"]["net"])


@field_cases("tax", "taxable")
def test_an_exclusive_tax_is_rounded(case: Case) -> None:
    inputs = case["inputs"]
    tax = vat(inputs["tax_pct"], inclusive=inputs["behaviour"] == "inclusive")
    assert tax_on(tax, cents(inputs["taxable"]), inputs["currency"]) == cents(case["expected"]["tax"])


@field_cases("tax", "lines")
def test_the_tax_on_the_sum_divided_over_the_lines_is_what_theirs_are(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    lines = [cents(line) for line in inputs["lines"]]
    tax, subtotal = vat(inputs["tax_pct"]), sum(lines)
    assert share_out(tax_on(tax, subtotal, inputs["currency"]), lines) == [
        cents(each) for each in expected["line_taxes"]
    ]
    assert (subtotal, tax_on(tax, subtotal, "USD")) == (cents(expected["subtotal"]), cents(expected["tax"]))
    assert gross_of(tax, subtotal, inputs["currency"]) == cents(expected["total"])


def vat(percent: str, *, inclusive: bool = False) -> Tax:
    return Tax("VAT", Decimal(percent), inclusive)


def cents(amount: str) -> int:
    return to_minor(Decimal(amount), "USD")
