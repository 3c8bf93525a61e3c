"""When does a period begin and end?

Periods are anchored, half-open and kept in the customer's time zone. Period n begins at the anchor's local
wall clock n months (or years) later, or earlier where n is negative, always computed from the anchor and never
from the period before: 31 January is followed by 28 February and 31 March. They have no first and no last: the
life of a subscription is cut out of them by its owner. One rule covers daylight saving: a period begins at the
first instant at which the customer's clock shows the wanted time or a later one. So a time that the clock
skips becomes the first instant after the gap, and a time that it shows twice means the first.
"""

import datetime as dt
import functools
import zoneinfo
from calendar import monthrange
from typing import Final, Literal

import msgspec

Interval = Literal["month", "year"]

MONTHS_IN: Final[dict[Interval, int]] = {"month": 1, "year": 12}

_NOT_A_PLACE = frozenset({"Factory", "localtime"})
"""Names in some systems' zone folders that mean "whatever this machine is set to"."""


class UnknownZone(ValueError):
    """Not the name of an IANA time zone."""


class Anchor(msgspec.Struct, frozen=True):
    """Where periods hang: an instant (aware) at which one of them begins, and the IANA zone they are kept in."""

    starts_at: dt.datetime
    zone: str

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None:
            raise ValueError("an anchor needs an instant with an offset")
        time_zone(self.zone)


class Period(msgspec.Struct, frozen=True):
    """Period `index` (0 begins at the anchor): from `start`, up to but not including `end`, both in UTC."""

    index: int
    start: dt.datetime
    end: dt.datetime


def time_zone(name: str) -> zoneinfo.ZoneInfo:
    """The IANA time zone of that name, or UnknownZone."""
    if name not in _zone_names():
        raise UnknownZone(f"{name!r} is not the name of an IANA time zone, such as Europe/Berlin")
    return zoneinfo.ZoneInfo(name)


def period_at(anchor: Anchor, interval: Interval, instant: dt.datetime) -> Period:
    """The period that holds `instant` (aware); its index is negative before the anchor."""
    zone = time_zone(anchor.zone)
    first, wanted = anchor.starts_at.astimezone(zone), instant.astimezone(zone)
    months = (wanted.year - first.year) * 12 + wanted.month - first.month
    index = months // MONTHS_IN[interval]
    while boundary(anchor, interval, index) > instant:
        index -= 1
    while boundary(anchor, interval, index + 1) <= instant:
        index += 1
    return period(anchor, interval, index)


def period(anchor: Anchor, interval: Interval, index: int) -> Period:
    """Period `index`: 0 begins at the anchor, -1 ends there."""
    return Period(index, boundary(anchor, interval, index), boundary(anchor, interval, index + 1))


@functools.lru_cache(maxsize=10_000)  # a bill asks for the same few some thirty times
def boundary(anchor: Anchor, interval: Interval, index: int) -> dt.datetime:
    """The instant (UTC) at which period `index` begins and the one before ends. Boundary 0 is the anchor."""
    if index == 0:
        return anchor.starts_at.astimezone(dt.UTC)
    zone = time_zone(anchor.zone)
    return first_instant_showing(_months_later(_shown(anchor.starts_at, zone), index * MONTHS_IN[interval]), zone)


def days_later(instant: dt.datetime, days: int, zone: str) -> dt.datetime:
    """The first instant (UTC) at which clocks in the IANA zone `zone` show the same time `days` (0 or more) later.

    No days later is `instant` itself, even where clocks show its time for the second time.
    """
    if days == 0:
        return instant.astimezone(dt.UTC)
    place = time_zone(zone)
    return first_instant_showing(_shown(instant, place) + dt.timedelta(days), place)


def first_instant_showing(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """The first instant (UTC) at which clocks in `zone` show the naive `wall` time, or a later one."""
    # PEP 495: where clocks show `wall` twice, fold=0 is the first time and has the greater offset; where they
    # skip it, fold=0 has the smaller offset and falls after the jump, fold=1 before it; elsewhere they agree.
    after = wall.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    before = wall.replace(tzinfo=zone, fold=1).astimezone(dt.UTC)
    if after <= before:
        return after
    while after - before > dt.timedelta(microseconds=1):
        middle = before + (after - before) // 2
        if _shown(middle, zone) >= wall:
            after = middle
        else:
            before = middle
    return after


def _months_later(wall: dt.datetime, months: int) -> dt.datetime:
    """The same day and time `months` later; where that month is shorter, its last day."""
    years, month = divmod(wall.month - 1 + months, 12)
    year, month = wall.year + years, month + 1
    return dt.datetime.combine(dt.date(year, month, min(wall.day, monthrange(year, month)[1])), wall.time())


def _shown(instant: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """What a clock in `zone` shows at that instant, without the zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


@functools.cache
def _zone_names() -> frozenset[str]:
    """Read once. Just opening a zone would also find right/UTC, with its leap seconds, and localtime."""
    return frozenset(zoneinfo.available_timezones()) - _NOT_A_PLACE
