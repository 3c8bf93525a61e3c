"""A period is billed in one order, by time and to the cent: fees first, and then usage with its commitments."""

import datetime as dt
from decimal import Decimal

import pytest
from msgspec.structs import replace

from plans.period_bill import InvalidSegments, Segment, bill_period
from plans.pricing import UnpricedTier
from plans.proration import PartOutsidePeriod
from tests.plans.a_june import (
    GROWTH,
    JUNE,
    MIDDLE,
    SCALE,
    agreed,
    fixed,
    flat,
    halves,
    june,
    lines,
    percent,
    the,
    whole,
)


def test_a_whole_period_is_its_fee_and_its_usage() -> None:
    bill = bill_period(whole(GROWTH, {"simple": 1200, "standard": 300}), JUNE)
    assert [charge.explanation for charge in bill.charges] == [
        "base fee 49.00 USD",
        "1,200 simple conversations: 1,000 included, 200 x 0.02 = 4.00 USD",
        "300 standard conversations: 200 included, 100 x 0.05 = 5.00 USD",
    ]
    assert [charge.unit_amount for charge in bill.charges] == [Decimal("49.00"), Decimal("0.02"), Decimal("0.05")]
    assert [charge.quantity for charge in bill.charges] == [1, 1200, 300]
    assert bill.total == 5800


def test_nothing_to_pay_is_no_charge_but_every_meter_is_shown() -> None:
    bill = bill_period(whole(agreed(rates={"simple": flat("0.02")})), JUNE)
    assert bill.charges == ()
    assert [(line.tier, line.quantity) for line in bill.usage[0]] == [("simple", 0)]


def test_the_view_in_advance_has_the_fees_and_the_discounts_on_them() -> None:
    terms = agreed("49.00", rates={"simple": flat("0.02")}, minimum="100.00")
    discounts = [percent("50", "usage"), percent("10", "base_fee"), fixed(1000)]
    bill = bill_period(whole(terms, {"simple": 9}), JUNE, discounts=discounts, complete=False)
    assert [charge.amount for charge in bill.charges] == [4900, -490, -1000]
    assert (bill.usage, bill.rolled) == ((), {})


def test_an_upgrade_shares_fees_and_allowance_and_what_was_used_stays_used() -> None:
    counts = {"simple": 2900}
    bill = bill_period(halves({"terms": GROWTH, "counts": counts}, {"terms": SCALE, "counts": counts}), JUNE)
    assert [charge.explanation for charge in bill.charges] == [
        "base fee 49.00 x 1,296,000 of 2,592,000 seconds = 24.50 USD",
        "base fee 199.00 x 1,296,000 of 2,592,000 seconds = 99.50 USD",
        "2,900 simple conversations: 2,900 included = 0.00 USD",
        "2,900 simple conversations: 100 included, 2,800 x 0.01 = 28.00 USD",
    ]


def test_an_allowance_is_rounded_up_once_for_a_meter_and_period() -> None:
    terms = agreed(rates={"simple": flat("1", 7)})
    segments = halves({"terms": terms, "counts": {"simple": 4}}, {"terms": terms, "paused": True})
    assert bill_period(segments, JUNE).total == 0
    assert (
        bill_period([*segments[:1], Segment(start=MIDDLE, end=JUNE.end, terms=terms)], JUNE).usage[1][0].allowance == 3
    )


def test_later_usage_is_priced_at_its_position_in_the_period() -> None:
    steps = [{"up_to": 10, "unit": "1", "flat": "5"}, {"unit": "0.5"}]
    terms = agreed(rates={"simple": {"price": {"model": "graduated", "steps": steps}}})
    used = {"terms": terms, "counts": {"simple": 8}}
    bill = bill_period(halves(used, used), JUNE)
    assert [charge.explanation for charge in bill.charges] == [
        "8 simple conversations: 8 x 1.00 + 5.00 flat = 13.00 USD",
        "8 simple conversations: after 8 earlier in the period, 2 x 1.00 + 6 x 0.50 = 5.00 USD",
    ]


def test_a_volume_price_takes_back_only_what_it_has_charged_itself() -> None:
    """Otherwise 99 units at 0.50 and a change of plan would earn money."""
    cheap = agreed(rates={"simple": flat("0.50")})
    steps = [{"up_to": 99, "unit": "2.00"}, {"unit": "1.00"}]
    volume = agreed(rates={"simple": {"price": {"model": "volume", "steps": steps}}})
    bill = bill_period(
        halves({"terms": cheap, "counts": {"simple": 99}}, {"terms": volume, "counts": {"simple": 2}}), JUNE
    )
    assert [charge.amount for charge in bill.charges] == [4950, 200]
    thirds = [
        Segment(start=JUNE.start, end=june(11), terms=volume, counts={"simple": 90}),
        Segment(start=june(11), end=june(21), terms=cheap, counts={"simple": 9}),
        Segment(start=june(21), end=JUNE.end, terms=volume, counts={"simple": 2}),
    ]
    *_, last = bill_period(thirds, JUNE).charges
    assert last.explanation == (
        "2 simple conversations: after 99 earlier in the period, 2 x 1.00 + 90 x 1.00 - 90 x 2.00 = -88.00 USD"
    )


def test_a_pause_has_no_fee_and_no_allowance_but_its_usage_is_priced() -> None:
    active = {"terms": GROWTH, "counts": {"simple": 400}}
    bill = bill_period(halves(active, {**active, "paused": True}), JUNE)
    assert lines(bill) == [("base_fee", 0, "", 2450), ("usage", 0, "simple", 0), ("usage", 1, "simple", 600)]
    assert bill.usage[1][0].included == 100


def test_a_billed_trial_waives_the_fee_only() -> None:
    trial = {"terms": GROWTH, "counts": {"simple": 1100}, "trial": True}
    bill = bill_period(halves(trial, {"terms": GROWTH}), JUNE)
    assert lines(bill) == [("base_fee", 1, "", 2450), ("usage", 0, "simple", 200)]


def test_a_free_trial_costs_nothing_and_brings_and_uses_no_allowance() -> None:
    terms = agreed("49.00", rates={"simple": flat("0.02", 1000)}, trial_days=14, trial_usage="free")
    trial = {"terms": terms, "counts": {"simple": 700}, "trial": True}
    bill = bill_period(halves(trial, {"terms": terms, "counts": {"simple": 600}}), JUNE)
    assert [charge.explanation for charge in bill.charges[1:]] == [
        "700 simple conversations: free in the trial = 0.00 USD",
        "600 simple conversations: 500 included, 100 x 0.02 = 2.00 USD",
    ]


def test_conversations_at_peak_hours_are_a_meter_of_their_own() -> None:
    hours = [{"days": ["mon"], "from": "08:00", "to": "20:00"}]
    terms = agreed(rates={"simple": flat("0.02", 10, peak=flat("0.03", 5))}, peak_hours=hours)
    bill = bill_period(whole(terms, {"simple": 20, "simple@peak": 20}), JUNE)
    assert lines(bill) == [("usage", 0, "simple", 20), ("usage", 0, "simple@peak", 45)]


def test_a_pool_is_one_allowance_that_tiers_take_their_weight_of() -> None:
    pool = {"credits": 100, "weights": {"simple": 1, "complex": 5}, "overage": {"model": "flat", "unit": "0.10"}}
    bill = bill_period(whole(agreed(pool=pool), {"simple": 40, "complex": 20}), JUNE)
    assert lines(bill) == [("usage", 0, "pool", 400)]
    assert bill.charges[0].explanation == (
        "40 simple x 1 + 20 complex x 5 = 140 credits; 140 credits: 100 included, 40 x 0.10 = 4.00 USD"
    )
    assert bill.charges[0].details["taken"]["complex"] == {"quantity": 20, "weight": 5}


COMMITTED = agreed(rates={"simple": flat("0.05", 10, committed={"quantity": 100, "unit": "0.03"})})


@pytest.mark.parametrize(("quantity", "usage", "true_up"), [(0, 0, 300), (10, 0, 300), (50, 120, 180), (120, 350, 0)])
def test_what_was_committed_to_is_due_whether_used_or_not(quantity: int, usage: int, true_up: int) -> None:
    bill = bill_period(whole(COMMITTED, {"simple": quantity}), JUNE)
    expected = [("usage", 0, "simple", usage)] if quantity else []
    assert lines(bill) == expected + ([("minimum", 0, "simple", true_up)] if true_up else [])


def test_a_true_up_is_explained_and_discounts_reach_it() -> None:
    bill = bill_period(whole(COMMITTED, {"simple": 50}), JUNE, discounts=[percent("50", "usage", tiers=("simple",))])
    true_up = the("minimum", bill)
    assert (true_up.quantity, true_up.unit_amount) == (60, Decimal("0.03"))
    assert true_up.explanation == "committed to 100 simple conversations, 40 used: 60 x 0.03 = 1.80 USD"
    assert the("discount", bill).amount == -150


def test_a_commitment_shrinks_with_a_pause_and_is_one_over_its_segments() -> None:
    segments = halves({"terms": COMMITTED, "counts": {"simple": 20}}, {"terms": COMMITTED, "counts": {"simple": 5}})
    assert lines(bill_period(segments, JUNE))[-1] == ("minimum", 1, "simple", 255)
    paused = [segments[0], Segment(start=MIDDLE, end=JUNE.end, terms=COMMITTED, paused=True)]
    assert lines(bill_period(paused, JUNE)) == [("usage", 0, "simple", 45), ("minimum", 0, "simple", 105)]
    used = [segments[0], replace(paused[1], counts={"simple": 40})]
    assert lines(bill_period(used, JUNE)) == [("usage", 0, "simple", 45), ("usage", 1, "simple", 130)]


def test_a_true_up_belongs_where_the_commitment_accrued_so_it_counts_towards_the_minimum_there() -> None:
    terms = replace(COMMITTED, minimum=Decimal("2.00"))
    bill = bill_period(halves({"terms": terms}, {"terms": terms, "paused": True}), JUNE)
    assert lines(bill) == [("minimum", 0, "simple", 150)]
    there_and_back = [*whole(terms), Segment(start=JUNE.end, end=JUNE.end, terms=replace(terms, maximum=Decimal(2)))]
    assert bill_period(there_and_back, JUNE).total == 300


def test_nobody_is_committed_to_more_than_the_part_of_a_unit_that_accrued() -> None:
    trial = Segment(start=JUNE.start, end=june(11), terms=COMMITTED, trial=True)
    bill = bill_period([trial, Segment(start=june(11), end=JUNE.end, terms=COMMITTED)], JUNE)
    assert (the("minimum", bill).quantity, the("minimum", bill).amount) == (66, 198)


def test_a_commitment_that_was_left_for_other_terms_is_trued_up_where_it_ended() -> None:
    bill = bill_period(halves({"terms": COMMITTED}, {"terms": SCALE, "counts": {"simple": 2600}}), JUNE)
    assert [line for line in lines(bill) if line[0] != "base_fee"] == [
        ("minimum", 0, "simple", 150),
        ("usage", 1, "simple", 95),
    ]


def test_no_segments_are_no_bill() -> None:
    assert bill_period([], JUNE).charges == ()


def test_segments_that_cannot_be_one_period_are_refused() -> None:
    first, second = halves({"terms": GROWTH}, {"terms": agreed("49.00", "EUR", rates={"simple": flat("1")})})
    with pytest.raises(InvalidSegments, match="EUR and USD"):
        bill_period([first, second], JUNE)
    with pytest.raises(InvalidSegments, match="order"):
        bill_period([first, first], JUNE)
    with pytest.raises(PartOutsidePeriod):
        bill_period([Segment(start=june(1), end=JUNE.end + dt.timedelta(seconds=1), terms=GROWTH)], JUNE)


def test_conversations_without_a_price_stop_the_bill_in_any_segment() -> None:
    for state in ({}, {"paused": True}, {"trial": True}):
        with pytest.raises(UnpricedTier, match="gold"):
            bill_period(halves({"terms": GROWTH}, {"terms": GROWTH, "counts": {"gold": 1}, **state}), JUNE)
