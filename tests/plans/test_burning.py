"""Grants are used up in one order, each as far as it goes, and never make an invoice negative."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from plans.burning import Draw, Purse, burn_order, draw
from plans.taxing import Tax, gross_of

BORN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
Gross = Callable[[int], int]


def taxed(percent: str, *, inclusive: bool = False, currency: str = "USD") -> Gross:
    return lambda amount: gross_of(Tax("VAT", Decimal(percent), inclusive), amount, currency)


untaxed = taxed("0")


def a_purse(
    number: int, balance: int, *, priority: int = 1, days: int | None = None, age: int = 0, promotional: bool = False
) -> Purse:
    """A purse that expires after so many days; the greater `age` is, the older it is."""
    return Purse(
        id=uuid.UUID(int=number),
        balance=balance,
        priority=priority,
        expires_at=None if days is None else BORN + dt.timedelta(days),
        promotional=promotional,
        created_at=BORN - dt.timedelta(age),
    )


paid = a_purse
promotional = partial(a_purse, promotional=True)


def amounts(draws: list[Draw]) -> dict[int, int]:
    return {purse.id.int: amount for purse, amount in draws}


def test_purses_burn_by_priority_then_expiry_then_promotional_then_age_then_id() -> None:
    in_order = [
        paid(9, 1, priority=0),
        paid(8, 1, days=1),
        promotional(7, 1, days=2),
        paid(6, 1, days=2, age=5),
        paid(4, 1, days=2, age=2),
        paid(5, 1, days=2, age=2),
        promotional(3, 1),
        paid(2, 1, age=9),
        promotional(1, 1, priority=2, days=1),
    ]
    assert burn_order(in_order[::-1]) == burn_order(in_order) == in_order


def test_a_promotional_grant_lowers_the_tax_and_a_paid_one_does_not() -> None:
    assert amounts(draw([promotional(1, 4_000)], 10_000, taxed("20"))) == {1: 4_000}
    assert amounts(draw([promotional(1, 4_000), paid(2, 99_999)], 10_000, taxed("20"))) == {1: 4_000, 2: 7_200}
    assert amounts(draw([promotional(1, 99_999)], 10_000, taxed("20"))) == {1: 10_000}
    assert amounts(draw([paid(2, 99_999)], 10_000, taxed("20"))) == {2: 12_000}
    assert amounts(draw([paid(2, 99_999)], 10_000, taxed("20", inclusive=True))) == {2: 10_000}


def test_a_promotional_grant_after_a_paid_one_takes_off_only_what_is_still_due() -> None:
    """80.00 of 120.00 are paid: the subtotal may fall from 100.00 to 66.67, not further."""
    purses = [paid(1, 8_000, priority=0), promotional(2, 9_000)]
    assert amounts(draw(purses, 10_000, taxed("20"))) == {1: 8_000, 2: 3_333}


def test_a_cent_that_no_subtotal_gives_back_is_left_to_the_next_paid_grant() -> None:
    """At 20 % 0.03 come to 0.04 and 0.02 to 0.02: with 0.03 paid, promotional credit cannot take the last cent."""
    purses = [paid(1, 3, priority=0), promotional(2, 10)]
    assert amounts(draw(purses, 5, taxed("20"))) == {1: 3, 2: 2}
    assert amounts(draw([*purses, paid(3, 10, priority=2)], 5, taxed("20"))) == {1: 3, 2: 2, 3: 1}


def test_nothing_due_draws_nothing() -> None:
    purses = [paid(1, 100), promotional(2, 100)]
    assert draw(purses, 0, untaxed) == draw(purses, -500, taxed("20")) == draw([], 500, untaxed) == []
    assert draw([paid(1, 0), paid(2, -5), promotional(3, -5)], 500, untaxed) == []


def test_only_amounts_that_can_be_paid_are_drawn() -> None:
    krona = taxed("0", currency="ISK")
    assert amounts(draw([paid(1, 250), promotional(2, 250), paid(3, 1_000)], 1_000, krona, unit=100)) == {
        1: 200,
        2: 200,
        3: 600,
    }


purses = st.builds(
    a_purse,
    st.integers(0, 10**6),
    st.integers(0, 2_000),
    priority=st.integers(0, 2),
    days=st.none() | st.integers(1, 3),
    age=st.integers(0, 3),
    promotional=st.booleans(),
)
wallets = st.lists(purses, max_size=7, unique_by=lambda purse: purse.id)
percents = st.sampled_from(["0", "0.5", "7", "19", "20", "33.3333", "100"])
grosses = st.builds(taxed, percents, inclusive=st.booleans())
subtotals = st.integers(-50, 6_000) | st.integers(0, 12)


def due_after(draws: list[Draw], subtotal: int, gross: Gross) -> int:
    off = sum(amount for purse, amount in draws if purse.promotional)
    return gross(subtotal - off) - sum(amount for purse, amount in draws if not purse.promotional)


def one_more(draws: list[Draw], purse: Purse) -> list[Draw]:
    return [*draws, Draw(purse, 1)]


@given(wallets, subtotals, grosses)
def test_no_purse_is_overdrawn_and_nothing_due_turns_negative(wallet: list[Purse], subtotal: int, gross: Gross) -> None:
    draws = draw(wallet, subtotal, gross)
    assert all(0 < amount <= purse.balance for purse, amount in draws)
    assert len({purse.id for purse, _ in draws}) == len(draws)
    assert due_after(draws, subtotal, gross) >= min(0, gross(subtotal))
    assert sum(amount for purse, amount in draws if purse.promotional) <= max(subtotal, 0)


@given(wallets, subtotals, grosses)
def test_purses_give_until_nothing_is_due_or_none_can_give_more(
    wallet: list[Purse], subtotal: int, gross: Gross
) -> None:
    draws = draw(wallet, subtotal, gross)
    if due_after(draws, subtotal, gross) > 0:
        given = {purse.id: amount for purse, amount in draws}
        for purse in wallet:
            assert given.get(purse.id, 0) == purse.balance or due_after(one_more(draws, purse), subtotal, gross) < 0


@given(wallets, subtotals, grosses)
def test_no_purse_is_touched_while_an_earlier_one_could_still_give(
    wallet: list[Purse], subtotal: int, gross: Gross
) -> None:
    draws = draw(wallet, subtotal, gross)
    given = {purse.id: amount for purse, amount in draws}
    order = burn_order(wallet)
    assert [purse for purse, _ in draws] == [purse for purse in order if given.get(purse.id)]
    for number, (touched, _) in enumerate(draws):
        for earlier in order[: order.index(touched)]:
            empty = given.get(earlier.id, 0) == earlier.balance
            assert empty or due_after(one_more(draws[:number], earlier), subtotal, gross) < 0
