"""How long is "PT24H"? ISO 8601 durations of fixed length, as terms and tier schemes write them.

Years and months are refused, for they have no fixed length, and signs, for nothing here lasts less than no
time. Fractions are of seconds only, down to the microsecond, so that every duration read is exact.
"""

import datetime as dt
import re
from typing import Final

_FORM: Final = re.compile(
    r"P(?:(?P<weeks>\d{1,12})W)?(?:(?P<days>\d{1,12})D)?"
    r"(?P<time>T(?:(?P<hours>\d{1,12})H)?(?:(?P<minutes>\d{1,12})M)?"
    r"(?:(?P<seconds>\d{1,12})(?:\.(?P<fraction>\d{1,6}))?S)?)?",
    re.ASCII,
)
_SECOND = dt.timedelta(seconds=1)


class InvalidDuration(ValueError):
    """Not an ISO 8601 duration of fixed length, zero or more."""


def parse_duration(text: str) -> dt.timedelta:
    """ "PT24H", "P1D", "PT1H30M", "PT0.5S" -> timedelta, exactly. InvalidDuration for anything else."""
    form = _FORM.fullmatch(text)
    if form is None or text[-1] in "PT":
        raise InvalidDuration(f"{text!r} is not an ISO 8601 duration such as PT24H or P1D")
    part = {name: int(digits or 0) for name, digits in form.groupdict().items() if name not in ("time", "fraction")}
    microseconds = int((form["fraction"] or "").ljust(6, "0"))
    try:
        return dt.timedelta(**part, microseconds=microseconds)
    except OverflowError:
        raise InvalidDuration(f"{text!r} is too long") from None


def format_duration(duration: dt.timedelta) -> str:
    """The canonical form, without days because a day is not always 24 hours: "PT24H", "PT1H30M", "PT0S"."""
    if duration < dt.timedelta(0):
        raise InvalidDuration("a duration is never negative")
    seconds, rest = divmod(duration, _SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}H" if hours else ""
    text += f"{minutes}M" if minutes else ""
    if rest:
        text += f"{seconds}.{rest.microseconds:06}".rstrip("0") + "S"
    elif seconds or not text:
        text += f"{seconds}S"
    return f"PT{text}"
