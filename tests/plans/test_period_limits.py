"""A period's bill is lifted to its minimum or brought down to its maximum, which accrue by time."""

import datetime as dt
from typing import Any

import pytest

from plans.calendar import Period
from plans.period_bill import Segment, bill_period
from tests.plans.a_june import (
    JUNE,
    agreed,
    flat,
    halves,
    june,
    lines,
    percent,
    the,
    whole,
)

LIMITED = agreed("10.00", rates={"simple": flat("1.00")}, minimum="50.00", maximum="100.00")


@pytest.mark.parametrize(
    ("quantity", "limit", "total"),
    [(0, ("minimum", 4000), 5000), (39, ("minimum", 100), 5000), (40, None, 5000), (41, None, 5100)]
    + [(90, None, 10000), (91, ("maximum", -100), 10000)],
)
def test_a_bill_is_lifted_to_the_minimum_and_brought_down_to_the_maximum(
    quantity: int, limit: tuple[str, int] | None, total: int
) -> None:
    bill = bill_period(whole(LIMITED, {"simple": quantity}), JUNE)
    last = bill.charges[-1]
    assert ((last.kind, last.amount) if last.segment is None else None) == limit
    assert bill.total == total


def test_limits_look_at_what_discounts_have_left() -> None:
    bill = bill_period(whole(LIMITED, {"simple": 60}), JUNE, discounts=[percent("50")])
    assert the("minimum", bill).explanation == "minimum 50.00 - 35.00 = 15.00 USD"
    capped = bill_period(whole(LIMITED, {"simple": 200}), JUNE, discounts=[percent("50", "usage")])
    assert the("maximum", capped).explanation == "maximum 100.00 - 110.00 = -10.00 USD"


def test_limits_accrue_by_time_and_not_in_a_trial_or_a_pause() -> None:
    """A trial of ten days and a pause of ten: a third of the maximum, and what was used meanwhile is beside it."""
    thirds = [(june(1), june(11)), (june(11), june(21)), (june(21), JUNE.end)]
    states: list[dict[str, Any]] = [{"trial": True}, {}, {"paused": True}]
    segments = [
        Segment(start=start, end=end, terms=LIMITED, counts={"simple": 90}, **state)
        for (start, end), state in zip(thirds, states, strict=True)
    ]
    bill = bill_period(segments, JUNE)
    assert lines(bill)[0] == ("base_fee", 1, "", 334)
    assert the("maximum", bill).explanation == "maximum 33.34 - 93.34 = -60.00 USD"
    assert bill.total == 9000 + 3334 + 9000


@pytest.mark.parametrize("quantity", [0, 60])
def test_a_minimum_that_rounds_above_the_maximum_holds(quantity: int) -> None:
    """Of this part of June 1.00 accrues to 0.50 and 1.01 to 0.49: both round twice, at different instants."""
    terms = agreed(rates={"simple": flat("0.01")}, minimum="1.00", maximum="1.01")
    start, end = (JUNE.start + dt.timedelta(seconds=seconds) for seconds in (38_621, 1_308_960))
    bill = bill_period([Segment(start=start, end=end, terms=terms, counts={"simple": quantity})], JUNE)
    assert bill.total == 50


def test_a_minimum_of_one_half_counts_towards_the_maximum_of_both() -> None:
    capped = agreed(rates={"simple": flat("1.00")}, maximum="100.00")
    both = agreed(rates={"simple": flat("1.00")}, minimum="80.00", maximum="100.00")
    bill = bill_period(halves({"terms": both}, {"terms": capped, "counts": {"simple": 70}}), JUNE)
    assert [charge.amount for charge in bill.charges] == [7000, 4000, -1000]


def test_a_first_partial_month_owes_a_part_of_fee_and_minimum_as_elsewhere() -> None:
    """Lago's case: 2 of 29 days of 100.00 and of 10,000.00, and 30.00 of usage."""
    february = Period(0, dt.datetime(2024, 2, 1, tzinfo=dt.UTC), dt.datetime(2024, 3, 1, tzinfo=dt.UTC))
    terms = agreed("100.00", "EUR", rates={"simple": flat("10.00")}, minimum="10000.00")
    start = dt.datetime(2024, 2, 28, tzinfo=dt.UTC)
    bill = bill_period([Segment(start=start, end=february.end, terms=terms, counts={"simple": 3})], february)
    assert [charge.amount for charge in bill.charges] == [690, 3000, 65276]
    assert bill.total == 68966
