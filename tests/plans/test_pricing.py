"""Included quantity first, then the tier's price; exact, explained, and never free by mistake."""

from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.money import to_minor
from plans.pricing import PricedTier, UnpricedTier, metered, price_free, price_tier
from plans.terms import Committed, Flat, Graduated, Package, Price, Step, Terms, TierRate, Volume, meters
from plans.terms_reading import parse_terms


def step(up_to: int | None, unit: str, flat: str = "0") -> Step:
    return Step(up_to=up_to, unit=Decimal(unit), flat=Decimal(flat))


STEPS = (step(5, "0", "1"), step(10, "1", "2"), step(None, "2"))


def priced(price: Price, quantity: int, included: int = 0) -> PricedTier:
    return price_tier("simple", TierRate(included=included, price=price), quantity)


def price_usage(terms: Terms, counts: dict[str, int]) -> list[PricedTier]:
    """Every meter of the terms, for a whole period by itself."""
    found = metered(terms, counts)
    return [price_tier(meter, rate, found[meter]) for meter, rate in meters(terms).items()]


@pytest.mark.parametrize(
    ("price", "quantity", "included", "sentence"),
    [
        (
            Flat(unit=Decimal("0.02")),
            1200,
            1000,
            "1,200 simple conversations: 1,000 included, 200 x 0.02 = 4.00 USD",
        ),
        (Flat(unit=Decimal("0.02")), 1000, 1000, "1,000 simple conversations: 1,000 included = 0.00 USD"),
        (Flat(unit=Decimal("0.02")), 1, 0, "1 simple conversation: 1 x 0.02 = 0.02 USD"),
        (Flat(unit=Decimal("0.02")), 0, 1000, "0 simple conversations = 0.00 USD"),
        (Flat(unit=Decimal("0.0125")), 3, 0, "3 simple conversations: 3 x 0.0125 = 0.0375, rounded to 0.04 USD"),
        (
            Graduated(steps=STEPS),
            12,
            0,
            "12 simple conversations: 5 x 0.00 + 1.00 flat + 5 x 1.00 + 2.00 flat + 2 x 2.00 = 12.00 USD",
        ),
        (Volume(steps=STEPS), 10, 1, "10 simple conversations: 1 included, 9 x 1.00 + 2.00 flat = 11.00 USD"),
        (
            Package(size=10, amount=Decimal(5)),
            26,
            5,
            "26 simple conversations: 5 included, 3 packages of 10 x 5.00 = 15.00 USD",
        ),
        (Package(size=10, amount=Decimal(5)), 10, 0, "10 simple conversations: 1 package of 10 x 5.00 = 5.00 USD"),
    ],
)
def test_a_line_can_be_redone_with_a_pencil(price: Price, quantity: int, included: int, sentence: str) -> None:
    assert priced(price, quantity, included).explain("USD") == sentence


@pytest.mark.parametrize(("quantity", "amount"), [(0, 0), (1, 1), (5, 1), (6, 4), (10, 8), (11, 10), (12, 12)])
def test_graduated_steps_charge_their_own_units_and_their_flat_once_reached(quantity: int, amount: int) -> None:
    assert priced(Graduated(steps=STEPS), quantity).amount == amount


@pytest.mark.parametrize(("quantity", "amount"), [(0, 0), (1, 1), (5, 1), (6, 8), (10, 12), (11, 22)])
def test_volume_charges_all_units_at_the_step_they_fall_into(quantity: int, amount: int) -> None:
    assert priced(Volume(steps=STEPS), quantity).amount == amount


@pytest.mark.parametrize(("quantity", "amount"), [(0, 0), (1, 5), (10, 5), (11, 10), (20, 10), (21, 15)])
def test_a_package_begun_is_paid(quantity: int, amount: int) -> None:
    assert priced(Package(size=10, amount=Decimal(5)), quantity).amount == amount


def test_steps_are_bounded_by_overage_not_by_quantity() -> None:
    line = priced(Graduated(steps=STEPS), quantity=112, included=100)
    assert (line.included, line.allowance, line.overage) == (100, 100, 12)
    assert [(charge.from_unit, charge.to_unit, charge.quantity) for charge in line.steps] == [
        (1, 5, 5),
        (6, 10, 5),
        (11, 12, 2),
    ]


def test_nothing_within_the_allowance_costs_anything_flat_fees_included() -> None:
    for price in (Graduated(steps=STEPS), Volume(steps=STEPS), Package(size=10, amount=Decimal(5))):
        line = priced(price, quantity=40, included=100)
        assert (line.included, line.overage, line.steps, line.amount) == (40, 0, (), 0)


@pytest.mark.parametrize(
    ("price", "before", "quantity", "sentence"),
    [
        (Graduated(steps=STEPS), 3, 4, "2 x 0.00 + 2 x 1.00 + 2.00 flat = 4.00 USD"),
        (Graduated(steps=STEPS), 5, 1, "1 x 1.00 + 2.00 flat = 3.00 USD"),
        (Graduated(steps=STEPS), 6, 4, "4 x 1.00 = 4.00 USD"),
        (Volume(steps=STEPS), 6, 4, "4 x 1.00 = 4.00 USD"),
        (Volume(steps=STEPS), 5, 1, "6 x 1.00 + 2.00 flat - 5 x 0.00 - 1.00 flat = 7.00 USD"),
        (Volume(steps=(step(10, "2"), step(None, "1"))), 10, 1, "11 x 1.00 - 10 x 2.00 = -9.00 USD"),
        (Package(size=10, amount=Decimal(5)), 7, 3, "0 packages of 10 x 5.00 = 0.00 USD"),
        (Package(size=10, amount=Decimal(5)), 7, 4, "1 package of 10 x 5.00 = 5.00 USD"),
    ],
)
def test_later_units_are_priced_at_their_position(price: Price, before: int, quantity: int, sentence: str) -> None:
    line = price_tier("simple", TierRate(price=price), quantity, before=before)
    units = "conversation" if quantity == 1 else "conversations"
    assert line.explain("USD") == f"{quantity} simple {units}: after {before} earlier in the period, {sentence}"
    assert line.details("USD")["before"] == before


COMMITTED = TierRate(included=10, price=Graduated(steps=STEPS), committed=Committed(quantity=20, unit=Decimal("0.50")))


@pytest.mark.parametrize(
    ("quantity", "committed", "amount"), [(10, 0, 0), (11, 1, "0.5"), (30, 20, 10), (31, 20, 11), (36, 20, 14)]
)
def test_what_was_committed_to_is_used_before_the_steps_begin(quantity: int, committed: int, amount: str) -> None:
    line = price_tier("simple", COMMITTED, quantity)
    assert (line.committed, line.amount) == (committed, Decimal(amount))


def test_a_line_with_a_commitment_and_rolled_over_units_can_be_redone_with_a_pencil() -> None:
    line = price_tier("simple", COMMITTED, 36, allowance=14, rolled_over=4, committed=15)
    assert line.explain("USD") == (
        "36 simple conversations: 14 included (4 rolled over), 15 committed x 0.50 + 5 x 0.00 + 1.00 flat + 2 x 1.00 "
        "+ 2.00 flat = 12.50 USD"
    )
    assert {name: line.details("USD")[name] for name in ("rolled_over", "committed")} == {
        "rolled_over": 4,
        "committed": 15,
    }


def test_a_line_that_was_rounded_with_others_says_so() -> None:
    line = priced(Flat(unit=Decimal("0.0125")), 1)
    assert line.explain("USD", 1) == "1 simple conversation: 1 x 0.0125 = 0.0125, rounded to 0.01 USD"
    assert line.explain("USD", 2).endswith("= 0.0125, rounded with other lines to 0.02 USD")


def test_conversations_of_a_free_trial_cost_nothing_and_use_nothing() -> None:
    line = price_free("simple@peak", 7)
    assert (line.quantity, line.free, line.included, line.overage, line.amount) == (7, 7, 0, 0, 0)
    assert line.explain("USD") == "7 simple conversations at peak hours: free in the trial = 0.00 USD"


POOLED = parse_terms(
    {
        "currency": "USD",
        "interval": "month",
        "base_fee": "0",
        "rates": {
            "simple": {"price": {"model": "flat", "unit": "1"}, "peak": {"price": {"model": "flat", "unit": "2"}}},
            "gold": {"price": {"model": "flat", "unit": "9"}},
        },
        "peak_hours": [{"days": ["mon"], "from": "08:00", "to": "20:00"}],
        "pool": {"credits": 50, "weights": {"standard": 1, "complex": 5}, "overage": {"model": "flat", "unit": "0.1"}},
    }
)


def test_tiers_of_the_pool_take_credits_and_a_peak_price_needs_agreeing() -> None:
    counts = {"simple": 1, "simple@peak": 2, "gold": 3, "gold@peak": 4, "complex": 5, "complex@peak": 6, "standard": 7}
    assert metered(POOLED, counts) == {"simple": 1, "simple@peak": 2, "gold": 7, "pool": 62}
    assert [line.explain("USD") for line in price_usage(POOLED, counts)] == [
        "1 simple conversation: 1 x 1.00 = 1.00 USD",
        "2 simple conversations at peak hours: 2 x 2.00 = 4.00 USD",
        "7 gold conversations: 7 x 9.00 = 63.00 USD",
        "62 credits: 50 included, 12 x 0.10 = 1.20 USD",
    ]


@pytest.mark.parametrize("tier", ["silver", "silver@peak", "pool"])
def test_what_is_neither_priced_nor_weighed_stops_the_bill(tier: str) -> None:
    with pytest.raises(UnpricedTier) as refused:
        metered(POOLED, {tier: 1})
    assert refused.value.tiers == [tier.removesuffix("@peak")]


ACME = parse_terms(
    {
        "currency": "USD",
        "interval": "month",
        "base_fee": "49.00",
        "rates": {
            "simple": {"included": 1000, "price": {"model": "flat", "unit": "0.02"}},
            "enterprise": {"price": {"model": "package", "size": 10, "amount": "5.00"}},
            "complex": {"price": {"model": "flat", "unit": "0.15"}},
        },
    }
)


def test_every_tier_of_the_plan_is_priced_in_the_order_of_the_terms() -> None:
    lines = price_usage(ACME, {"complex": 40, "simple": 1200})
    assert [(line.tier, line.amount) for line in lines] == [
        ("simple", Decimal("4.00")),
        ("enterprise", Decimal(0)),
        ("complex", Decimal("6.00")),
    ]


def test_conversations_in_a_tier_without_a_price_are_never_free() -> None:
    with pytest.raises(UnpricedTier, match="no price for gold, standard") as refused:
        price_usage(ACME, {"standard": 1, "simple": 5, "gold": 2})
    assert refused.value.tiers == ["gold", "standard"]
    assert len(price_usage(ACME, {"standard": 0})) == 3


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 simple"):
        price_usage(ACME, {"simple": -1})


def test_the_details_of_a_line_are_plain_json() -> None:
    line = priced(Package(size=10, amount=Decimal("5.0")), 26, 5)
    assert line.details("USD") == {
        "tier": "simple",
        "quantity": 26,
        "allowance": 5,
        "included": 5,
        "overage": 21,
        "steps": [
            {
                "from_unit": 1,
                "to_unit": 21,
                "quantity": 3,
                "unit": "5.00",
                "flat": "0.00",
                "amount": "15.00",
                "package_size": 10,
            }
        ],
        "amount": "15.00",
        "explanation": "26 simple conversations: 5 included, 3 packages of 10 x 5.00 = 15.00 USD",
    }
    assert msgspec.json.encode(line.details("USD"))


def test_amounts_are_exact_beyond_the_28_digits_of_python() -> None:
    with localcontext(prec=4):
        line = priced(Flat(unit=Decimal("999999999999.999999999999")), 10**12 - 1)
    assert line.amount == Decimal("999999999998999999999999.000000000001")
    assert to_minor(line.amount, "USD") == 99999999999899999999999900


prices = st.decimals(0, 10**12, places=12)
quantities = st.integers(0, 10**12)
included = st.integers(0, 2000)


@st.composite
def stepped(draw: st.DrawFn, flat: bool = True) -> tuple[Step, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, 5000), max_size=6)))
    flats = prices if flat else st.just(Decimal(0))
    return tuple(Step(up_to=bound, unit=draw(prices), flat=draw(flats)) for bound in [*bounds, None])


def at_the_bounds(steps: tuple[Step, ...], drawn: int) -> list[int]:
    bounds = [bound for step in steps if (bound := step.up_to) is not None]
    return sorted({0, 1, drawn, *bounds, *(bound + 1 for bound in bounds)})


def unit_by_unit(steps: tuple[Step, ...], units: int) -> Decimal:
    """The graduated price by its definition, one unit after the other, from the other end than the code."""
    total, index = Decimal(0), 0
    for number in range(1, units + 1):
        while (bound := steps[index].up_to) is not None and number > bound:
            index += 1
        first_of_step = number == 1 or number - 1 == (steps[index - 1].up_to if index else 0)
        total += steps[index].unit + (steps[index].flat if first_of_step else 0)
    return total


@given(stepped(), st.integers(0, 6000))
def test_graduated_is_the_sum_of_its_slices_and_never_falls(steps: tuple[Step, ...], drawn: int) -> None:
    """H03, at every bound B: unit B is in the lower step, unit B+1 in the next."""
    price = Graduated(steps=steps)
    costs = [priced(price, units) for units in at_the_bounds(steps, drawn)]
    for line in costs:
        assert line.amount == sum(charge.amount for charge in line.steps)
        assert sum(charge.quantity for charge in line.steps) == line.overage
    assert all(fewer.amount <= more.amount for fewer, more in pairwise(costs))
    with localcontext(prec=60):
        assert priced(price, drawn).amount == unit_by_unit(steps, drawn)


@given(stepped(flat=False), st.integers(1, 6000))
def test_graduated_without_flat_fees_rises_by_the_price_of_each_further_unit(
    steps: tuple[Step, ...], drawn: int
) -> None:
    with localcontext(prec=60):
        rise = priced(Graduated(steps=steps), drawn).amount - priced(Graduated(steps=steps), drawn - 1).amount
        assert rise == priced(Volume(steps=steps), drawn).steps[0].unit


@given(stepped(), st.integers(0, 6000))
def test_volume_is_one_multiplication_that_changes_its_price_at_bounds_only(
    steps: tuple[Step, ...], drawn: int
) -> None:
    """H04."""
    for units in at_the_bounds(steps, drawn):
        line = priced(Volume(steps=steps), units)
        wanted = min((step for step in steps if step.up_to is None or units <= step.up_to), key=_bound)
        with localcontext(prec=60):
            assert line.amount == (units * wanted.unit + wanted.flat if units else 0)
        assert line.amount >= 0 and len(line.steps) == (units > 0)


def _bound(step: Step) -> int:
    return step.up_to or 10**13


any_price = st.one_of(
    st.builds(Flat, unit=prices),
    st.builds(Graduated, steps=stepped()),
    st.builds(Volume, steps=stepped()),
    st.builds(Package, size=st.integers(1, 10**6), amount=prices),
)


@given(any_price, included, quantities)
def test_every_line_adds_up(price: Price, included: int, quantity: int) -> None:
    line = priced(price, quantity, included)
    assert line.included + line.overage == quantity and line.included <= line.allowance
    with localcontext(prec=80):
        assert all(charge.quantity * charge.unit + charge.flat == charge.amount for charge in line.steps)
        assert sum(charge.amount for charge in line.steps) == line.amount >= 0


@given(any_price, included, quantities)
def test_the_allowance_only_shifts_the_price(price: Price, included: int, quantity: int) -> None:
    assert priced(price, quantity + included, included).amount == priced(price, quantity).amount


@given(st.dictionaries(st.sampled_from(["simple", "complex", "enterprise"]), quantities))
def test_a_bill_is_the_sum_of_its_tiers_priced_alone(counts: dict[str, int]) -> None:
    together: dict[str, Any] = {line.tier: line for line in price_usage(ACME, counts)}
    for tier, count in counts.items():
        assert price_usage(ACME, {tier: count})[list(ACME.rates).index(tier)] == together[tier]
