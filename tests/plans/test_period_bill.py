"""A period is billed in one order, by time and to the cent: fees, usage, discounts, then the minimum or the maximum."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from plans.calendar import Period
from plans.period_bill import Charge, InvalidSegments, Layer, PeriodBill, PeriodDiscount, Segment, bill_period
from plans.pricing import UnpricedTier
from plans.proration import PartOutsidePeriod
from plans.terms import Terms
from plans.terms_reading import parse_terms


def june(day: int) -> dt.datetime:
    return dt.datetime(2026, 6, day, tzinfo=dt.UTC)


JUNE = Period(0, june(1), dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
MIDDLE = june(16)


def flat(unit: str, included: int = 0, **more: Any) -> dict[str, Any]:
    return {"included": included, "price": {"model": "flat", "unit": unit}, **more}


def agreed(base_fee: str = "0.00", currency: str = "USD", **more: Any) -> Terms:
    return parse_terms({"currency": currency, "interval": "month", "base_fee": base_fee, **more})


GROWTH = agreed("49.00", rates={"simple": flat("0.02", 1000), "standard": flat("0.05", 200)})
SCALE = agreed("199.00", rates={"simple": flat("0.01", 5000), "standard": flat("0.04", 1000)})


def whole(terms: Terms, counts: dict[str, int] | None = None, **more: Any) -> list[Segment]:
    return [Segment(start=JUNE.start, end=JUNE.end, terms=terms, counts=counts or {}, **more)]


def halves(first: dict[str, Any], second: dict[str, Any]) -> list[Segment]:
    return [Segment(start=JUNE.start, end=MIDDLE, **first), Segment(start=MIDDLE, end=JUNE.end, **second)]


def lines(bill: PeriodBill) -> list[tuple[str, int | None, str, int]]:
    return [(charge.kind, charge.segment, charge.meter, charge.amount) for charge in bill.charges]


def the(kind: str, bill: PeriodBill) -> Charge:
    (charge,) = [charge for charge in bill.charges if charge.kind == kind]
    return charge


def percent(number: str, on: Any = "all", **more: Any) -> PeriodDiscount:
    return PeriodDiscount(id=f"{on}{number}", name="Loyal", percent=Decimal(number), on=on, **more)


def fixed(amount: int, on: Any = "all", **more: Any) -> PeriodDiscount:
    return PeriodDiscount(id=f"{on}{amount}", name="Welcome", amount=amount, on=on, **more)


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


ROLLING = agreed(rates={"simple": flat("1.00", 100)}, rollover={"periods": 2, "maximum": 150})


def test_unused_allowance_is_used_first_in_the_next_period() -> None:
    first = bill_period(whole(ROLLING, {"simple": 70}), JUNE)
    assert first.rolled == {"simple": (Layer(2, 30),)}
    second = bill_period(whole(ROLLING, {"simple": 110}), JUNE, rolled=first.rolled)
    assert second.charges[0].explanation == "110 simple conversations: 110 included (30 rolled over) = 0.00 USD"
    assert second.charges[0].details["rolled_over"] == 30
    assert second.rolled == {"simple": (Layer(2, 20),)}


@pytest.mark.parametrize(
    ("used", "left"),
    [
        (0, (Layer(1, 50), Layer(2, 100))),
        (45, (Layer(1, 50), Layer(2, 100))),
        (60, (Layer(1, 40), Layer(2, 100))),
        (150, (Layer(2, 50),)),
        (300, ()),
    ],
)
def test_layers_age_lapse_and_are_capped_from_the_oldest(used: int, left: tuple[Layer, ...]) -> None:
    """40 units that lapse now, 60 that are usable once more, 100 fresh ones; no more than 150 are carried."""
    rolled = {"simple": (Layer(1, 40), Layer(2, 60))}
    bill = bill_period(whole(ROLLING, {"simple": used}), JUNE, rolled=rolled)
    assert bill.rolled.get("simple", ()) == left
    assert bill.total == max(0, used - 200) * 100


def test_the_terms_at_the_end_of_the_period_say_whether_anything_is_carried() -> None:
    rolled = {"simple": (Layer(9, 5),), "standard": (Layer(9, 5),)}
    assert bill_period(halves({"terms": ROLLING}, {"terms": GROWTH}), JUNE, rolled=rolled).rolled == {}
    kept = bill_period(halves({"terms": GROWTH}, {"terms": ROLLING}), JUNE, rolled=rolled).rolled
    assert kept == {"simple": (Layer(2, 150),)}


def test_a_pause_ages_what_was_rolled_over() -> None:
    rolled = {"simple": (Layer(1, 5), Layer(2, 6))}
    assert bill_period(whole(ROLLING, paused=True), JUNE, rolled=rolled).rolled == {"simple": (Layer(1, 6),)}


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
