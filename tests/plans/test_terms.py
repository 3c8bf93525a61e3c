"""Terms are read as they are written, and the canonical form reads back the same."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.terms import Flat, Graduated, Package, Rollover, Step, Volume, meters, priced_tiers, terms_to_json
from plans.terms_reading import parse_terms
from tests.plans.written_terms import EVERYTHING, GROWTH, changed


def test_the_terms_of_the_contract_are_read() -> None:
    terms = parse_terms(GROWTH)
    assert (terms.currency, terms.interval, terms.base_fee) == ("USD", "month", Decimal("49.00"))
    assert terms.grace == dt.timedelta(hours=1)
    assert list(terms.rates) == ["simple", "standard", "complex", "enterprise"]
    assert terms.rates["simple"].included == 1000
    assert terms.rates["simple"].price == Flat(unit=Decimal("0.02"))
    assert terms.rates["standard"].price == Graduated(
        steps=(Step(up_to=1000, unit=Decimal("0.05")), Step(unit=Decimal("0.04")))
    )
    assert isinstance(terms.rates["complex"].price, Volume)
    assert terms.rates["enterprise"].price == Package(size=10, amount=Decimal("5.00"))


def test_the_canonical_form_of_the_contract_is_the_contract() -> None:
    written = terms_to_json(parse_terms(GROWTH))
    assert json.dumps(written) == json.dumps(GROWTH)


def test_the_canonical_form_does_not_depend_on_how_numbers_were_written() -> None:
    sloppy = changed("/base_fee", "49") | {"grace": "P1DT30M"}
    sloppy["rates"] = {"simple": {"price": {"model": "flat", "unit": "000.0200"}}}
    written = terms_to_json(parse_terms(sloppy))
    assert written["base_fee"] == "49.00"
    assert written["grace"] == "PT24H30M"
    assert written["rates"] == {"simple": {"included": 0, "price": {"model": "flat", "unit": "0.02"}}}


def test_what_may_be_left_out_has_the_documented_default() -> None:
    short = {name: GROWTH[name] for name in ("currency", "interval", "base_fee", "rates")}
    assert parse_terms(short) == parse_terms(GROWTH)


def test_terms_that_use_everything_are_read_and_written_back() -> None:
    terms = parse_terms(EVERYTHING)
    assert json.loads(json.dumps(terms_to_json(terms))) == EVERYTHING
    assert terms.pool is not None and terms.pool.weights == {"complex": 1, "enterprise": 5}
    assert terms.peak_hours is not None and (terms.peak_hours[1].from_, terms.peak_hours[1].to) == ("00:00", "24:00")
    assert (terms.minimum, terms.maximum, terms.rollover) == (100, 500, Rollover(periods=3, maximum=1000))
    assert (terms.trial_days, terms.trial_usage) == (14, "free")
    assert terms.billable_outcomes == ("resolved", "deflected")


def test_meters_are_what_is_priced_apart() -> None:
    terms = parse_terms(EVERYTHING)
    assert list(meters(terms)) == ["simple", "simple@peak", "pool"]
    assert meters(terms)["simple@peak"] == terms.rates["simple"].peak
    assert meters(terms)["pool"].included == 5000
    assert priced_tiers(terms) == {"simple", "complex", "enterprise"}
    assert list(meters(parse_terms(GROWTH))) == list(GROWTH["rates"])


@pytest.mark.parametrize("rates", [{}, ...])
def test_a_pool_can_price_all_there_is(rates: Any) -> None:
    pooled = changed("/rates", rates) | {"pool": EVERYTHING["pool"]}
    assert list(meters(parse_terms(pooled))) == ["pool"]


OLD_FORM = {name: value for name, value in GROWTH.items() if name not in ("peak_hours", "trial_usage")}


def test_terms_written_before_there_was_more_to_agree_read_as_before() -> None:
    assert parse_terms(OLD_FORM) == parse_terms(GROWTH)


prices = st.decimals(0, 10**12, places=12).map(lambda price: format(price, "f"))
quantities = st.integers(1, 10**12)
steps = st.lists(quantities, max_size=5, unique=True).flatmap(
    lambda bounds: st.tuples(
        *(st.fixed_dictionaries({"up_to": st.just(bound), "unit": prices, "flat": prices}) for bound in sorted(bounds)),
        st.fixed_dictionaries({}, optional={"unit": prices, "flat": prices, "up_to": st.none()}),
    ).map(list)
)
price = st.one_of(
    st.fixed_dictionaries({"model": st.just("flat"), "unit": prices}),
    st.fixed_dictionaries({"model": st.sampled_from(["graduated", "volume"]), "steps": steps}),
    st.fixed_dictionaries({"model": st.just("package"), "size": quantities, "amount": prices}),
)
committed = st.fixed_dictionaries({"quantity": quantities, "unit": prices})
rate = st.fixed_dictionaries({"price": price}, optional={"included": quantities, "committed": st.none() | committed})
codes = st.text(st.characters(exclude_characters="@", codec="utf-8"), min_size=1, max_size=64)
days = st.lists(st.sampled_from(["mon", "wed", "sun"]), min_size=1, unique=True)
hours = st.fixed_dictionaries({"days": days, "from": st.just("08:00"), "to": st.sampled_from(["08:01", "24:00"])})
cents = st.integers(0, 10**9).map(lambda cents: f"{cents // 100}")
optional_terms: dict[str, st.SearchStrategy[Any]] = {
    "minimum": st.none() | cents,
    "trial_days": st.integers(0, 730),
    "trial_usage": st.sampled_from(["billed", "free"]),
    "rollover": st.none() | st.fixed_dictionaries({"periods": st.integers(1, 36)}, optional={"maximum": quantities}),
    "billable_outcomes": st.none() | st.lists(codes, min_size=1, max_size=20, unique=True),
}


@st.composite
def any_terms(draw: st.DrawFn) -> dict[str, Any]:
    """Raw terms with any of the optional ones, in a currency with or without decimals."""
    head = {"currency": draw(st.sampled_from(["USD", "JPY", "KWD"])), "interval": "year", "base_fee": draw(cents)}
    raw = head | draw(st.fixed_dictionaries({}, optional=optional_terms))
    tiers = draw(st.lists(codes.filter(lambda code: code != "pool"), min_size=2, max_size=4, unique=True))
    raw["rates"] = {tier: draw(rate) for tier in tiers[1:]}
    if draw(st.booleans()):
        raw["peak_hours"] = draw(st.lists(hours, min_size=1, max_size=3))
        raw["rates"][tiers[1]] |= {"peak": draw(rate)}
    if draw(st.booleans()):
        raw["pool"] = {"credits": draw(quantities), "weights": {tiers[0]: 3}, "overage": draw(price)}
    return raw


@given(any_terms())
def test_the_canonical_form_reads_back_as_the_same_terms(raw: dict[str, Any]) -> None:
    terms = parse_terms(raw)
    written = json.loads(json.dumps(terms_to_json(terms)))
    assert parse_terms(written) == terms
    assert list(parse_terms(written).rates) == list(terms.rates) == list(raw["rates"])
    assert terms_to_json(parse_terms(written)) == written
