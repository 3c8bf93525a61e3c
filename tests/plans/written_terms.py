"""Terms as somebody would write them, and what is wrong with them."""

import copy
from typing import Any

import pytest

from plans.terms_reading import InvalidTerms, parse_terms

GROWTH: dict[str, Any] = {
    "currency": "USD",
    "interval": "month",
    "base_fee": "49.00",
    "tier_scheme": "default",
    "rates": {
        "simple": {"included": 1000, "price": {"model": "flat", "unit": "0.02"}},
        "standard": {
            "included": 200,
            "price": {"model": "graduated", "steps": [{"up_to": 1000, "unit": "0.05"}, {"unit": "0.04"}]},
        },
        "complex": {
            "included": 0,
            "price": {"model": "volume", "steps": [{"up_to": 100, "unit": "0.20", "flat": "5.00"}, {"unit": "0.15"}]},
        },
        "enterprise": {"included": 0, "price": {"model": "package", "size": 10, "amount": "5.00"}},
    },
    "peak_hours": None,
    "pool": None,
    "minimum": None,
    "maximum": None,
    "trial_days": 0,
    "trial_usage": "billed",
    "grace": "PT1H",
    "rollover": None,
    "billable_outcomes": None,
}
EVERYTHING: dict[str, Any] = GROWTH | {
    "rates": {
        "simple": {
            "included": 1000,
            "price": {"model": "flat", "unit": "0.02"},
            "committed": {"quantity": 500, "unit": "0.015"},
            "peak": {
                "included": 10,
                "price": {"model": "flat", "unit": "0.04"},
                "committed": {"quantity": 5, "unit": "0.03"},
            },
        }
    },
    "peak_hours": [
        {"days": ["mon", "tue"], "from": "08:00", "to": "20:00"},
        {"days": ["sat"], "from": "00:00", "to": "24:00"},
    ],
    "pool": {
        "credits": 5000,
        "weights": {"complex": 1, "enterprise": 5},
        "overage": {"model": "graduated", "steps": [{"up_to": 10, "unit": "0.10"}, {"unit": "0.05"}]},
    },
    "minimum": "100.00",
    "maximum": "500.00",
    "trial_days": 14,
    "trial_usage": "free",
    "rollover": {"periods": 3, "maximum": 1000},
    "billable_outcomes": ["resolved", "deflected"],
}
"""Terms that use all there is."""


def changed(pointer: str, value: Any, terms: dict[str, Any] = GROWTH) -> dict[str, Any]:
    """The terms with `value` at a pointer such as "/rates/simple/included"; `...` takes the member away."""
    raw = copy.deepcopy(terms)
    *path, last = [int(part) if part.isdigit() else part for part in pointer[1:].split("/")]
    place: Any = raw
    for part in path:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return raw


def mistakes(raw: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidTerms) as refused:
        parse_terms(raw)
    return refused.value.errors
