"""How much of an amount for a whole period falls on a part of it?

By time over the *whole* period, to the microsecond: a day on which clocks change has 23 or 25 hours and counts as
such. `accrued` is for money that is billed in parts: it rounds what has come together since the period began, at the
part's end and at its start, and takes the difference. So the parts of any cut add up to the rounded whole, exactly.
"""

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from plans.money import take_share, to_minor


class PartOutsidePeriod(ValueError):
    """What is to be prorated does not lie within the whole period."""


class Span(Protocol):
    """Anything with a start and an end; half-open, aware."""

    @property
    def start(self) -> dt.datetime: ...
    @property
    def end(self) -> dt.datetime: ...


def accrued(amount: Decimal, currency: str, part: Span, whole: Span) -> int:
    """Minor units of an `amount` (major units for the whole period) that fall on `part`; or PartOutsidePeriod."""
    if _is_whole(part, whole):
        return to_minor(amount, currency)
    until_start, until_end = _elapsed(part, whole)
    return to_minor(take_share(amount, until_end), currency) - to_minor(take_share(amount, until_start), currency)


def prorate(amount: Decimal, part: Span, whole: Span) -> Decimal:
    """The share of `amount` that falls on `part`, by time over the `whole` period; for the caller to round.

    Exact where the share has a finite decimal, elsewhere so near that it rounds as the exact share would.
    """
    return take_share(amount, share_of(part, whole))


def share_of(part: Span, whole: Span) -> Fraction:
    """Which fraction of the time of `whole` is `part`, exactly; or PartOutsidePeriod."""
    if _is_whole(part, whole):
        return Fraction(1)
    until_start, until_end = _elapsed(part, whole)
    return until_end - until_start


def _is_whole(part: Span, whole: Span) -> bool:
    """Whether it is all of the period, as nearly always; nothing has to be divided then."""
    return part.start == whole.start < whole.end == part.end


def _elapsed(part: Span, whole: Span) -> tuple[Fraction, Fraction]:
    """Which fractions of the time of `whole` have passed when `part` begins and when it ends."""
    if not (whole.start <= part.start <= part.end <= whole.end and whole.start < whole.end):
        raise PartOutsidePeriod(f"{part} is not within {whole}")
    microsecond = dt.timedelta(microseconds=1)
    length = (whole.end - whole.start) // microsecond
    return (
        Fraction((part.start - whole.start) // microsecond, length),
        Fraction((part.end - whole.start) // microsecond, length),
    )
