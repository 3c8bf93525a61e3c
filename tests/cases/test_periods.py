"""Anchors, time zones and trials, as others have them."""

import datetime as dt
from decimal import Decimal

import pytest

from plans.calendar import Anchor, boundary, first_instant_showing, period, period_at, time_zone
from plans.period_bill import Segment, bill_period
from plans.periods import period_of
from tests.cases.bills import MONTH, agreed, amount_of, priced
from tests.cases.collection import Case, field_cases, instant
from tests.cast import a_plan, acme, canceled, subscribed

MICROSECOND = dt.timedelta(microseconds=1)


@field_cases("anchors", "dates")
def test_bounds_are_counted_from_the_anchor(case: Case) -> None:
    inputs = case["inputs"]
    anchor = Anchor(instant(inputs["anchor"]), "UTC")
    found = [boundary(anchor, inputs["interval"], index) for index in range(inputs["count"])]
    assert found == [instant(day) for day in case["expected"]["dates"]]


@field_cases("anchors", "period")
def test_the_period_that_holds_an_instant(case: Case) -> None:
    inputs = case["inputs"]
    held = period_at(Anchor(instant(inputs["anchor"]), "UTC"), inputs["interval"], instant(inputs["at"]))
    assert [held.start, held.end] == [instant(bound) for bound in case["expected"]["period"]]


@field_cases("anchors", "period_last_day")
def test_the_last_day_of_the_period_that_is_billed(case: Case) -> None:
    inputs = case["inputs"]
    anchor = Anchor(instant(inputs["anchor"]), "UTC")
    ended = period_at(anchor, inputs["interval"], instant(inputs["billed_on"]) - MICROSECOND)
    assert ended.end == instant(inputs["billed_on"])
    assert (ended.end - MICROSECOND).date() == instant(case["expected"]["period_last_day"]).date()


@field_cases("anchors", "period_start", without="subscription_end")
def test_a_period_ends_where_the_anchor_says_wherever_it_begins(case: Case) -> None:
    inputs = case["inputs"]
    held = period_at(Anchor(instant(inputs["anchor"]), "UTC"), inputs["interval"], instant(inputs["period_start"]))
    assert held.end == instant(case["expected"]["next"])


@pytest.mark.django_db
@field_cases("anchors", "subscription_end")
def test_the_end_of_a_subscription_cuts_its_period_short(case: Case) -> None:
    subscription = subscribed(acme(), a_plan(), since=instant(case["inputs"]["period_start"]))
    assert subscription.starts_at == instant(case["inputs"]["anchor"])
    ended = period_of(canceled(subscription, now=instant(case["inputs"]["subscription_end"]), when="now"), 0)
    assert ended is not None and ended.end == instant(case["expected"]["next"])


@field_cases("anchors", "bill_cycle_day")
def test_the_first_period_ends_on_the_day_of_the_month_that_was_chosen(case: Case) -> None:
    at = instant(case["inputs"].get("at") or case["inputs"]["start"])
    anchor = Anchor(at.replace(month=1, day=case["inputs"]["bill_cycle_day"]), "UTC")
    (wanted,) = case["expected"].values()
    assert period_at(anchor, "month", at).end == instant(wanted)


@field_cases("timezones", "calendar_month")
def test_a_month_is_one_of_the_customers_calendar(case: Case) -> None:
    inputs = case["inputs"]
    first = first_instant_showing(
        dt.datetime.fromisoformat(f"{inputs['calendar_month']}-01"), time_zone(inputs["timezone"])
    )
    month = period(Anchor(first, inputs["timezone"]), "month", 0)
    assert [month.start, month.end] == [instant(bound) for bound in case["expected"]["period_utc"]]


@field_cases("timezones", "local_midnight")
def test_a_day_begins_at_the_customers_midnight(case: Case) -> None:
    midnight = dt.datetime.fromisoformat(case["inputs"]["local_midnight"])
    found = first_instant_showing(midnight, time_zone(case["inputs"]["timezone"]))
    assert found == instant(case["expected"]["utc"])
    year_before = Anchor(found - dt.timedelta(365), case["inputs"]["timezone"])
    assert boundary(year_before, "year", 1) == found


@field_cases("timezones", "start_utc")
def test_the_anchor_is_a_day_of_the_customers_calendar(case: Case) -> None:
    zone = case["inputs"]["timezone"]
    subscribed_at = Anchor(instant(case["inputs"]["start_utc"]), zone)
    day = boundary(subscribed_at, "month", 1).astimezone(time_zone(zone)).day
    assert day == case["expected"]["bill_cycle_day"]


@field_cases("trial", "usage_units")
def test_a_trial_waives_the_base_fee_and_not_the_usage(case: Case) -> None:
    inputs = case["inputs"]
    terms = agreed(*priced(inputs["unit_price"]), currency=inputs["currency"], base_fee="100")
    end = MONTH.start + dt.timedelta(inputs["trial_days"])
    trial = Segment(start=MONTH.start, end=end, terms=terms, counts={"0": int(inputs["usage_units"])}, trial=True)
    found = bill_period([trial], MONTH)
    assert amount_of(found, "base_fee") == 0
    assert amount_of(found, "usage") == Decimal(case["expected"]["usage_fee"])
