"""The calendar as a whole: every start day of the four-century cycle, every zone, every change of its clocks.

A boundary is two steps: the day so many months later, which knows no zone, and the first instant at which clocks in
the zone show it. The first step is tried from every day there is; the second around every change of every zone's
clocks, for between two changes a zone is UTC with another number of hours.
"""

import datetime as dt
import functools
import zoneinfo
from calendar import isleap, monthrange
from collections.abc import Iterator
from itertools import compress, pairwise
from operator import ne

import pytest

from plans import calendar
from plans.calendar import Anchor, boundary, first_instant_showing, period, period_at

MICROSECOND = dt.timedelta(microseconds=1)
DAY = dt.timedelta(days=1)
ZONES = sorted(calendar._zone_names())

CYCLE = 146_097
"""Days in four centuries, after which the calendar repeats itself, weekdays and all."""
MIDNIGHTS = [dt.datetime.fromisoformat("1970-01-01") + number * DAY for number in range(CYCLE + 1)]
PERIODS = range(-12, 25)
"""The bounds of 36 periods: those of a year before the anchor and of two years after it."""
FORECAST = dt.datetime(2038, 1, 1, tzinfo=dt.UTC)
"""From here on zones have no list of changes, but one rule for all years."""


def in_utc(naive: dt.datetime) -> dt.datetime:
    return naive.replace(tzinfo=dt.UTC)


@functools.cache
def month_at_noon(number: int) -> list[dt.datetime]:
    """Noon of the month's days, 31 of them: those that it does not have are its last."""
    year, month = divmod(number, 12)
    length = monthrange(year, month + 1)[1]
    return [dt.datetime(year, month + 1, min(day, length), 12, tzinfo=dt.UTC) for day in range(1, 32)]


@pytest.mark.parametrize("part", range(8))
def test_from_every_day_of_four_centuries_a_bound_is_the_same_day_or_the_months_last(part: int) -> None:
    """H09: 36 periods from each of 146,097 days, counted from the anchor and never from the bound before."""
    for midnight in MIDNIGHTS[part:CYCLE:8]:
        noon = in_utc(midnight) + DAY / 2
        anchor = Anchor(noon, "UTC")
        found = [boundary(anchor, "month", index) for index in PERIODS]
        month = noon.year * 12 + noon.month - 1
        assert found == [month_at_noon(month + index)[noon.day - 1] for index in PERIODS]
        assert all(before < after for before, after in pairwise(found))


def test_from_every_day_of_four_centuries_a_year_is_twelve_months() -> None:
    for midnight in MIDNIGHTS[:CYCLE:2]:
        anchor = Anchor(in_utc(midnight), "UTC")
        assert boundary(anchor, "year", 1) == boundary(anchor, "month", 12)


def test_every_leap_day_comes_back_in_leap_years_and_is_the_last_of_february_in_others() -> None:
    leap_days = [midnight for midnight in MIDNIGHTS if (midnight.month, midnight.day) == (2, 29)]
    assert len(leap_days) == 97
    for leap_day in leap_days:
        anchor = Anchor(in_utc(leap_day), "UTC")
        for years in range(-12, 13):
            year = leap_day.year + years
            assert boundary(anchor, "year", years) == dt.datetime(year, 2, 29 if isleap(year) else 28, tzinfo=dt.UTC)


@pytest.mark.parametrize("part", range(4))
def test_periods_tile_time_in_every_zone(part: int) -> None:
    """H10: each ends where the next begins, every instant is in one, and the local day is the anchor's or the last."""
    for name in ZONES[part::4]:
        zone = zoneinfo.ZoneInfo(name)
        for start in ("2007-08-31T12:00", "2010-01-31T12:00", "2015-08-29T12:00", "2024-02-29T12:00"):
            noon = dt.datetime.fromisoformat(start).replace(tzinfo=zone)
            anchor, month = Anchor(noon, name), noon.year * 12 + noon.month - 1
            periods = [period(anchor, "month", index) for index in PERIODS]
            assert all(before.end == after.start for before, after in pairwise(periods))
            for found in periods:
                assert 27 * DAY < found.end - found.start < 32 * DAY
                assert in_utc(shown(found.start, zone)) == month_at_noon(month + found.index)[noon.day - 1]
                for instant in (found.start, found.end - MICROSECOND):
                    assert period_at(anchor, "month", instant) == found


@pytest.mark.parametrize("part", range(4))
def test_at_every_change_of_clocks_a_period_begins_at_the_first_instant_that_serves(part: int) -> None:
    """H10: all changes of four centuries in all zones; a time that is skipped, and one that is shown twice."""
    skips = repeats = 0
    for name in ZONES[part::4]:
        zone = zoneinfo.ZoneInfo(name)
        for change in clock_changes(zone):
            old, new = shown(change - MICROSECOND, zone) + MICROSECOND, shown(change, zone)
            skips, repeats = skips + (new > old), repeats + (new < old)
            middle = old + (new - old) // 2
            serves = change if new > old else change - (old - middle)
            anchor, index = january_anchor(middle, zone)
            assert boundary(anchor, "month", index) == serves, (name, middle)
            if change < FORECAST:
                assert period_at(anchor, "month", serves).index == index
                assert period_at(anchor, "month", serves - MICROSECOND).index == index - 1
            assert first_instant_showing(old - MICROSECOND, zone) == change - MICROSECOND
            assert first_instant_showing(max(old, new), zone) == change + max(old - new, dt.timedelta())
    assert skips > 10_000 and repeats > 10_000


@pytest.mark.parametrize(
    ("zone", "day"),
    [("Pacific/Apia", "2011-12-30"), ("Pacific/Fakaofo", "2011-12-30"), ("Pacific/Kwajalein", "1993-08-21")],
)
def test_a_day_that_a_zone_left_out_is_no_part_of_any_period(zone: str, day: str) -> None:
    """H10: a period due on it, at any time, begins with the next day; the period before ends there."""
    midnight, place = dt.datetime.fromisoformat(day), zoneinfo.ZoneInfo(zone)
    next_day = first_instant_showing(midnight + DAY, place)
    assert next_day - first_instant_showing(midnight - DAY, place) == DAY
    for hours in (0, 12, 23):
        anchor, index = january_anchor(midnight + dt.timedelta(hours=hours), place)
        assert boundary(anchor, "month", index) == next_day
        assert 27 * DAY < next_day - boundary(anchor, "month", index - 1) < 32 * DAY
        assert 27 * DAY < boundary(anchor, "month", index + 1) - next_day < 32 * DAY


def january_anchor(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> tuple[Anchor, int]:
    """An anchor on that day and time in January 2005, when no clock changed; the number of the period due at `wall`."""
    start = wall.replace(year=2005, month=1, tzinfo=zone)
    assert shown(start.astimezone(dt.UTC), zone) == start.replace(tzinfo=None)
    return Anchor(start, zone.key), (wall.year - 2005) * 12 + wall.month - 1


def clock_changes(zone: zoneinfo.ZoneInfo) -> Iterator[dt.datetime]:
    """Every instant of four centuries, to the second, at which the offset of the zone becomes another."""
    offsets = list(map(zone.utcoffset, MIDNIGHTS))
    for number in compress(range(CYCLE), map(ne, offsets, offsets[1:])):
        # A midnight in UTC is within a day of the same midnight in any zone.
        yield _another_offset(in_utc(MIDNIGHTS[number] - DAY), in_utc(MIDNIGHTS[number + 1] + DAY), zone)


def _another_offset(start: dt.datetime, end: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """The first second after `start` at which the zone has another offset than there, as it has at `end`."""
    offset, second = start.astimezone(zone).utcoffset(), dt.timedelta(seconds=1)
    assert end.astimezone(zone).utcoffset() != offset
    while end - start > second:
        middle = start + (end - start) // 2
        middle -= dt.timedelta(microseconds=middle.microsecond)
        if middle.astimezone(zone).utcoffset() == offset:
            start = middle
        else:
            end = middle
    return end


def shown(instant: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """What a clock in the zone shows, without the zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)
