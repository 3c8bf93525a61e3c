"""What may a plan version agree? The terms of a plan, as structs, and the reading of them from JSON.

Prices and amounts are strings of decimal major units; a JSON number is refused, for it may have been a float.
`parse_terms` names everything that is wrong at once, each with a JSON pointer; `terms_to_json` is the
canonical form, which reads back as the same terms.
"""

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar, cast

import msgspec

from plans.durations import InvalidDuration, format_duration, parse_duration
from plans.money import UnknownCurrency, chargeable_digits, format_price, round_half_away

MAX_AMOUNT: Final = 10**12
MAX_QUANTITY: Final = 10**12
MAX_STEPS: Final = 100
MAX_TIERS: Final = 100
MAX_CODE_LENGTH: Final = 64
DEFAULT_GRACE: Final = dt.timedelta(hours=1)
MAX_GRACE: Final = dt.timedelta(days=31)

NOT_YET: Final = ("pool", "minimum", "maximum", "trial_days", "rollover", "billable_outcomes")
"""Terms that a later release will bring; until then they can only be null (trial_days also 0)."""

_DECIMAL: Final = re.compile(r"\d{1,13}(\.\d{1,12})?", re.ASCII)
_PLACED: Final = re.compile(r"(?P<detail>.*) - at `\$(?P<path>[^`]*)`", re.DOTALL)
_PATH_PART: Final = re.compile(r"\.([a-z_]+)|\[(\d+)\]")
_NAMED_FIELD: Final = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)

T = TypeVar("T")
NO_DECIMAL: Final = "must be a decimal number such as 0.05, not negative, with at most 12 decimals"

Mistake = tuple[str, str]
"""A JSON pointer and what is wrong there."""


class InvalidTerms(ValueError):
    """The terms cannot be agreed to; `errors` lists every (JSON pointer, detail)."""

    def __init__(self, errors: list[Mistake]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{pointer or '/'}: {detail}" for pointer, detail in errors))


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Overage units up to and including number `up_to` (None: all further), at `unit` each plus `flat` once."""

    up_to: int | None = None
    unit: Decimal = Decimal(0)
    flat: Decimal = Decimal(0)


class Flat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="flat"):
    """Every overage unit at the same price."""

    unit: Decimal


class Graduated(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="graduated"
):
    """Each overage unit at the price of the step it lies in."""

    steps: tuple[Step, ...]


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="volume"):
    """All overage units at the price of the step that their number falls into."""

    steps: tuple[Step, ...]


class Package(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="package"):
    """Overage sold in packages of `size` at `amount` each; one begun is one paid."""

    size: int
    amount: Decimal


Price = Flat | Graduated | Volume | Package


class TierRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What conversations of one tier cost: so many `included` in the base fee each period, then `price`."""

    included: int = 0
    price: Price


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan version agrees: `base_fee` (major units) each `interval` in advance, `rates` by tier code."""

    currency: str
    interval: Literal["month", "year"]
    base_fee: Decimal
    tier_scheme: str = "default"
    rates: dict[str, TierRate]
    pool: None = None
    minimum: None = None
    maximum: None = None
    trial_days: Literal[0] = 0
    grace: dt.timedelta = DEFAULT_GRACE
    rollover: None = None
    billable_outcomes: None = None


def parse_terms(raw: object) -> Terms:
    """Terms from decoded JSON (dict, list, str, int), or InvalidTerms with everything found wrong."""
    if not isinstance(raw, dict):
        raise InvalidTerms([("", "must be an object")])
    errors = list(_not_yet_errors(raw))
    head = {name: value for name, value in raw.items() if name not in (*NOT_YET, "rates", "grace")}
    terms = _decode(head | {"rates": {}}, Terms, "", errors)
    if terms is not None:
        errors.extend(_head_errors(terms, raw["base_fee"]))
    rates = _read_rates(raw.get("rates"), errors)
    grace = _read_grace(raw["grace"], errors) if "grace" in raw else DEFAULT_GRACE
    if terms is None or errors:
        raise InvalidTerms(errors)
    return msgspec.structs.replace(terms, rates=rates, grace=grace)


def terms_to_json(terms: Terms) -> dict[str, Any]:
    """The canonical JSON form: the currency's decimals at least, hours rather than days, no flat fee of zero."""
    written = msgspec.to_builtins(terms, builtin_types=(Decimal, dt.timedelta))
    written["base_fee"] = format_price(terms.base_fee, terms.currency)
    written["grace"] = format_duration(terms.grace)
    written["rates"] = {
        tier: {"included": rate.included, "price": _price_to_json(rate.price, terms.currency)}
        for tier, rate in terms.rates.items()
    }
    return cast(dict[str, Any], written)


def _price_to_json(price: Price, currency: str) -> dict[str, Any]:
    match price:
        case Flat(unit=unit):
            return {"model": "flat", "unit": format_price(unit, currency)}
        case Package(size=size, amount=amount):
            return {"model": "package", "size": size, "amount": format_price(amount, currency)}
        case Graduated(steps=steps):
            return {"model": "graduated", "steps": [_step_to_json(step, currency) for step in steps]}
        case Volume(steps=steps):
            return {"model": "volume", "steps": [_step_to_json(step, currency) for step in steps]}


def _step_to_json(step: Step, currency: str) -> dict[str, Any]:
    written: dict[str, Any] = {} if step.up_to is None else {"up_to": step.up_to}
    written["unit"] = format_price(step.unit, currency)
    if step.flat:
        written["flat"] = format_price(step.flat, currency)
    return written


def _not_yet_errors(raw: dict[str, Any]) -> Iterator[Mistake]:
    for name in NOT_YET:
        value = raw.get(name)
        nothing = value is None or (name == "trial_days" and type(value) is int and value == 0)
        if not nothing:
            yield f"/{name}", "is not available yet; leave it out or null"


def _head_errors(terms: Terms, base_fee: object) -> Iterator[Mistake]:
    if not 1 <= len(terms.tier_scheme) <= MAX_CODE_LENGTH:
        yield "/tier_scheme", f"must have 1 to {MAX_CODE_LENGTH} characters"
    mistakes = list(_amount_errors(base_fee, "/base_fee"))
    yield from mistakes
    try:
        digits = chargeable_digits(terms.currency)
    except UnknownCurrency as unknown:
        yield "/currency", str(unknown)
    else:
        if not mistakes and round_half_away(terms.base_fee, digits) != terms.base_fee:
            yield "/base_fee", f"can have at most {digits} decimals in {terms.currency}"


def _read_grace(raw: object, errors: list[Mistake]) -> dt.timedelta:
    try:
        grace = parse_duration(raw) if isinstance(raw, str) else None
    except InvalidDuration as invalid:
        errors.append(("/grace", str(invalid)))
        return MAX_GRACE
    if grace is None or grace > MAX_GRACE:
        errors.append(("/grace", "must be an ISO 8601 duration of at most 31 days, such as PT1H"))
    return grace or dt.timedelta(0)


def _read_rates(raw: object, errors: list[Mistake]) -> dict[str, TierRate]:
    if not isinstance(raw, dict) or not 1 <= len(raw) <= MAX_TIERS:
        errors.append(("/rates", f"must be an object that prices 1 to {MAX_TIERS} tiers"))
        return {}
    rates = {}
    for tier, raw_rate in raw.items():
        pointer = f"/rates/{tier.replace('~', '~0').replace('/', '~1')}"
        if not 1 <= len(tier) <= MAX_CODE_LENGTH:
            errors.append((pointer, f"a tier's code has 1 to {MAX_CODE_LENGTH} characters"))
        rate = _decode(raw_rate, TierRate, pointer, errors)
        if rate is not None:
            errors.extend(_quantity_errors(rate.included, 0, f"{pointer}/included"))
            errors.extend(_price_errors(rate.price, raw_rate["price"], f"{pointer}/price"))
            rates[tier] = rate
    return rates


def _price_errors(price: Price, raw: dict[str, Any], pointer: str) -> Iterator[Mistake]:
    match price:
        case Flat():
            yield from _amount_errors(raw["unit"], f"{pointer}/unit")
        case Package(size=size):
            yield from _quantity_errors(size, 1, f"{pointer}/size")
            yield from _amount_errors(raw["amount"], f"{pointer}/amount")
        case Graduated(steps=steps) | Volume(steps=steps):
            if not 1 <= len(steps) <= MAX_STEPS:
                yield f"{pointer}/steps", f"must have 1 to {MAX_STEPS} steps"
            for number, raw_step in enumerate(raw["steps"]):
                for name in ("unit", "flat"):
                    if name in raw_step:
                        yield from _amount_errors(raw_step[name], f"{pointer}/steps/{number}/{name}")
            yield from _bound_errors([step.up_to for step in steps], f"{pointer}/steps")


def _bound_errors(bounds: list[int | None], pointer: str) -> Iterator[Mistake]:
    previous = 0
    for number, bound in enumerate(bounds):
        place = f"{pointer}/{number}/up_to"
        last = number == len(bounds) - 1
        if bound is None:
            if not last:
                yield place, "is required; only the last step is open-ended"
            continue
        if last:
            yield place, "must be left out or null: the last step is open-ended"
        if bound <= previous:
            yield place, f"must be greater than {previous}, where the step before ends"
        yield from _quantity_errors(bound, None, place)
        previous = max(bound, previous)


def _quantity_errors(quantity: int, least: int | None, pointer: str) -> Iterator[Mistake]:
    if least is not None and quantity < least:
        yield pointer, f"must be at least {least}"
    if quantity > MAX_QUANTITY:
        yield pointer, f"must be at most {MAX_QUANTITY}"


def _amount_errors(raw: object, pointer: str) -> Iterator[Mistake]:
    if not isinstance(raw, str):
        yield pointer, 'must be a string of decimal major units, such as "0.05"'
    elif not _DECIMAL.fullmatch(raw):
        yield pointer, NO_DECIMAL
    elif Decimal(raw) > MAX_AMOUNT:
        yield pointer, f"must be at most {MAX_AMOUNT}"


def _decode(raw: object, wanted: type[T], pointer: str, errors: list[Mistake]) -> T | None:
    """`raw` as a `wanted` struct; where its structure is wrong, None and the first error of it added."""
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as wrong:
        detail = str(wrong)
    if placed := _PLACED.fullmatch(detail):
        detail = placed["detail"]
        pointer += "".join(f"/{name or number}" for name, number in _PATH_PART.findall(placed["path"]))
    if detail == "Invalid decimal string":
        detail = NO_DECIMAL
    if named := _NAMED_FIELD.fullmatch(detail):
        pointer += f"/{named[2].replace('~', '~0').replace('/', '~1')}"
        detail = "is required" if named[1] == "missing required" else "is not a known field"
    errors.append((pointer, detail))
    return None
