"""Periods tile time from the anchor, in every zone, from every start day."""

import datetime as dt
import zoneinfo
from calendar import monthrange
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans import calendar
from plans.calendar import (
    Anchor,
    UnknownZone,
    boundary,
    days_later,
    period,
    period_at,
    time_zone,
)

MICROSECOND = dt.timedelta(microseconds=1)
ZONES = sorted(calendar._zone_names())
Interval = Literal["month", "year"]


def anchor_on(text: str, zone: str = "UTC") -> Anchor:
    return Anchor(dt.datetime.fromisoformat(text), zone)


def shown(instant: dt.datetime, zone: str) -> str:
    return instant.astimezone(zoneinfo.ZoneInfo(zone)).isoformat()


def test_a_short_month_does_not_shift_the_ones_after_it() -> None:
    anchor = anchor_on("2026-01-31T00:00:00+00:00")
    days = [boundary(anchor, "month", index).date().isoformat() for index in range(5)]
    assert days == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]


def test_a_leap_day_is_kept_on_the_last_of_february_in_common_years() -> None:
    anchor = anchor_on("2028-02-29T00:00:00+00:00")
    days = [boundary(anchor, "year", index).date().isoformat() for index in range(5)]
    assert days == ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]


@pytest.mark.parametrize(
    ("start", "zone", "index", "wanted"),
    [
        ("2026-02-28T00:00:00+01:00", "Europe/Berlin", 1, "2026-03-28T00:00:00+01:00"),
        ("2026-01-29T02:30:00+01:00", "Europe/Berlin", 2, "2026-03-29T03:00:00+02:00"),
        ("2026-01-25T02:30:00+01:00", "Europe/Berlin", 9, "2026-10-25T02:30:00+02:00"),
        ("2018-10-04T00:00:00-03:00", "America/Sao_Paulo", 1, "2018-11-04T01:00:00-02:00"),
        ("2011-10-30T12:00:00-10:00", "Pacific/Apia", 2, "2011-12-31T00:00:00+14:00"),
        ("2026-09-04T02:15:00+10:30", "Australia/Lord_Howe", 1, "2026-10-04T02:30:00+11:00"),
        ("2026-01-08T02:30:00.000001-05:00", "America/New_York", 2, "2026-03-08T03:00:00-04:00"),
        ("2026-01-31T23:30:00+00:00", "Asia/Tokyo", 1, "2026-03-01T08:30:00+09:00"),
    ],
)
def test_a_period_begins_when_the_customers_clock_says_so(start: str, zone: str, index: int, wanted: str) -> None:
    assert shown(boundary(anchor_on(start, zone), "month", index), zone) == wanted


def test_the_first_boundary_is_the_anchor_even_in_a_repeated_hour() -> None:
    second = anchor_on("2026-11-01T01:30:00-05:00", "America/New_York")
    assert boundary(second, "month", 0) == second.starts_at
    assert shown(boundary(second, "month", 1), second.zone) == "2026-12-01T01:30:00-05:00"


def test_a_boundary_belongs_to_the_period_that_begins_there() -> None:
    anchor = anchor_on("2026-01-31T00:00:00+01:00", "Europe/Berlin")
    march = boundary(anchor, "month", 2)
    assert period_at(anchor, "month", march).index == 2
    assert period_at(anchor, "month", march - MICROSECOND).index == 1
    assert period_at(anchor, "month", march - MICROSECOND).end == march


def test_a_clock_that_falls_back_into_the_month_before_does_not_reopen_its_period() -> None:
    """St. John's, 1 November 2009: at 0:01 clocks went back to 23:01 of 31 October."""
    anchor = anchor_on("2009-10-01T00:00:00-02:30", "America/St_Johns")
    november = boundary(anchor, "month", 1)
    half_an_hour_later = november + dt.timedelta(minutes=30)
    assert shown(november, anchor.zone) == "2009-11-01T00:00:00-02:30"
    assert shown(half_an_hour_later, anchor.zone) == "2009-10-31T23:30:00-03:30"
    assert period_at(anchor, "month", half_an_hour_later).index == 1


def test_periods_before_the_anchor_are_counted_from_it_backwards() -> None:
    anchor = anchor_on("2026-03-31T00:00:00+02:00", "Europe/Berlin")
    days = [shown(boundary(anchor, "month", index), anchor.zone) for index in (-1, -2, -3, -4)]
    assert days == [
        "2026-02-28T00:00:00+01:00",
        "2026-01-31T00:00:00+01:00",
        "2025-12-31T00:00:00+01:00",
        "2025-11-30T00:00:00+01:00",
    ]
    assert period_at(anchor, "month", anchor.starts_at - MICROSECOND) == period(anchor, "month", -1)
    assert period(anchor, "month", -1).end == anchor.starts_at
    assert period_at(anchor, "year", anchor.starts_at - dt.timedelta(366)).index == -2


@pytest.mark.parametrize(
    ("instant", "days", "zone", "wanted"),
    [
        ("2026-03-20T02:30:00+01:00", 9, "Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        ("2026-03-20T12:00:00+01:00", 14, "Europe/Berlin", "2026-04-03T12:00:00+02:00"),
        ("2026-10-18T02:30:00+02:00", 7, "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:30:00+01:00", 0, "Europe/Berlin", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:30:00+01:00", 1, "Europe/Berlin", "2026-10-26T02:30:00+01:00"),
        ("2011-12-29T09:00:00-10:00", 1, "Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        ("2011-12-29T09:00:00-10:00", 2, "Pacific/Apia", "2011-12-31T09:00:00+14:00"),
    ],
)
def test_days_later_the_customers_clock_shows_the_same_time(instant: str, days: int, zone: str, wanted: str) -> None:
    assert shown(days_later(dt.datetime.fromisoformat(instant), days, zone), zone) == wanted


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Berlin",
        "europe/berlin",
        "America",
        "right/UTC",
        "posix/UTC",
        "localtime",
        "Factory",
        "../UTC",
        "/etc/passwd",
        "UTC\0",
        "+01:00",
    ],
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownZone):
        time_zone(name)
    with pytest.raises(UnknownZone):
        anchor_on("2026-01-01T00:00:00+00:00", name)


def test_an_anchor_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        anchor_on("2026-01-01T00:00:00")


def months_after(start: dt.datetime, months: int) -> dt.datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return dt.datetime.combine(dt.date(year, month + 1, day), start.time(), start.tzinfo)


instants = st.integers(0, 500 * 365 * 86400 * 10**6).map(
    lambda count: dt.datetime(1971, 1, 1, tzinfo=dt.UTC) + count * MICROSECOND
)
intervals: st.SearchStrategy[Interval] = st.sampled_from(["month", "year"])
zones = st.sampled_from(ZONES)


@given(instants, zones, intervals, instants)
def test_every_instant_before_and_after_the_anchor_is_in_exactly_one_period(
    start: dt.datetime, zone: str, interval: Interval, instant: dt.datetime
) -> None:
    anchor = Anchor(start, zone)
    found = period_at(anchor, interval, instant)
    assert found.start <= instant < found.end
    assert (found.index < 0) == (instant < start)
    assert period(anchor, interval, found.index) == found
    assert found.end == boundary(anchor, interval, found.index + 1)


@given(instants, zones, intervals, st.integers(-1200, 1200).filter(bool))
def test_a_boundary_is_the_first_instant_that_shows_its_time_or_a_later_one(
    start: dt.datetime, zone: str, interval: Interval, index: int
) -> None:
    anchor = Anchor(start, zone)
    found = boundary(anchor, interval, index)
    wanted = months_after(wall(start, zone), index * calendar.MONTHS_IN[interval])
    assert wall(found - MICROSECOND, zone) < wanted <= wall(found, zone)
    assert boundary(anchor, interval, index - 1) < found < boundary(anchor, interval, index + 1)


def wall(instant: dt.datetime, zone: str) -> dt.datetime:
    return instant.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None, fold=0)


@given(instants, zones, st.integers(0, 730))
def test_days_later_is_never_earlier_and_grows_with_the_days(start: dt.datetime, zone: str, days: int) -> None:
    found = days_later(start, days, zone)
    wanted = wall(start, zone) + dt.timedelta(days)
    assert wanted <= wall(found, zone) < wanted + dt.timedelta(days=2)
    assert start <= found < days_later(start, days + 1, zone)
    assert days == 0 or wall(found - MICROSECOND, zone) < wanted
