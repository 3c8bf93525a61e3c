"""Worked examples collected from other billing systems, run through ours where their convention is ours.

A case of another convention is left out by name, with the reason; no figure is bent to fit.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plans.calendar import Anchor, Period, boundary, period, period_at, time_zone
from plans.money import format_amount, round_half_away, to_minor
from plans.pricing import price_tier
from plans.proration import prorate, share_of
from plans.terms import Flat, Graduated, Package, Price, Step, TierRate, Volume

CASES = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "cases"
CATEGORIES = ("graduated", "volume", "package", "rounding", "anchors", "timezones", "proration")

BY_DAYS = "counts days; ours goes by time, to the microsecond"
NOT_OURS = {
    "gradpct-lago-1": "a percentage of a reported amount; ours prices conversations",
    "gradpct-lago-10": "a percentage of a reported amount; ours prices conversations",
    "gradpct-lago-11": "a percentage of a reported amount; ours prices conversations",
    "vol-lago-100.5": "half a unit; conversations are whole",
    "vol-lago-prorated": "prorates the quantity; ours never does",
    "vol-om-0": "charges the first step's flat fee for no units; ours charges nothing for nothing",
    "vol-kb-top-300000": "blocks inside volume steps; ours has packages as a price of their own",
    "pkg-fp-round-250-down": "a package begun is given away; ours is paid",
    "round-lago-units-ceil-2": "rounds quantities; ours never does",
    "round-lago-units-ceil--2": "rounds quantities; ours never does",
    "round-lago-units-floor-0": "rounds quantities; ours never does",
    "round-lago-units-floor--2": "rounds quantities; ours never does",
    "anchor-stripe-friday": "weekly; our intervals are month and year",
    "anchor-fp-cliff": "the end of a subscription cuts a period short; that is the subscription's, not the calendar's",
    "tz-lago-days-sep": BY_DAYS,
    "tz-fp-days-sydney": BY_DAYS,
    "tz-fp-days-same": BY_DAYS,
    "pro-polar-m2y": "a change of interval; changes of plan are not available yet",
    "pro-fp-upgrade": BY_DAYS + ", and both ends at that",
    "pro-fp-remove": BY_DAYS + ", and both ends at that",
    "pro-fp-cap-normal": "caps a credit by what was paid; changes of plan are not available yet",
    "pro-fp-cap-neg": "caps a credit by what was paid; changes of plan are not available yet",
    "pro-lago-q-termination": BY_DAYS + ", and both ends at that",
    "pro-lago-cn-200": BY_DAYS + "; with tax",
    "pro-lago-cn-160": BY_DAYS + "; with tax",
    "pro-lago-cn-weekly": BY_DAYS + "; with tax",
    "pro-kb30-may": "takes every month for 30 days",
    "pro-kb30-feb": "takes every month for 30 days",
    "pro-kb-trailing": "three months as 92/31 of one; ours is a part of one period",
}


def cases() -> Iterator[dict[str, Any]]:
    for category in CATEGORIES:
        path = CASES / f"{category}.json"
        if path.exists():
            yield from json.loads(path.read_text("utf-8"))["cases"]


OURS = [case for case in cases() if case["id"] not in NOT_OURS]
needs_cases = pytest.mark.skipif(not OURS, reason="the collection of field cases is not beside the repository")


@needs_cases
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in OURS])
def test_a_case_from_the_field_comes_to_the_same(case: dict[str, Any]) -> None:
    CHECKS[case["category"]](case["inputs"], case["expected"])


@needs_cases
def test_cases_are_left_out_by_name_only(capsys: pytest.CaptureFixture[str]) -> None:
    known = {case["id"] for case in cases()}
    assert set(NOT_OURS) <= known
    assert len(OURS) + len(NOT_OURS) == len(known)
    with capsys.disabled():
        print(f"\nfield cases: {len(OURS)} come to the same, {len(NOT_OURS)} are of another convention")


def check_price(price: Price, inputs: dict[str, Any], expected: dict[str, Any], included: int = 0) -> None:
    quantity = int(inputs.get("quantity") or int(inputs["quantity_before"]) + int(inputs["quantity_in_line"]))
    line = price_tier("simple", TierRate(included=included, price=price), quantity)
    assert line.amount == Decimal(expected["amount"])
    if "lines" in expected:
        assert [step.amount for step in line.steps] == [Decimal(amount) for _, amount in expected["lines"]]


def check_graduated(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    check_price(Graduated(steps=steps_of(inputs)), inputs, expected)


def check_volume(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    check_price(Volume(steps=steps_of(inputs)), inputs, expected)


def check_package(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    price = Package(size=int(inputs["package_size"]), amount=Decimal(inputs["package_price"]))
    check_price(price, inputs, expected, included=int(inputs.get("free_units", 0)))


def steps_of(inputs: dict[str, Any]) -> tuple[Step, ...]:
    return tuple(
        Step(
            up_to=None if tier["up_to"] is None else int(tier["up_to"]),
            unit=Decimal(tier["unit_amount"]),
            flat=Decimal(tier["flat_amount"]),
        )
        for tier in inputs["tiers"]
    )


def check_rounding(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    currency = inputs["currency"]
    if "unit_price" in inputs:
        rate = TierRate(price=Flat(unit=Decimal(inputs["unit_price"])))
        lines = [price_tier("simple", rate, int(inputs["quantity"])).amount]
    else:
        lines = [Decimal(line) for line in inputs.get("lines") or [inputs["amount"]]]
    wanted = next(expected[name] for name in ("rounded", "subtotal", "half_up", "amount") if name in expected)
    assert format_amount(sum(to_minor(line, currency) for line in lines), currency) == wanted


def check_anchor(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    if "bill_cycle_day" in inputs:
        at = instant(inputs.get("at") or inputs["start"])
        anchor = Anchor(at.replace(month=1, day=inputs["bill_cycle_day"]), "UTC")
        wanted = next(expected[name] for name in ("aligned", "next", "first_cycle") if name in expected)
        assert period_at(anchor, "month", at).end == instant(wanted)
        return
    anchor, interval = Anchor(instant(inputs["anchor"]), "UTC"), inputs["interval"]
    if "dates" in expected:
        found = [boundary(anchor, interval, index) for index in range(inputs["count"])]
        assert found == [instant(day) for day in expected["dates"]]
    elif "period_last_day" in expected:
        ended = period_at(anchor, interval, instant(inputs["billed_on"]) - dt.timedelta(microseconds=1))
        assert ended.end - dt.timedelta(days=1) == instant(expected["period_last_day"])
    elif "period" in expected:
        held = period_at(anchor, interval, instant(inputs["at"]))
        assert [held.start, held.end] == [instant(bound) for bound in expected["period"]]
    else:
        assert period_at(anchor, interval, instant(inputs["period_start"])).end == instant(expected["next"])


def check_time_zone(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    zone = inputs["timezone"]
    if "calendar_month" in inputs:
        month = period(Anchor(instant(f"{inputs['calendar_month']}-01"), zone), "month", 0)
        assert [month.start, month.end] == [instant(bound) for bound in expected["period_utc"]]
    elif "local_midnight" in inputs:
        wanted = instant(expected["utc"])
        month_before = Anchor(wanted.replace(month=wanted.month - 1), zone)
        assert boundary(month_before, "month", 1) == wanted
    else:
        subscribed = Anchor(instant(inputs["start_utc"]), zone)
        day = boundary(subscribed, "month", 1).astimezone(time_zone(zone)).day
        assert day == expected["bill_cycle_day"]


def check_proration(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    if "factor" in expected:
        anchor = Anchor(instant(inputs["from_"]), "UTC")
        part = Period(0, instant(inputs["from_"]), instant(inputs["to"]))
        share = share_of(part, period(anchor, inputs["interval"], 0))
        nine_places = round_half_away(Decimal(share.numerator) / Decimal(share.denominator), 9)
        assert nine_places == Decimal(expected["factor"])
        return
    found = prorated(inputs)
    if "next_invoice" in expected:
        assert found("new") - found("old") + Decimal(inputs["renewal"]) == Decimal(expected["next_invoice"])
    elif "amount" in expected:
        added = inputs["quantity_new"] - inputs["quantity_old"]
        assert found("unit_price") * added == Decimal(expected["amount"])
    else:
        given = {"credit": "old", "charge": "new", "credits": "credits"}
        assert {name: found(given[name]) for name in expected} == {
            name: Decimal(amount) for name, amount in expected.items()
        }


def prorated(inputs: dict[str, Any]) -> Callable[[str], Decimal]:
    """The share of the named amount that is left of the period after the change, rounded to cents."""
    if "period" in inputs:
        whole = Period(0, instant(inputs["period"][0]), instant(inputs["period"][1]))
        changed_at = instant(inputs["change_at"])
    else:
        whole = Period(0, instant("2026-01-01"), instant("2026-01-05"))
        changed_at = instant("2026-01-02")
        assert inputs["fraction_remaining"] == "0.75"
    rest = Period(0, changed_at, whole.end)
    return lambda name: round_half_away(prorate(Decimal(inputs[name]), rest, whole), 2)


def instant(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


CHECKS: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "graduated": check_graduated,
    "volume": check_volume,
    "package": check_package,
    "rounding": check_rounding,
    "anchors": check_anchor,
    "timezones": check_time_zone,
    "proration": check_proration,
}
