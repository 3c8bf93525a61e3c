"""Can these terms be agreed to? The reading of a plan version's terms from JSON; everything wrong is named at once.

Each member is read by itself, so that one mistake hides no other; what concerns several members together (the
currency's decimals, a minimum above the maximum, a tier that is priced twice) is looked at where they could be read.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from plans.durations import InvalidDuration, parse_duration
from plans.money import UnknownCurrency, chargeable_digits, round_half_away
from plans.price_reading import read_price
from plans.strict_reading import (
    MAX_QUANTITY,
    Mistake,
    Mistakes,
    Reader,
    below,
    decode,
    object_reader,
    quantity_reader,
    read_amount,
    read_members,
    type_reader,
)
from plans.terms import PEAK, POOL, Committed, Day, PeakHours, Pool, Rate, Rollover, Terms, TierRate

MAX_TIERS: Final = 100
MAX_CODE_LENGTH: Final = 64
MAX_GRACE: Final = dt.timedelta(days=31)
MAX_WEIGHT: Final = 10**6
MAX_PEAK_HOURS: Final = 50
MAX_OUTCOMES: Final = 20
MAX_LABEL_LENGTH: Final = 64
MAX_TRIAL_DAYS: Final = 730
MAX_ROLLOVER_PERIODS: Final = 36

_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


class InvalidTerms(ValueError):
    """The terms cannot be agreed to; `errors` lists every (JSON pointer, detail)."""

    def __init__(self, errors: Mistakes) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{pointer or '/'}: {detail}" for pointer, detail in errors))


def parse_terms(raw: object) -> Terms:
    """Terms from decoded JSON (dict, list, str, int), or InvalidTerms with everything found wrong."""
    mistakes: Mistakes = []
    read = read_members(raw, Terms, TERMS, "", mistakes)
    if isinstance(raw, dict):
        mistakes.extend(_tier_errors(raw, read))
        mistakes.extend(_amount_errors(read))
        mistakes.extend(_peak_errors(raw, read))
    if mistakes:
        raise InvalidTerms(mistakes)
    return Terms(**read)


def _tier_errors(raw: dict[str, Any], read: dict[str, Any]) -> Iterator[Mistake]:
    """Every tier is priced once, and there is at least one."""
    if raw.get("pool") is None and raw.get("rates", {}) == {}:
        yield "/rates", f"must be an object that prices 1 to {MAX_TIERS} tiers"
    pool: Pool | None = read.get("pool")
    if pool is None:
        return
    for tier in read.get("rates", ()):
        if tier in pool.weights:
            yield below("/pool/weights", tier), "has a rate of its own as well"
        if tier == POOL:
            yield below("/rates", tier), "cannot be told from the credits of the pool"


def _amount_errors(read: dict[str, Any]) -> Iterator[Mistake]:
    """What is due must be payable in the currency, and can be no less than it is at most."""
    amounts = {name: read[name] for name in ("base_fee", "minimum", "maximum") if read.get(name) is not None}
    if "currency" in read:
        digits = chargeable_digits(read["currency"])
        for name, amount in amounts.items():
            if round_half_away(amount, digits) != amount:
                yield f"/{name}", f"can have at most {digits} decimals in {read['currency']}"
    if "minimum" in amounts and "maximum" in amounts and amounts["minimum"] > amounts["maximum"]:
        yield "/minimum", "must not be greater than the maximum"


def _peak_errors(raw: dict[str, Any], read: dict[str, Any]) -> Iterator[Mistake]:
    """Peak prices need peak hours, and the other way round."""
    rates: dict[str, TierRate] = read.get("rates", {})
    at_peak = [tier for tier, rate in rates.items() if rate.peak is not None]
    if raw.get("peak_hours") is None:
        for tier in at_peak:
            yield below("/rates", tier) + "/peak", "needs peak_hours"
    elif "rates" in read and not at_peak:
        yield "/peak_hours", "no rate has a price at peak hours"


def _read_currency(raw: Any, pointer: str, mistakes: Mistakes) -> str | None:
    currency: str | None = decode(raw, str, pointer, mistakes)
    try:
        if currency is not None:
            chargeable_digits(currency)
    except UnknownCurrency as unknown:
        mistakes.append((pointer, str(unknown)))
        return None
    return currency


def _read_scheme(raw: Any, pointer: str, mistakes: Mistakes) -> str | None:
    code: str | None = decode(raw, str, pointer, mistakes)
    if code is not None and not 1 <= len(code) <= MAX_CODE_LENGTH:
        mistakes.append((pointer, f"must have 1 to {MAX_CODE_LENGTH} characters"))
    return code


def _read_grace(raw: Any, pointer: str, mistakes: Mistakes) -> dt.timedelta | None:
    try:
        grace = parse_duration(raw) if isinstance(raw, str) else None
    except InvalidDuration as invalid:
        mistakes.append((pointer, str(invalid)))
        return None
    if grace is None or grace > MAX_GRACE:
        mistakes.append((pointer, "must be an ISO 8601 duration of at most 31 days, such as PT1H"))
    return grace


def _read_rates(raw: Any, pointer: str, mistakes: Mistakes) -> dict[str, TierRate] | None:
    """Rates by tier; whether there may be none is for `_tier_errors` to say."""
    if not isinstance(raw, dict) or len(raw) > MAX_TIERS:
        mistakes.append((pointer, f"must be an object that prices 1 to {MAX_TIERS} tiers"))
        return None
    return _read_by_tier(raw, object_reader(TierRate, RATE | {"peak": object_reader(Rate, RATE)}), pointer, mistakes)


def _read_weights(raw: Any, pointer: str, mistakes: Mistakes) -> dict[str, int] | None:
    if not isinstance(raw, dict) or not 1 <= len(raw) <= MAX_TIERS:
        mistakes.append((pointer, f"must be an object that weighs 1 to {MAX_TIERS} tiers"))
        return None
    return _read_by_tier(raw, quantity_reader(1, MAX_WEIGHT), pointer, mistakes)


def _read_by_tier(raw: dict[str, Any], reader: Reader, pointer: str, mistakes: Mistakes) -> dict[str, Any] | None:
    before = len(mistakes)
    read = {}
    for tier, value in raw.items():
        place = below(pointer, tier)
        if not 1 <= len(tier) <= MAX_CODE_LENGTH:
            mistakes.append((place, f"a tier's code has 1 to {MAX_CODE_LENGTH} characters"))
        if "@" in tier:
            mistakes.append((place, f'a tier\'s code has no "@"; a price for peak hours is the member {PEAK[1:]}'))
        read[tier] = reader(value, place, mistakes)
    return None if len(mistakes) > before else read


def _read_peak_hours(raw: Any, pointer: str, mistakes: Mistakes) -> tuple[PeakHours, ...] | None:
    if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_PEAK_HOURS:
        mistakes.append((pointer, f"must be a list of 1 to {MAX_PEAK_HOURS} stretches of hours"))
        return None
    read = [_read_hours(stretch, f"{pointer}/{number}", mistakes) for number, stretch in enumerate(raw)]
    hours = tuple(stretch for stretch in read if stretch is not None)
    return hours if len(hours) == len(read) else None


def _read_hours(raw: Any, pointer: str, mistakes: Mistakes) -> PeakHours | None:
    hours: PeakHours | None = object_reader(PeakHours, PEAK_HOURS)(raw, pointer, mistakes)
    if hours is not None and hours.from_ >= hours.to:
        mistakes.append((f"{pointer}/to", "must be later than from; hours past midnight are those of the next day"))
    return hours


def _time_reader(*, end: bool) -> Reader:
    """A reader of "HH:MM"; of the time at which a stretch ends, also "24:00"."""

    def read(raw: Any, pointer: str, mistakes: Mistakes) -> str | None:
        if isinstance(raw, str) and (_TIME.fullmatch(raw) or (end and raw == "24:00")):
            return raw
        mistakes.append((pointer, f"must be a time from 00:00 to {'24:00' if end else '23:59'}"))
        return None

    return read


def _read_days(raw: Any, pointer: str, mistakes: Mistakes) -> tuple[Day, ...] | None:
    days: tuple[Day, ...] | None = decode(raw, tuple[Day, ...], pointer, mistakes)
    if days is not None and not 0 < len(days) == len(set(days)):
        mistakes.append((pointer, "must name at least one day, and each once"))
    return days


def _read_outcomes(raw: Any, pointer: str, mistakes: Mistakes) -> tuple[str, ...] | None:
    outcomes: tuple[str, ...] | None = decode(raw, tuple[str, ...], pointer, mistakes)
    if outcomes is None:
        return None
    if not 1 <= len(outcomes) <= MAX_OUTCOMES or len(set(outcomes)) < len(outcomes):
        mistakes.append((pointer, f"must be 1 to {MAX_OUTCOMES} different outcomes"))
    for number, outcome in enumerate(outcomes):
        if not 1 <= len(outcome) <= MAX_LABEL_LENGTH:
            mistakes.append((f"{pointer}/{number}", f"must have 1 to {MAX_LABEL_LENGTH} characters"))
    return outcomes


_count: Final = quantity_reader(0, MAX_QUANTITY)

COMMITTED: Final[Mapping[str, Reader]] = {"quantity": quantity_reader(1, MAX_QUANTITY), "unit": read_amount}
RATE: Final[dict[str, Reader]] = {
    "included": _count,
    "price": read_price,
    "committed": object_reader(Committed, COMMITTED),
}
PEAK_HOURS: Final[Mapping[str, Reader]] = {
    "days": _read_days,
    "from": _time_reader(end=False),
    "to": _time_reader(end=True),
}
POOLED: Final[Mapping[str, Reader]] = {"credits": _count, "weights": _read_weights, "overage": read_price}
ROLLOVER: Final[Mapping[str, Reader]] = {
    "periods": quantity_reader(1, MAX_ROLLOVER_PERIODS),
    "maximum": quantity_reader(1, MAX_QUANTITY),
}
TERMS: Final[Mapping[str, Reader]] = {
    "currency": _read_currency,
    "interval": type_reader(Terms.__annotations__["interval"]),
    "base_fee": read_amount,
    "tier_scheme": _read_scheme,
    "rates": _read_rates,
    "peak_hours": _read_peak_hours,
    "pool": object_reader(Pool, POOLED),
    "minimum": read_amount,
    "maximum": read_amount,
    "trial_days": quantity_reader(0, MAX_TRIAL_DAYS),
    "trial_usage": type_reader(Terms.__annotations__["trial_usage"]),
    "grace": _read_grace,
    "rollover": object_reader(Rollover, ROLLOVER),
    "billable_outcomes": _read_outcomes,
}
