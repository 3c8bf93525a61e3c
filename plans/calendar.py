"""When does a period begin and end?

Periods are anchored, half-open and kept in the customer's time zone. Period n begins at the anchor's local
wall clock n months (or years) later, always computed from the anchor and never from the period before:
31 January is followed by 28 February and 31 March. One rule covers daylight saving: a period begins at the
first instant at which the customer's clock shows the wanted time or a later one. So a time that the clock
skips becomes the first instant after the gap, and a time that it shows twice means the first.
"""

import datetime as dt
import functools
import zoneinfo
from calendar import monthrange
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Final, Literal, Protocol

import msgspec

Interval = Literal["month", "year"]

MONTHS_IN: Final[dict[Interval, int]] = {"month": 1, "year": 12}

_NOT_A_PLACE = frozenset({"Factory", "localtime"})
"""Names in some systems' zone folders that mean "whatever this machine is set to"."""

_DIGITS_TO_SPARE: Final = 60
"""Digits kept beyond the amount's own when a share of it is taken. A share is a ratio of microseconds: where
it is not exactly half a cent, it misses the half by far more than the last of these digits."""


class UnknownZone(ValueError):
    """Not the name of an IANA time zone."""


class BeforeAnchor(ValueError):
    """The instant or period lies before the subscription began."""


class PartOutsidePeriod(ValueError):
    """What is to be prorated does not lie within the whole period."""


class Span(Protocol):
    """Anything with a start and an end; half-open, aware."""

    @property
    def start(self) -> dt.datetime: ...
    @property
    def end(self) -> dt.datetime: ...


class Anchor(msgspec.Struct, frozen=True):
    """Where a subscription's periods hang: its first instant (aware) and the IANA zone they are kept in."""

    starts_at: dt.datetime
    zone: str

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None:
            raise ValueError("an anchor needs an instant with an offset")
        time_zone(self.zone)


class Period(msgspec.Struct, frozen=True):
    """Period `index` (0 is the first): from `start`, up to but not including `end`, both in UTC."""

    index: int
    start: dt.datetime
    end: dt.datetime


def time_zone(name: str) -> zoneinfo.ZoneInfo:
    """The IANA time zone of that name, or UnknownZone."""
    if name not in _zone_names():
        raise UnknownZone(f"{name!r} is not the name of an IANA time zone, such as Europe/Berlin")
    return zoneinfo.ZoneInfo(name)


def period_at(anchor: Anchor, interval: Interval, instant: dt.datetime) -> Period:
    """The period that holds `instant` (aware). BeforeAnchor when the subscription had not begun by then."""
    if instant < anchor.starts_at:
        raise BeforeAnchor(f"{instant.isoformat()} is before the start, {anchor.starts_at.isoformat()}")
    zone = time_zone(anchor.zone)
    first, wanted = anchor.starts_at.astimezone(zone), instant.astimezone(zone)
    months = (wanted.year - first.year) * 12 + wanted.month - first.month
    index = max(months // MONTHS_IN[interval], 0)
    while boundary(anchor, interval, index) > instant:
        index -= 1
    while boundary(anchor, interval, index + 1) <= instant:
        index += 1
    return period(anchor, interval, index)


def period(anchor: Anchor, interval: Interval, index: int) -> Period:
    """Period `index`, counted from 0 at the anchor."""
    return Period(index, boundary(anchor, interval, index), boundary(anchor, interval, index + 1))


def boundary(anchor: Anchor, interval: Interval, index: int) -> dt.datetime:
    """The instant (UTC) at which period `index` begins and the one before ends. Boundary 0 is the anchor."""
    if index < 0:
        raise BeforeAnchor(f"there is no period {index}")
    zone = time_zone(anchor.zone)
    if index == 0:
        return anchor.starts_at.astimezone(dt.UTC)
    wall = anchor.starts_at.astimezone(zone).replace(tzinfo=None)
    return first_instant_showing(_months_later(wall, index * MONTHS_IN[interval]), zone)


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


def prorate(amount: Decimal, part: Span, whole: Span) -> Decimal:
    """The share of `amount` that falls on `part`, by time over the `whole` period; for the caller to round.

    Exact where the share has a finite decimal, elsewhere so near that it rounds as the exact share would.
    """
    share = share_of(part, whole)
    digits = max(len(amount.as_tuple().digits), amount.adjusted() + 1)
    with localcontext(Context(prec=digits + _DIGITS_TO_SPARE)):
        return amount * share.numerator / share.denominator


def share_of(part: Span, whole: Span) -> Fraction:
    """Which fraction of the time of `whole` is `part`, exactly; or PartOutsidePeriod."""
    if not (whole.start <= part.start <= part.end <= whole.end and whole.start < whole.end):
        raise PartOutsidePeriod(f"{part} is not within {whole}")
    microsecond = dt.timedelta(microseconds=1)
    return Fraction((part.end - part.start) // microsecond, (whole.end - whole.start) // microsecond)


def _months_later(wall: dt.datetime, months: int) -> dt.datetime:
    """The same day and time `months` later; where that month is shorter, its last day."""
    years, month = divmod(wall.month - 1 + months, 12)
    year, month = wall.year + years, month + 1
    return wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]), fold=0)


def _shown(instant: dt.datetime, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """What a clock in `zone` shows at that instant, without the zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


@functools.cache
def _zone_names() -> frozenset[str]:
    """Read once. Just opening a zone would also find right/UTC, with its leap seconds, and localtime."""
    return frozenset(zoneinfo.available_timezones()) - _NOT_A_PLACE
