"""Discounts take what they say off a period, divided to the cent, and never more than there is."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from plans.period_bill import PeriodDiscount, Segment, bill_period
from tests.plans.a_june import GROWTH, JUNE, MIDDLE, agreed, fixed, flat, halves, june, percent, the, whole


def test_line_discounts_come_first_and_each_takes_from_what_is_left() -> None:
    counts = {"simple": 1500, "standard": 300}
    discounts = [percent("10"), fixed(500, "usage", tiers=("simple",)), percent("50", "base_fee")]
    bill = bill_period(whole(GROWTH, counts), JUNE, discounts=discounts)
    assert [charge.explanation for charge in bill.charges[3:]] == [
        "Welcome: 5.00 off 10.00 = -5.00 USD",
        "Loyal: 50% off 49.00 = -24.50 USD",
        "Loyal: 10% off 34.50 = -3.45 USD",
    ]
    assert [charge.discount for charge in bill.charges[3:]] == ["usage500", "base_fee50", "all10"]
    assert bill.charges[5].details["allocation"] == [
        {"kind": "base_fee", "segment": 0, "meter": "", "amount": "-2.45"},
        {"kind": "usage", "segment": 0, "meter": "simple", "amount": "-0.50"},
        {"kind": "usage", "segment": 0, "meter": "standard", "amount": "-0.50"},
    ]


@pytest.mark.parametrize(
    ("counts", "amount", "parts"),
    [
        ((3, 12), 750, ["-1.50", "-6.00"]),
        ((10, 10), 2500, ["-10.00", "-10.00"]),
        ((1, 2), 100, ["-0.33", "-0.67"]),
    ],
)
def test_a_fixed_discount_is_divided_by_the_largest_remainder_and_takes_no_more_than_there_is(
    counts: tuple[int, int], amount: int, parts: list[str]
) -> None:
    """Polar's cases."""
    terms = agreed(rates={"complex": flat("1.00"), "simple": flat("1.00")})
    bill = bill_period(
        whole(terms, dict(zip(("complex", "simple"), counts, strict=True))), JUNE, discounts=[fixed(amount)]
    )
    assert [part["amount"] for part in the("discount", bill).details["allocation"]] == parts
    assert bill.total == max(0, sum(counts) * 100 - amount)


def test_which_meter_loses_the_odd_cent_does_not_depend_on_where_the_period_is_cut() -> None:
    terms = agreed(rates={"simple": flat("1.01"), "complex": flat("1.01")})
    discounts = [fixed(1, "usage"), percent("50", "usage", tiers=("simple",))]
    used = [{"terms": terms, "counts": {tier: 1}} for tier in ("complex", "simple")]
    cut = bill_period(halves(*used), JUNE, discounts=discounts)
    uncut = bill_period(whole(terms, {"simple": 1, "complex": 1}), JUNE, discounts=discounts)
    assert cut.total == uncut.total == 150


def test_which_segment_loses_the_odd_cent_does_not_depend_on_where_it_is_cut() -> None:
    """Two of three cents off: one of them off the two of the first half, which then lacks one to its minimum."""
    first = agreed(rates={"simple": flat("0.01")}, minimum="0.04")
    second = Segment(start=MIDDLE, end=JUNE.end, terms=replace(first, minimum=None), counts={"simple": 1})
    once = [Segment(start=JUNE.start, end=MIDDLE, terms=first, counts={"simple": 2})]
    twice = [
        Segment(start=start, end=end, terms=first, counts={"simple": 1})
        for start, end in ((JUNE.start, june(5)), (june(5), MIDDLE))
    ]
    bills = [bill_period([*parts, second], JUNE, discounts=[fixed(2)]) for parts in (once, twice)]
    assert [the("minimum", bill).amount for bill in bills] == [1, 1]


def test_a_discount_is_what_can_be_paid_in_the_currency() -> None:
    terms = agreed("999", "ISK", rates={"simple": flat("10")})
    bill = bill_period(whole(terms, {"simple": 3}), JUNE, discounts=[percent("3.33"), fixed(150)])
    assert [charge.amount for charge in bill.charges] == [99900, 3000, -3400, -100]
    assert [part["amount"] for part in bill.charges[2].details["allocation"]] == ["-33.00", "-1.00"]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"percent": Decimal(1), "amount": 1}, {"percent": Decimal(101)}, {"amount": -1}]
    + [{"amount": 1, "on": "base_fee", "tiers": ("simple",)}],
)
def test_a_discount_that_means_nothing_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the discount 'X'"):
        PeriodDiscount(id="x", name="X", **wrong)
