"""Any terms, any usage, any discounts, any path of changes through June: what hypothesis draws bills from."""

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from plans.calendar import Period
from plans.period_bill import Layer, PeriodDiscount, Segment
from plans.terms import Committed, Flat, Graduated, Package, Price, Rollover, Step, Terms, TierRate, Volume

JUNE = Period(0, dt.datetime(2026, 6, 1, tzinfo=dt.UTC), dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
HOURS = 720
TIERS = ("simple", "complex")

units = st.integers(0, 60)
prices = st.integers(0, 3 * 10**6).map(lambda number: Decimal(number).scaleb(-4))
"""Up to 300.0000: fine enough to need rounding, with halves of cents among them."""
halves_of_cents = st.integers(0, 2000).map(lambda number: Decimal(number) * Decimal("0.005"))
any_unit = halves_of_cents | prices


@st.composite
def steps(draw: st.DrawFn, *, flat: bool = True) -> tuple[Step, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, 50), max_size=3)))
    flats = any_unit if flat else st.just(Decimal(0))
    return tuple(Step(up_to=bound, unit=draw(any_unit), flat=draw(flats)) for bound in [*bounds, None])


rising = st.one_of(
    st.builds(Flat, unit=any_unit),
    st.builds(Graduated, steps=steps()),
    st.builds(Package, size=st.integers(1, 12), amount=any_unit),
)
"""Prices by which one conversation more never costs less."""
any_price = rising | st.builds(Volume, steps=steps())


@st.composite
def rates(draw: st.DrawFn, price: st.SearchStrategy[Price] = any_price, *, committed: bool = True) -> TierRate:
    due = draw(st.none() | st.builds(Committed, quantity=st.integers(1, 40), unit=any_unit)) if committed else None
    return TierRate(included=draw(st.integers(0, 40)), price=draw(price), committed=due)


@st.composite
def terms(draw: st.DrawFn, price: st.SearchStrategy[Price] = any_price, **fixed: Any) -> Terms:
    agreed: dict[str, Any] = {
        "currency": "USD",
        "interval": "month",
        "base_fee": Decimal(draw(st.integers(0, 9999))).scaleb(-2),
        "rates": {tier: draw(rates(price)) for tier in TIERS},
    }
    return Terms(**(agreed | fixed))


cents = st.integers(0, 100_000).map(lambda number: Decimal(number).scaleb(-2))


@st.composite
def limited_terms(draw: st.DrawFn, price: st.SearchStrategy[Price] = any_price) -> Terms:
    least, most = sorted([draw(cents), draw(cents)])
    return draw(terms(price, minimum=draw(st.sampled_from([None, least])), maximum=draw(st.sampled_from([None, most]))))


ANY_TERMS = limited_terms()
counts = st.fixed_dictionaries({}, optional=dict.fromkeys(TIERS, units))
discounts = st.lists(
    st.one_of(
        st.builds(
            PeriodDiscount,
            id=st.just(""),
            name=st.just("p"),
            percent=st.integers(0, 1000).map(lambda number: Decimal(number) / 10),
            on=st.sampled_from(["all", "base_fee", "usage"]),
        ),
        st.builds(
            PeriodDiscount,
            id=st.just(""),
            name=st.just("a"),
            amount=st.integers(0, 5000),
            on=st.sampled_from(["all", "usage"]),
        ),
        st.builds(
            PeriodDiscount,
            id=st.just(""),
            name=st.just("t"),
            percent=st.integers(1, 100).map(Decimal),
            on=st.just("usage"),
            tiers=st.just(("simple",)),
        ),
    ),
    max_size=4,
)


@st.composite
def cuts(draw: st.DrawFn, *, most: int = 4) -> list[dt.datetime]:
    """Instants that cut the whole of June into stretches, of which some may be empty."""
    inside = sorted(draw(st.lists(st.integers(0, HOURS * 3600), max_size=most)))
    return [JUNE.start, *(JUNE.start + dt.timedelta(seconds=second) for second in inside), JUNE.end]


@st.composite
def paths(draw: st.DrawFn, agreed: st.SearchStrategy[Terms] = ANY_TERMS) -> list[Segment]:
    """Any number of changes within a period among a few terms, returning to earlier ones or not, with usage between."""
    choice = draw(st.lists(agreed, min_size=1, max_size=3))
    return [
        Segment(start=start, end=end, terms=draw(st.sampled_from(choice)), counts=draw(counts) if start < end else {})
        for start, end in pairwise(draw(cuts()))
    ]


@st.composite
def one_agreement(draw: st.DrawFn, agreed: st.SearchStrategy[Terms] = ANY_TERMS) -> list[Segment]:
    """A period in segments of the same terms."""
    return draw(paths(st.just(draw(agreed))))


rolled_over = st.dictionaries(
    st.sampled_from(TIERS), st.lists(st.builds(Layer, st.integers(1, 4), st.integers(1, 30)), max_size=3).map(tuple)
)
rollovers = st.none() | st.builds(Rollover, periods=st.integers(1, 4), maximum=st.none() | st.integers(1, 60))
