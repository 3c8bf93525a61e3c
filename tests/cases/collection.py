"""Worked examples collected from other billing systems, which of them are not ours, and how the others are run.

A case of another convention is left out by name, with the reason; no figure is bent to fit.
"""

import datetime as dt
import functools
import json
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "cases"
Case = dict[str, Any]

BY_DAYS = "counts days; ours goes by time, to the microsecond"
BOTH_ENDS = f"{BY_DAYS}, and both ends at that"
OF_AN_AMOUNT = "a percentage of a reported amount; ours prices conversations"
QUANTITIES = "rounds quantities; ours are whole"
FOR_NOTHING = "charges the first step's flat fee for no units; ours charges nothing for nothing"

LEFT_OUT = {
    "gradpct-lago-1": OF_AN_AMOUNT,
    "gradpct-lago-10": OF_AN_AMOUNT,
    "gradpct-lago-11": OF_AN_AMOUNT,
    "pct-lago-base": OF_AN_AMOUNT,
    "pct-lago-nofree": OF_AN_AMOUNT,
    "pct-lago-small": OF_AN_AMOUNT,
    "vol-lago-100.5": "half a unit; conversations are whole",
    "vol-lago-prorated": "prorates the quantity; ours prorates fees and allowances",
    "vol-om-0": FOR_NOTHING,
    "vol-kb-top-300000": "blocks inside volume steps; ours has packages as a price of their own",
    "pkg-fp-round-250-down": "a package begun is given away; ours is paid",
    "round-lago-units-ceil-2": QUANTITIES,
    "round-lago-units-ceil--2": QUANTITIES,
    "round-lago-units-floor-0": QUANTITIES,
    "round-lago-units-floor--2": QUANTITIES,
    "anchor-stripe-friday": "weekly; our intervals are month and year",
    "tz-lago-days-sep": BY_DAYS,
    "tz-fp-days-sydney": BY_DAYS,
    "tz-fp-days-same": BY_DAYS,
    "pro-fp-upgrade": BOTH_ENDS,
    "pro-fp-remove": BOTH_ENDS,
    "pro-lago-q-termination": BOTH_ENDS,
    "pro-kb30-may": "takes every month for 30 days",
    "pro-kb30-feb": "takes every month for 30 days",
    "pro-kb-trailing": "three months as 92/31 of one; ours is a part of one period",
    "min-om-grad-0": FOR_NOTHING,
    "tax-polar-excl-refund-over": "gives back more than was paid; ours refuses to",
    "trial-lago-45d": BY_DAYS,
    "trial-lago-none": BY_DAYS,
}

TESTED: list[str] = []
"""The cases that tests ask for, by name."""

NOT_THERE = "the collection of field cases is not beside the repository"


@functools.cache
def cases() -> list[Case]:
    """All that were collected; none where the collection is not beside the repository."""
    return [case for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text("utf-8"))["cases"]]


def of_our_convention() -> list[Case]:
    return [case for case in cases() if case["id"] not in LEFT_OUT]


def field_cases(category: str, *names: str, without: str = "") -> pytest.MarkDecorator:
    """Run a test with each `case` of the category that is of our convention, has these names, and not that one."""
    asked_for = [
        case
        for case in of_our_convention()
        if case["category"] == category and set(names) <= _names(case) and without not in _names(case)
    ]
    TESTED.extend(case["id"] for case in asked_for)
    if not cases():
        return pytest.mark.parametrize("case", [pytest.param({}, id="none", marks=pytest.mark.skip(reason=NOT_THERE))])
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in asked_for])


def _names(case: Case) -> set[str]:
    return {*case["inputs"], *case["expected"]}


def instant(text: str) -> dt.datetime:
    """An instant as the cases write it: in UTC unless it says otherwise, a date for its midnight."""
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
