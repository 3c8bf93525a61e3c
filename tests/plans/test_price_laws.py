"""The laws that every price and every bill obeys, against an oracle that prices one unit after the other."""

import datetime as dt
import math
from collections import defaultdict
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from plans.money import EXACT, to_minor
from plans.period_bill import Layer, PeriodBill, PeriodDiscount, Segment, bill_period
from plans.pricing import price_tier
from plans.terms import (
    Committed,
    Flat,
    Graduated,
    Package,
    Price,
    Rate,
    Rollover,
    Step,
    Terms,
    TierRate,
    Volume,
    meters,
)
from tests.plans.any_terms import (
    HOURS,
    JUNE,
    TIERS,
    any_price,
    counts,
    cuts,
    discounts,
    limited_terms,
    one_agreement,
    paths,
    rising,
    rolled_over,
    rollovers,
    steps,
    terms,
    units,
)


def oracle(price: Price, count: int) -> Fraction:
    """The definition: what `count` overage units cost, counted out one by one."""
    number = range(1, count + 1)
    match price:
        case Flat(unit=unit):
            return sum((Fraction(unit) for _ in number), Fraction(0))
        case Package(size=size, amount=amount):
            return sum((Fraction(amount) for unit in number if unit % size == 1 % size), Fraction(0))
        case Volume(steps=steps):
            held = [step for step in steps if step.up_to is None or step.up_to >= count][0]
            return Fraction(held.unit) * count + Fraction(held.flat) if count else Fraction(0)
        case Graduated(steps=steps):
            lowest = [0, *(step.up_to or 0 for step in steps[:-1])]
            cost = sum(
                (Fraction(step.flat) for step, low in zip(steps, lowest, strict=True) if low < count), Fraction(0)
            )
            for unit in number:
                cost += Fraction([step for step, low in zip(steps, lowest, strict=True) if low < unit][-1].unit)
            return cost


def cost(price: Price, count: int, before: int = 0) -> Fraction:
    return Fraction(price_tier("simple", Rate(price=price), count, before=before).amount)


def bounds(steps: tuple[Step, ...]) -> list[int]:
    return [step.up_to for step in steps if step.up_to is not None]


@given(any_price, units, units)
def test_a_part_costs_what_it_adds_to_the_units_before_it(price: Price, before: int, count: int) -> None:
    assert cost(price, count) == oracle(price, count)
    wanted = oracle(price, before + count) - oracle(price, before) if count else 0
    assert cost(price, count, before) == wanted


@given(steps(flat=False))
def test_graduated_is_continuous_at_every_bound_and_never_falls(drawn: tuple[Step, ...]) -> None:
    """H03: unit B costs what the lower step says, unit B + 1 what the next one says."""
    costs = [cost(Graduated(steps=drawn), count) for count in range(60)]
    assert all(fewer <= more for fewer, more in pairwise(costs))
    for (lower, upper), bound in zip(pairwise(drawn), bounds(drawn), strict=True):
        assert costs[bound] - costs[bound - 1] == Fraction(lower.unit)
        assert costs[bound + 1] - costs[bound] == Fraction(upper.unit)


@given(steps())
def test_volume_jumps_at_bounds_only_and_is_never_negative(drawn: tuple[Step, ...]) -> None:
    """H04."""
    costs = [cost(Volume(steps=drawn), count) for count in range(60)]
    for count, (fewer, more) in enumerate(pairwise(costs)):
        assert more >= 0
        if count and count not in bounds(drawn):
            assert more - fewer == next(Fraction(s.unit) for s in drawn if s.up_to is None or s.up_to > count)


def uncut(segments: list[Segment]) -> list[Segment]:
    """Neighbours with the same terms made one."""
    together: list[Segment] = []
    for segment in segments:
        if together and together[-1].terms == segment.terms:
            last = together.pop()
            counted = {tier: last.counts.get(tier, 0) + segment.counts.get(tier, 0) for tier in TIERS}
            segment = replace(last, end=segment.end, counts=counted)
        together.append(segment)
    return together


def sums(bill: PeriodBill) -> dict[tuple[str, str, str], int]:
    """What each kind of charge comes to for each meter and discount, in minor units."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for charge in bill.charges:
        found[charge.kind, charge.meter, charge.explanation[0] if charge.kind == "discount" else ""] += charge.amount
    return {key: amount for key, amount in found.items() if amount}


def free_units(bill: PeriodBill) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for segment in bill.usage:
        for line in segment:
            found[line.tier] += line.included
    return found


@given(limited_terms(), counts)
def test_a_whole_period_costs_what_the_oracle_says(agreed: Terms, counted: dict[str, int]) -> None:
    bill = sums(bill_period([Segment(start=JUNE.start, end=JUNE.end, terms=agreed, counts=counted)], JUNE))
    wanted = {"base_fee": Fraction(agreed.base_fee)}
    for tier, rate in agreed.rates.items():
        over = max(0, counted.get(tier, 0) - rate.included)
        due = rate.committed or Committed(quantity=0, unit=Decimal(0))
        wanted[tier] = Fraction(due.unit) * due.quantity + oracle(rate.price, max(0, over - due.quantity))
    owed = 0
    for name, exact in wanted.items():
        charged = sum(amount for (kind, meter, _), amount in bill.items() if name in (kind, meter))
        assert charged == math.floor(exact * 100 + Fraction(1, 2))
        owed += charged
    least = owed if agreed.minimum is None else int(agreed.minimum * 100)
    most = max(owed, least) if agreed.maximum is None else int(agreed.maximum * 100)
    assert sum(bill.values()) == min(max(owed, least), most)


@given(one_agreement(), discounts)
def test_a_bill_lies_between_its_minimum_and_its_maximum(segments: list[Segment], taken: list[PeriodDiscount]) -> None:
    """H05: the true-up is what is lacking, the cap what is too much, and never both."""
    bill, agreed = bill_period(segments, JUNE, discounts=taken), segments[0].terms
    limits = {
        charge.kind: charge.amount
        for charge in bill.charges
        if charge.kind in ("minimum", "maximum") and not charge.meter
    }
    owed = bill.total - sum(limits.values())
    assert owed >= 0
    lacking = 0 if agreed.minimum is None else max(0, int(agreed.minimum * 100) - owed)
    excess = 0 if agreed.maximum is None else max(0, owed - int(agreed.maximum * 100))
    assert limits == {k: v for k, v in {"minimum": lacking, "maximum": -excess}.items() if v}
    assert len(limits) <= 1


@given(paths(), discounts)
def test_a_bill_is_the_sum_of_rounded_lines_that_miss_the_exact_sum_by_half_a_cent_each(
    segments: list[Segment], taken: list[PeriodDiscount]
) -> None:
    """H06: the usage of a meter is rounded as one, in however many lines it stands."""
    bill = bill_period(segments, JUNE, discounts=taken)
    assert bill.total == sum(charge.amount for charge in bill.charges)
    for meter in TIERS:
        exact = sum((line.amount for of_segment in bill.usage for line in of_segment if line.tier == meter), Decimal(0))
        true_ups = [charge for charge in bill.charges if (charge.kind, charge.meter) == ("minimum", meter)]
        exact += sum((true_up.quantity * (true_up.unit_amount or 0) for true_up in true_ups), Decimal(0))
        lines = [charge.amount for charge in bill.charges if charge.meter == meter]
        assert sum(lines) == to_minor(exact, "USD")
        assert abs(sum(lines) - Fraction(exact) * 100) <= Fraction(1, 2)


@given(terms(), cuts(), st.integers(0, 4))
def test_fees_of_parts_add_up_to_the_fee_of_the_whole(agreed: Terms, points: list[dt.datetime], skipped: int) -> None:
    """H07: f(s,e) + f(e,t) = f(s,t) and 0 <= f <= full, over the whole period wherever the first part begins."""

    def fee(start: dt.datetime, end: dt.datetime) -> int:
        return bill_period([Segment(start=start, end=end, terms=agreed)], JUNE, complete=False).total

    points = points[min(skipped, len(points) - 2) :]
    parts = [fee(start, end) for start, end in pairwise(points)]
    full = to_minor(agreed.base_fee, "USD")
    assert sum(parts) == fee(points[0], points[-1])
    assert all(0 <= part <= full for part in parts) and fee(JUNE.start, JUNE.end) == full
    segments = [Segment(start=start, end=end, terms=agreed) for start, end in pairwise(points)]
    assert bill_period(segments, JUNE, complete=False).total == sum(parts)
    share = Fraction((points[1] - points[0]) // dt.timedelta(microseconds=1), HOURS * 3600 * 10**6)
    assert abs(parts[0] - Fraction(agreed.base_fee) * 100 * share) <= 1


def check_that_cuts_change_nothing(
    segments: list[Segment], taken: list[PeriodDiscount], rolled: dict[str, tuple[Layer, ...]]
) -> None:
    cut = bill_period(segments, JUNE, discounts=taken, rolled=rolled)
    together = bill_period(uncut(segments), JUNE, discounts=taken, rolled=rolled)
    assert sums(cut) == sums(together)
    assert (free_units(cut), cut.rolled) == (free_units(together), together.rolled)


@given(one_agreement(), discounts, rolled_over, rollovers)
def test_cutting_a_period_without_a_change_changes_nothing(
    segments: list[Segment],
    taken: list[PeriodDiscount],
    rolled: dict[str, tuple[Layer, ...]],
    rollover: Rollover | None,
) -> None:
    """H08: no total, no allowance, nothing carried."""
    rolling = replace(segments[0].terms, rollover=rollover)
    check_that_cuts_change_nothing([replace(segment, terms=rolling) for segment in segments], taken, rolled)


@given(paths(), discounts, rolled_over)
def test_nor_does_cutting_a_segment_between_changes(
    segments: list[Segment], taken: list[PeriodDiscount], rolled: dict[str, tuple[Layer, ...]]
) -> None:
    check_that_cuts_change_nothing(segments, taken, rolled)


@given(paths(), limited_terms(), discounts, st.integers(0, 4))
def test_an_upgrade_and_downgrade_at_one_instant_net_to_nothing(
    segments: list[Segment], other: Terms, taken: list[PeriodDiscount], place: int
) -> None:
    """H08."""
    at = segments[min(place, len(segments) - 1)].end
    earlier = [segment for segment in segments if segment.end <= at]
    there_and_back = [*earlier, Segment(start=at, end=at, terms=other), *segments[len(earlier) :]]
    if earlier == segments:
        there_and_back.append(Segment(start=at, end=at, terms=segments[-1].terms))
    back, stayed = bill_period(there_and_back, JUNE, discounts=taken), bill_period(segments, JUNE, discounts=taken)
    assert (back.total, free_units(back)) == (stayed.total, free_units(stayed))


@given(paths())
def test_no_path_of_changes_grants_more_than_the_largest_allowance(segments: list[Segment]) -> None:
    """H08."""
    found = free_units(bill_period(segments, JUNE))
    for tier in TIERS:
        assert found[tier] <= max(segment.terms.rates[tier].included for segment in segments)
        if len({segment.terms.rates[tier].included for segment in segments}) == 1:
            used = sum(segment.counts.get(tier, 0) for segment in segments)
            assert found[tier] == min(used, segments[0].terms.rates[tier].included)


@given(one_agreement(limited_terms(rising)), st.integers(0, 4), st.sampled_from(TIERS), discounts)
def test_a_further_conversation_never_lowers_what_is_owed(
    segments: list[Segment], place: int, tier: str, taken: list[PeriodDiscount]
) -> None:
    """H24, for flat, graduated and package prices."""
    place %= len(segments)
    more = dict(segments[place].counts)
    more[tier] = more.get(tier, 0) + 1
    busier = [*segments[:place], replace(segments[place], counts=more), *segments[place + 1 :]]
    before, after = bill_period(segments, JUNE, discounts=taken), bill_period(busier, JUNE, discounts=taken)
    assert after.total >= before.total
    assert usage_of(after) >= usage_of(before)


def usage_of(bill: PeriodBill) -> Decimal:
    """The exact sum of usage, in major units."""
    with localcontext(EXACT):
        return sum((line.amount for of_segment in bill.usage for line in of_segment), Decimal(0))


def doubled(price: Price) -> Price:
    match price:
        case Flat(unit=unit):
            return Flat(unit=unit * 2)
        case Package(size=size, amount=amount):
            return Package(size=size, amount=amount * 2)
        case _:
            return replace(price, steps=tuple(replace(s, unit=s.unit * 2, flat=s.flat * 2) for s in price.steps))


@given(paths())
def test_doubled_prices_double_the_exact_usage(segments: list[Segment]) -> None:
    def twice(rate: TierRate) -> TierRate:
        due = rate.committed and replace(rate.committed, unit=rate.committed.unit * 2)
        return replace(rate, price=doubled(rate.price), committed=due)

    dearer = [
        replace(s, terms=replace(s.terms, rates={tier: twice(rate) for tier, rate in s.terms.rates.items()}))
        for s in segments
    ]
    assert usage_of(bill_period(dearer, JUNE)) == 2 * usage_of(bill_period(segments, JUNE))


@given(one_agreement(), discounts.filter(bool), st.integers(0, 3))
def test_without_a_discount_the_bill_is_never_lower(
    segments: list[Segment], taken: list[PeriodDiscount], place: int
) -> None:
    place %= len(taken)
    fewer = bill_period(segments, JUNE, discounts=[*taken[:place], *taken[place + 1 :]])
    assert fewer.total >= bill_period(segments, JUNE, discounts=taken).total


@given(paths(), discounts)
def test_a_discount_is_divided_without_a_remainder(segments: list[Segment], taken: list[PeriodDiscount]) -> None:
    for charge in bill_period(segments, JUNE, discounts=taken).charges:
        if charge.kind == "discount":
            parts = [Decimal(part["amount"]) for part in charge.details["allocation"]]
            assert sum(parts) * 100 == charge.amount < 0


@given(paths(), rolled_over, rollovers)
def test_what_is_carried_was_granted_and_not_used(
    segments: list[Segment], rolled: dict[str, tuple[Layer, ...]], rollover: Rollover | None
) -> None:
    last = segments[-1]
    segments = [*segments[:-1], replace(last, terms=replace(last.terms, rollover=rollover))]
    bill = bill_period(segments, JUNE, rolled=rolled)
    assert rollover is not None or not bill.rolled
    first = {line.tier: line.allowance for line in bill.usage[0]}
    for meter, layers in bill.rolled.items():
        carried = sum(layer.quantity for layer in layers)
        assert 0 < carried <= first[meter] - free_units(bill)[meter]
        assert rollover and carried <= (rollover.maximum or carried)
        assert meter in meters(last.terms) and all(layer.periods_left >= 1 for layer in layers)
