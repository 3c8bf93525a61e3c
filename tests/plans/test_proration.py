"""Shares of a period are exact, whatever the cut; what accrues in its parts adds up to the whole."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.calendar import Period
from plans.money import to_minor
from plans.proration import PartOutsidePeriod, accrued, prorate, share_of

MICROSECOND = dt.timedelta(microseconds=1)
CURRENCIES = ("USD", "JPY", "KWD", "ISK")


def whole_of(seconds: int) -> Period:
    start = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    return Period(0, start, start + dt.timedelta(seconds=seconds))


@st.composite
def cut_periods(draw: st.DrawFn) -> tuple[Period, list[dt.datetime]]:
    whole = whole_of(draw(st.integers(1, 366 * 86400)))
    length = (whole.end - whole.start) // MICROSECOND
    cuts = sorted(draw(st.lists(st.integers(0, length), min_size=3, max_size=3)))
    return whole, [whole.start + cut * MICROSECOND for cut in cuts]


amounts = st.decimals(-(10**15), 10**15, places=12)


@given(amounts, cut_periods())
def test_shares_of_a_period_add_up_and_never_exceed_it(amount: Decimal, cut: tuple[Period, list[dt.datetime]]) -> None:
    """H07: exactly as fractions; as decimals to far beyond what any rounding can see."""
    whole, (first, second, third) = cut
    parts = Period(0, first, second), Period(0, second, third), Period(0, first, third)
    shares = [share_of(part, whole) for part in parts]
    assert shares[0] + shares[1] == shares[2] <= 1
    decimals = [Fraction(prorate(amount, part, whole)) for part in parts]
    assert abs(decimals[0] + decimals[1] - decimals[2]) < Fraction(1, 10**40)
    assert all(abs(decimal) <= abs(Fraction(amount)) for decimal in decimals)
    assert prorate(amount, whole, whole) == amount
    assert prorate(amount, Period(0, first, first), whole) == 0


@given(amounts, cut_periods())
def test_a_share_rounds_as_the_exact_fraction_does(amount: Decimal, cut: tuple[Period, list[dt.datetime]]) -> None:
    whole, (first, second, _) = cut
    part = Period(0, first, second)
    exact = Fraction(amount) * share_of(part, whole) * 100
    nearest = (abs(exact) + Fraction(1, 2)).__floor__()
    assert to_minor(prorate(amount, part, whole), "USD") == (nearest if exact >= 0 else -nearest)


def test_a_half_cent_share_is_exactly_a_half_cent() -> None:
    whole = whole_of(30 * 86400)
    fifth = Period(0, whole.start + dt.timedelta(7), whole.start + dt.timedelta(13))
    assert prorate(Decimal("0.025"), fifth, whole) == Decimal("0.005")
    assert prorate(Decimal("1e60"), fifth, whole) == Decimal("2e59")


def test_the_denominator_is_the_whole_period_wherever_the_part_begins() -> None:
    whole = whole_of(30 * 86400)
    for day in range(30):
        part = Period(0, whole.start + dt.timedelta(day), whole.start + dt.timedelta(day + 1))
        assert share_of(part, whole) == Fraction(1, 30)


def test_a_part_outside_the_period_is_refused() -> None:
    whole, moment = whole_of(60), dt.timedelta(seconds=1)
    for start, end in [
        (whole.start - moment, whole.end),
        (whole.start, whole.end + moment),
        (whole.end, whole.start),
    ]:
        with pytest.raises(PartOutsidePeriod):
            prorate(Decimal(1), Period(0, start, end), whole)
    with pytest.raises(PartOutsidePeriod):
        share_of(Period(0, whole.start, whole.start), Period(0, whole.start, whole.start))


@given(amounts, st.sampled_from(CURRENCIES), cut_periods())
def test_what_accrues_in_the_parts_adds_up_to_the_whole(
    amount: Decimal, currency: str, cut: tuple[Period, list[dt.datetime]]
) -> None:
    whole, cuts = cut
    parts = [Period(0, start, end) for start, end in pairwise([whole.start, *cuts, whole.end])]
    assert sum(accrued(amount, currency, part, whole) for part in parts) == to_minor(amount, currency)
    assert accrued(amount, currency, whole, whole) == to_minor(amount, currency)


@given(amounts, cut_periods())
def test_what_accrues_in_a_part_is_its_share_but_for_less_than_one_unit(
    amount: Decimal, cut: tuple[Period, list[dt.datetime]]
) -> None:
    whole, (first, second, _) = cut
    part = Period(0, first, second)
    exact = Fraction(amount) * share_of(part, whole) * 100
    assert abs(accrued(amount, "USD", part, whole) - exact) <= 1
    assert accrued(-amount, "USD", part, whole) == -accrued(amount, "USD", part, whole)
    assert accrued(amount, "USD", Period(0, whole.start, second), whole) == to_minor(
        prorate(amount, Period(0, whole.start, second), whole), "USD"
    )


def test_a_cent_accrues_once_however_many_the_days() -> None:
    whole = whole_of(30 * 86400)
    days = [Period(0, whole.start + dt.timedelta(day), whole.start + dt.timedelta(day + 1)) for day in range(30)]
    assert [accrued(Decimal("0.01"), "USD", day, whole) for day in days] == [0] * 14 + [1] + [0] * 15
    assert sum(accrued(Decimal("100.00"), "USD", day, whole) for day in days) == 10_000
    assert [accrued(Decimal("0.10"), "JPY", day, whole) for day in days] == [0] * 30
