"""Terms are read strictly: every mistake is named with its place, and all of them at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.terms_reading import InvalidTerms, parse_terms
from tests.plans.written_terms import EVERYTHING, changed, mistakes

AN_AMOUNT = "must be a decimal number such as 0.05, not negative, with at most 12 decimals"
A_STRING = 'must be a string of decimal major units, such as "0.05"'


@pytest.mark.parametrize(
    ("pointer", "value", "detail"),
    [
        ("/currency", ..., "is required"),
        ("/interval", ..., "is required"),
        ("/base_fee", ..., "is required"),
        ("/rates", ..., "must be an object that prices 1 to 100 tiers"),
        ("/rates", {}, "must be an object that prices 1 to 100 tiers"),
        ("/rates", [], "must be an object that prices 1 to 100 tiers"),
        ("/currency", "usd", "'usd' is not the upper-case ISO 4217 code of a currency that can be charged"),
        ("/interval", "week", "Invalid enum value 'week'"),
        ("/base_fee", 49, A_STRING),
        ("/base_fee", 49.0, A_STRING),
        ("/base_fee", "-1.00", AN_AMOUNT),
        ("/base_fee", "NaN", AN_AMOUNT),
        ("/base_fee", "1e3", AN_AMOUNT),
        ("/base_fee", "", AN_AMOUNT),
        ("/base_fee", "1,50", AN_AMOUNT),
        ("/rates/simple/price/unit", "cheap", AN_AMOUNT),
        ("/base_fee", "\uff14\uff19", AN_AMOUNT),
        ("/base_fee", "1_000", AN_AMOUNT),
        ("/base_fee", " 49", AN_AMOUNT),
        ("/base_fee", "49\n", AN_AMOUNT),
        ("/base_fee", "49.005", "can have at most 2 decimals in USD"),
        ("/base_fee", "1000000000000.01", "must be at most 1000000000000"),
        ("/base_fee", None, A_STRING),
        ("/colour", "red", "is not a known field"),
        ("/tier_scheme", "", "must have 1 to 64 characters"),
        ("/grace", "P1M", "'P1M' is not an ISO 8601 duration such as PT24H or P1D"),
        ("/grace", "-PT1H", "'-PT1H' is not an ISO 8601 duration such as PT24H or P1D"),
        ("/grace", "P31DT1S", "must be an ISO 8601 duration of at most 31 days, such as PT1H"),
        ("/grace", 3600, "must be an ISO 8601 duration of at most 31 days, such as PT1H"),
        ("/rates/simple", None, "must be an object"),
        ("/trial_days", False, "Expected `int`, got `bool`"),
        ("/trial_days", None, "Expected `int`, got `null`"),
        ("/rates/simple/included", -1, "must be at least 0"),
        ("/rates/simple/included", 1.0, "Expected `int`, got `float`"),
        ("/rates/simple/included", True, "Expected `int`, got `bool`"),
        ("/rates/simple/included", "1000", "Expected `int`, got `str`"),
        ("/rates/simple/price", ..., "is required"),
        ("/rates/simple/price/model", ..., "is required"),
        ("/rates/simple/price/model", "tiered", "Invalid value 'tiered'"),
        ("/rates/simple/price/unit", ..., "is required"),
        ("/rates/simple/price/unit", 0, A_STRING),
        ("/rates/simple/price/unit", "0.0000000000001", AN_AMOUNT),
        ("/rates/simple/price/size", 10, "is not a known field"),
        ("/rates/enterprise/price/size", 0, "must be at least 1"),
        ("/rates/enterprise/price/amount", 5, A_STRING),
        ("/rates/standard/price/steps", [], "must have 1 to 100 steps"),
        ("/rates/standard/price/steps/0/up_to", 0, "must be greater than 0, where the step before ends"),
        ("/rates/standard/price/steps/0/up_to", None, "is required; only the last step is open-ended"),
        ("/rates/standard/price/steps/0/up_to", ..., "is required; only the last step is open-ended"),
        ("/rates/standard/price/steps/1/up_to", 2000, "must be left out or null: the last step is open-ended"),
        ("/rates/standard/price/steps/0/up_to", 10.5, "Expected `int | null`, got `float`"),
        ("/rates/complex/price/steps/0/flat", 5, A_STRING),
    ],
)
def test_a_mistake_is_named_with_its_place(pointer: str, value: Any, detail: str) -> None:
    assert mistakes(changed(pointer, value)) == [(pointer, detail)]


A_TIME = "must be a time from 00:00 to 23:59"
NO_AT = 'a tier\'s code has no "@"; a price for peak hours is the member peak'


@pytest.mark.parametrize(
    ("pointer", "value", "detail"),
    [
        ("/rates", None, "must be an object that prices 1 to 100 tiers"),
        ("/rates/simple/committed/quantity", 0, "must be at least 1"),
        ("/rates/simple/committed/unit", 0.03, A_STRING),
        ("/rates/simple/committed/unit", ..., "is required"),
        ("/rates/simple/peak/price", ..., "is required"),
        ("/rates/simple/peak/included", -1, "must be at least 0"),
        ("/rates/simple/peak/committed/quantity", "5", "Expected `int`, got `str`"),
        ("/rates/simple/peak/peak", None, "is not a known field"),
        ("/rates/simple@peak", {"price": {"model": "flat", "unit": "1"}}, NO_AT),
        ("/rates/pool", {"price": {"model": "flat", "unit": "1"}}, "cannot be told from the credits of the pool"),
        ("/peak_hours", [], "must be a list of 1 to 50 stretches of hours"),
        ("/peak_hours/0", "always", "must be an object"),
        ("/peak_hours/0/days", [], "must name at least one day, and each once"),
        ("/peak_hours/0/days", ["mon", "mon"], "must name at least one day, and each once"),
        ("/peak_hours/0/days/1", "Tue", "Invalid enum value 'Tue'"),
        ("/peak_hours/0/from", "8:00", A_TIME),
        ("/peak_hours/0/from", "24:00", A_TIME),
        ("/peak_hours/0/from", 8, A_TIME),
        ("/peak_hours/0/to", "23:60", "must be a time from 00:00 to 24:00"),
        ("/peak_hours/0/to", "08:00", "must be later than from; hours past midnight are those of the next day"),
        ("/pool/credits", -1, "must be at least 0"),
        ("/pool/weights", {}, "must be an object that weighs 1 to 100 tiers"),
        ("/pool/weights/complex", 0, "must be at least 1"),
        ("/pool/weights/complex", 1.5, "Expected `int`, got `float`"),
        ("/pool/weights/simple", 1, "has a rate of its own as well"),
        ("/pool/weights/a@b", 1, NO_AT),
        ("/pool/overage", ..., "is required"),
        ("/pool/overage/steps/0/unit", 1, A_STRING),
        ("/minimum", 100, A_STRING),
        ("/minimum", "100.005", "can have at most 2 decimals in USD"),
        ("/minimum", "500.01", "must not be greater than the maximum"),
        ("/maximum", "-1", AN_AMOUNT),
        ("/maximum", "500.001", "can have at most 2 decimals in USD"),
        ("/trial_days", 731, "must be at most 730"),
        ("/trial_days", -1, "must be at least 0"),
        ("/trial_usage", "half", "Invalid enum value 'half'"),
        ("/trial_usage", None, "Expected `str`, got `null`"),
        ("/rollover", True, "must be an object"),
        ("/rollover/periods", 0, "must be at least 1"),
        ("/rollover/periods", 37, "must be at most 36"),
        ("/rollover/maximum", 0, "must be at least 1"),
        ("/billable_outcomes", [], "must be 1 to 20 different outcomes"),
        ("/billable_outcomes", ["a", "a"], "must be 1 to 20 different outcomes"),
        ("/billable_outcomes/1", "", "must have 1 to 64 characters"),
        ("/billable_outcomes/1", 1, "Expected `str`, got `int`"),
    ],
)
def test_a_mistake_in_what_is_optional_is_named_with_its_place(pointer: str, value: Any, detail: str) -> None:
    assert mistakes(changed(pointer, value, EVERYTHING)) == [(pointer, detail)]


def test_peak_prices_and_peak_hours_need_each_other() -> None:
    hours, peak = changed("/peak_hours", None, EVERYTHING), changed("/rates/simple/peak", ..., EVERYTHING)
    assert mistakes(hours) == [("/rates/simple/peak", "needs peak_hours")]
    assert mistakes(peak) == [("/peak_hours", "no rate has a price at peak hours")]


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_a_limit_must_be_payable_in_its_currency(name: str) -> None:
    for currency, amount in [("JPY", "100.5"), ("ISK", "100.5"), ("KWD", "100.005")]:
        assert mistakes(changed("/base_fee", "49") | {"currency": currency, name: amount})[0][0] == f"/{name}"


def test_all_mistakes_are_named_at_once() -> None:
    raw = changed("/currency", "usd") | {"minimum": 1, "rollover": {"periods": 0}, "grace": "soon", "colour": "red"}
    del raw["interval"]
    raw["rates"]["simple"]["included"] = -1
    raw["rates"]["a/b~c"] = {"price": {"model": "flat", "unit": 1}}
    raw["rates"]["standard"]["price"]["steps"] = [{"up_to": 5, "unit": "-1"}, {"up_to": 5}, {"up_to": 4}]
    assert [pointer for pointer, _ in mistakes(raw)] == [
        "/currency",
        "/interval",
        "/rates/simple/included",
        "/rates/standard/price/steps/0/unit",
        "/rates/standard/price/steps/1/up_to",
        "/rates/standard/price/steps/2/up_to",
        "/rates/standard/price/steps/2/up_to",
        "/rates/a~1b~0c/price/unit",
        "/minimum",
        "/grace",
        "/rollover/periods",
        "/colour",
    ]


@pytest.mark.parametrize("raw", [None, [], "terms", 1, {}])
def test_what_is_no_terms_is_refused(raw: object) -> None:
    assert mistakes(raw)


def test_a_base_fee_must_be_payable_in_its_currency() -> None:
    assert mistakes(changed("/base_fee", "49.5") | {"currency": "JPY"})[0][0] == "/base_fee"
    assert mistakes(changed("/base_fee", "49.5") | {"currency": "ISK"})[0][0] == "/base_fee"
    assert mistakes(changed("/base_fee", "1.005") | {"currency": "KWD"})[0][0] == "/base_fee"
    assert parse_terms(changed("/base_fee", "49.000") | {"currency": "JPY"}).base_fee == 49


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [
        *(f"/{name}" for name in EVERYTHING if name not in ("rates", "peak_hours", "pool", "minimum", "maximum")),
        "/rates/simple/included",
        "/rates/simple/price",
        "/rates/simple/price/unit",
        "/rates/simple/committed",
        "/rates/simple/peak/price",
        "/peak_hours/0",
        "/peak_hours/1/days",
        "/pool/credits",
        "/pool/overage/steps",
        "/pool/overage/steps/0",
        "/pool/overage/steps/0/up_to",
    ]
)


@given(places, json_values)
def test_nonsense_anywhere_is_refused_by_name_or_read(pointer: str, value: Any) -> None:
    try:
        parse_terms(changed(pointer, value, EVERYTHING))
    except InvalidTerms as refused:
        assert all(place.startswith(pointer) for place, _ in refused.errors)
