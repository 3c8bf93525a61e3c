"""An amount divided by the largest remainder loses nothing, and nobody gets a unit more than is fair."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plans.money import smallest_charge
from plans.sharing import CannotShareOut, share_out

amounts = st.integers(-(10**15), 10**15) | st.integers(-12, 12)
weights = st.lists(st.integers(0, 10**12) | st.integers(0, 3), min_size=1, max_size=12)


def test_a_dollar_over_one_and_two_goes_to_the_largest_remainder() -> None:
    assert share_out(100, [100, 200]) == [33, 67]
    assert share_out(750, [300, 1200]) == [150, 600]


def test_of_equals_the_earlier_gets_the_odd_unit() -> None:
    assert share_out(100, [1, 1, 1]) == [34, 33, 33]
    assert share_out(2, [1, 1, 1]) == [1, 1, 0]
    assert share_out(-2, [1, 1, 1]) == [-1, -1, 0]


def test_a_larger_remainder_goes_before_an_earlier_line() -> None:
    assert share_out(10, [26, 26, 48]) == [3, 2, 5]
    assert share_out(10, [22, 29, 49]) == [2, 3, 5]


def test_what_cannot_be_divided_is_refused() -> None:
    for amount, by in [(1, []), (1, [0, 0]), (-1, [0]), (5, [1, -1]), (0, [2, -1])]:
        with pytest.raises(CannotShareOut):
            share_out(amount, by)
    assert share_out(0, []) == []
    assert share_out(0, [0, 0]) == [0, 0]


def test_parts_of_a_krona_are_not_shared_out() -> None:
    assert share_out(500, [1, 1, 1], unit=smallest_charge("ISK")) == [200, 200, 100]
    assert share_out(500, [1, 1, 1], unit=smallest_charge("USD")) == [167, 167, 166]
    with pytest.raises(CannotShareOut):
        share_out(550, [1, 1], unit=smallest_charge("ISK"))


@given(amounts, weights, st.sampled_from([1, 10, 100]))
def test_larger_units_are_shared_out_like_units(amount: int, by: list[int], unit: int) -> None:
    assume(sum(by))
    assert share_out(amount * unit, by, unit=unit) == [part * unit for part in share_out(amount, by)]


@given(amounts, weights)
def test_parts_add_up_and_miss_the_exact_share_by_less_than_one(amount: int, by: list[int]) -> None:
    assume(sum(by))
    parts = share_out(amount, by)
    assert sum(parts) == amount and len(parts) == len(by)
    for part, weight in zip(parts, by, strict=True):
        exact = Fraction(amount * weight, sum(by))
        assert abs(part - exact) < 1
        assert part * amount >= 0
        assert weight or part == 0


@given(amounts, weights)
def test_the_odd_units_go_to_the_largest_remainders_and_of_equals_to_the_earliest(amount: int, by: list[int]) -> None:
    assume(sum(by))
    parts = share_out(abs(amount), by)
    lost = [(abs(amount) * weight) % sum(by) for weight in by]
    got_one = [part - abs(amount) * weight // sum(by) for part, weight in zip(parts, by, strict=True)]
    assert set(got_one) <= {0, 1}
    ranked = sorted(range(len(by)), key=lambda index: (-lost[index], index))
    assert [got_one[index] for index in ranked] == sorted(got_one, reverse=True)


@given(amounts, weights)
def test_signs_only_turn_the_parts_round(amount: int, by: list[int]) -> None:
    assume(sum(by))
    assert share_out(-amount, by) == [-part for part in share_out(amount, by)]
    assert share_out(amount, [-weight for weight in by]) == share_out(amount, by)


@given(weights)
def test_a_line_is_never_shared_more_than_it_is_when_the_amount_is_no_more_than_all(by: list[int]) -> None:
    """A discount no greater than the lines never makes one negative."""
    for amount in {sum(by), sum(by) // 2, max(sum(by) - 1, 0)}:
        assert all(part <= weight for part, weight in zip(share_out(amount, by), by, strict=True))
