"""Amounts are rounded once, half away from zero, to what can be charged; of any size, and never through a float."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans import money
from plans.money import (
    UnknownCurrency,
    chargeable_digits,
    format_amount,
    format_price,
    minor_digits,
    round_half_away,
    smallest_charge,
    take_share,
    to_major,
    to_minor,
)

CURRENCIES = sorted(money._DIGITS)
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**30), max_value=10**30)


@pytest.mark.parametrize(
    ("amount", "digits", "rounded"),
    [
        ("10.275", 2, "10.28"),
        ("10.265", 2, "10.27"),
        ("-10.275", 2, "-10.28"),
        ("0.125", 2, "0.13"),
        ("0.124999999999", 2, "0.12"),
        ("0.5", 0, "1"),
        ("-0.5", 0, "-1"),
        ("-0.004", 2, "0.00"),
        ("1234567890123456789012345678901234567890.005", 2, "1234567890123456789012345678901234567890.01"),
    ],
)
def test_a_half_goes_away_from_zero(amount: str, digits: int, rounded: str) -> None:
    assert str(round_half_away(Decimal(amount), digits)) == rounded


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_amount_is_not_rounded(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        round_half_away(Decimal(amount), 2)


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("MGA", 0), ("KWD", 3), ("UGX", 2), ("ISK", 2), ("HUF", 2), ("TWD", 2)],
)
def test_minor_units_are_those_of_stripe(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


def test_the_table_names_every_currency_once() -> None:
    zero, three = money._ZERO_DECIMAL.split(), money._THREE_DECIMAL_CHARGED_BY_TEN.split()
    listed = [*zero, *money._HUNDREDTHS_CHARGED_WHOLE.split(), *money._TWO_DECIMAL.split(), *three]
    assert len(listed) == len(set(listed)) == len(CURRENCIES) > 135
    assert (len(zero), len(three)) == (15, 5)


@pytest.mark.parametrize("currency", ["usd", "US", "USDT", "", "XXX", "XAU", "U\u0405D", " USD"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    for ask in (minor_digits, chargeable_digits):
        with pytest.raises(UnknownCurrency, match="upper-case ISO 4217"):
            ask(currency)


def test_minor_units_can_be_charged_by_stripe() -> None:
    assert to_minor(Decimal("12.505"), "USD") == 1251
    assert to_minor(Decimal("1250.5"), "JPY") == 1251
    assert to_minor(Decimal("5.124"), "KWD") == 5120
    assert to_minor(Decimal("10.5"), "ISK") == to_minor(Decimal("10.5"), "UGX") == 1100


def test_amounts_are_written_with_the_decimals_of_the_currency() -> None:
    assert format_amount(1250, "USD") == "12.50"
    assert format_amount(-5, "USD") == "-0.05"
    assert format_amount(1250, "JPY") == "1250"
    assert format_amount(5120, "KWD") == "5.120"
    assert format_amount(0, "USD") == "0.00"
    assert format_amount(10**40, "USD") == "1" + "0" * 38 + ".00"


@pytest.mark.parametrize(
    ("price", "currency", "written"),
    [("5", "USD", "5.00"), ("0.0200", "USD", "0.02"), ("0.0125", "USD", "0.0125"), ("1E+3", "JPY", "1000")],
)
def test_prices_are_written_as_fine_as_they_are(price: str, currency: str, written: str) -> None:
    assert format_price(Decimal(price), currency) == written


@given(amounts, st.sampled_from(CURRENCIES))
def test_rounding_is_off_by_at_most_half_of_what_can_be_charged(amount: Decimal, currency: str) -> None:
    error = Fraction(to_major(to_minor(amount, currency), currency)) - Fraction(amount)
    half = Fraction(1, 2 * 10 ** chargeable_digits(currency))
    assert abs(error) <= half
    if abs(error) == half:
        assert (error > 0) == (amount > 0)


@given(st.lists(amounts, min_size=1, max_size=20), st.integers(0, 20))
def test_the_rounding_of_an_invoice_is_bounded_by_its_lines(lines: list[Decimal], cut: int) -> None:
    """H06: k lines are off by at most k halves in all, and splitting the invoice in two changes no line."""
    errors = [Fraction(to_minor(line, "USD")) - Fraction(line) * 100 for line in lines]
    assert abs(sum(errors)) <= Fraction(len(lines), 2)
    split = [sum(to_minor(line, "USD") for line in part) for part in (lines[:cut], lines[cut:])]
    assert sum(split) == sum(to_minor(line, "USD") for line in lines)


@given(st.integers(-(10**40), 10**40), st.sampled_from(CURRENCIES))
def test_minor_units_survive_major_units_and_writing(whole: int, currency: str) -> None:
    minor = whole * 10 ** (minor_digits(currency) - chargeable_digits(currency))
    assert to_minor(to_major(minor, currency), currency) == minor
    assert to_minor(Decimal(format_amount(minor, currency)), currency) == minor


@given(amounts)
def test_the_callers_decimal_context_does_not_matter(amount: Decimal) -> None:
    with localcontext(prec=3):
        assert to_minor(amount, "USD") == _half_away(Fraction(amount) * 100)


def _half_away(exact: Fraction) -> int:
    nearest = (abs(exact) + Fraction(1, 2)).__floor__()
    return nearest if exact >= 0 else -nearest


@pytest.mark.parametrize(("currency", "smallest"), [("USD", 1), ("JPY", 1), ("KWD", 10), ("ISK", 100), ("UGX", 100)])
def test_the_smallest_amount_that_can_be_paid(currency: str, smallest: int) -> None:
    assert smallest_charge(currency) == smallest


@given(amounts, st.fractions(0, 1, max_denominator=366 * 86_400 * 10**6))
def test_a_share_of_an_amount_rounds_as_the_exact_one_does(amount: Decimal, share: Fraction) -> None:
    exact = abs(Fraction(amount)) * share * 100
    assert abs(to_minor(take_share(amount, share), "USD")) == (exact + Fraction(1, 2)).__floor__()
