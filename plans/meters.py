"""Which conversations does a bill count, and by which meter? What the terms say of it, on the customer's clock. Pure.

A conversation counts by its tier, or, where the tier has a price for peak hours and the conversation settled within
them, by the tier's peak meter. Hours are local: a window is open from its first minute until just before its last on
every clock face that shows it, twice where clocks go back over it and never where they skip it. The database counts by
the same rule: it is handed the stretches of UTC that `peak_spans` makes of the windows, and knows of no time zones.
"""

import bisect
import datetime as dt
from collections.abc import Iterator
from typing import Final, get_args

import msgspec

from plans.calendar import time_zone
from plans.terms import PEAK, Day, PeakHours, Terms

DAYS: Final[tuple[str, ...]] = get_args(Day)
"""As the terms name them, Monday first."""
_DAY: Final = dt.timedelta(days=1)
_MINUTE: Final = dt.timedelta(minutes=1)
_MICROSECOND: Final = dt.timedelta(microseconds=1)

Stretch = tuple[dt.datetime, dt.datetime]
"""Half-open."""


class PeakWindow(msgspec.Struct, frozen=True):
    """Hours of the week: on `days` (0 is Monday), from minute `start` of the day until before minute `end`."""

    days: tuple[int, ...]
    start: int
    end: int


class Meters(msgspec.Struct, frozen=True):
    """How conversations are counted: which outcomes are billable (None: all), and what is counted apart at peak.

    `zone` is the IANA zone that the hours are kept in.
    """

    billable_outcomes: tuple[str, ...] | None = None
    peak_hours: tuple[PeakWindow, ...] | None = None
    peak_tiers: frozenset[str] = frozenset()
    zone: str = "UTC"


EVERYTHING: Final = Meters()
"""Every conversation, by its tier alone."""


def meters_of(terms: Terms, zone: str) -> Meters:
    """How these terms count conversations for a subscription that is kept in this zone."""
    return Meters(
        billable_outcomes=terms.billable_outcomes,
        peak_hours=None if terms.peak_hours is None else tuple(_window(hours) for hours in terms.peak_hours),
        peak_tiers=frozenset(tier for tier, rate in terms.rates.items() if rate.peak is not None),
        zone=zone,
    )


def _window(hours: PeakHours) -> PeakWindow:
    return PeakWindow(tuple(DAYS.index(day) for day in hours.days), _minutes(hours.from_), _minutes(hours.to))


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def meter_of(meters: Meters, tier: str, outcome: str | None, settled_at: dt.datetime) -> str | None:
    """The meter that counts a conversation; None: its outcome is not billable."""
    if meters.billable_outcomes is not None and outcome not in meters.billable_outcomes:
        return None
    return tier + PEAK if tier in meters.peak_tiers and is_peak(meters, settled_at) else tier


def is_peak(meters: Meters, instant: dt.datetime) -> bool:
    """Whether an instant (aware) lies in peak hours."""
    shown = instant.astimezone(time_zone(meters.zone))
    minute = shown.hour * 60 + shown.minute
    return any(
        shown.weekday() in window.days and window.start <= minute < window.end for window in meters.peak_hours or ()
    )


def peak_spans(meters: Meters, start: dt.datetime, end: dt.datetime) -> list[Stretch]:
    """The peak hours from `start` until before `end` (aware) as stretches of UTC; they may touch or overlap."""
    if not meters.peak_hours:
        return []
    return [
        (begin - offset, until - offset)
        for first, last, offset in _steady_clocks(meters.zone, start.astimezone(dt.UTC), end.astimezone(dt.UTC))
        for begin, until in _shown_at_peak(meters, first + offset, last + offset)
    ]


def _shown_at_peak(meters: Meters, start: dt.datetime, end: dt.datetime) -> Iterator[Stretch]:
    """The peak hours of a stretch of time on a clock that does not jump in it."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        for window in meters.peak_hours or ():
            begin, until = max(start, midnight + window.start * _MINUTE), min(end, midnight + window.end * _MINUTE)
            if midnight.weekday() in window.days and begin < until:
                yield begin, until
        midnight += _DAY


def _steady_clocks(
    name: str, start: dt.datetime, end: dt.datetime
) -> Iterator[tuple[dt.datetime, dt.datetime, dt.timedelta]]:
    """The stretches of time (UTC) in which clocks of a zone keep their offset from UTC, and that offset.

    No zone has changed its offset twice within a day since 1970, so looking once a day misses no change.
    """
    zone = time_zone(name)

    def offset_at(instant: dt.datetime) -> dt.timedelta:
        return instant.astimezone(zone).utcoffset() or dt.timedelta()

    def first_change(after: dt.datetime, before: dt.datetime) -> dt.datetime:
        passed = range((before - after) // _MICROSECOND)
        steps = bisect.bisect(passed, False, key=lambda step: offset_at(after + step * _MICROSECOND) != offset)
        return after + steps * _MICROSECOND

    begun = day = start
    while day < end:
        offset, following = offset_at(day), min(day + _DAY, end)
        if offset_at(following) != offset:
            change = first_change(day, following)
            yield begun, change, offset
            begun = change
        day = following
    if begun < end:
        yield begun, end, offset_at(begun)
