"""What may a plan version agree? The terms of a plan as structs, the meters they price, and their canonical JSON.

A meter is what is counted and priced apart: a tier ("standard"), the conversations of a tier that settle at peak hours
("standard@peak"), or the credits of a pool ("pool"). `terms_reading.parse_terms` reads the canonical form back as the
same terms.
"""

import datetime as dt
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Struct, field

from plans.durations import format_duration
from plans.money import format_price

DEFAULT_GRACE: Final = dt.timedelta(hours=1)
PEAK: Final = "@peak"
"""What a tier's code ends in where its conversations at peak hours are meant. No code of a tier contains an "@"."""
POOL: Final = "pool"
"""The meter that counts credits."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Overage units up to and including number `up_to` (None: all further), at `unit` each plus `flat` once."""

    up_to: int | None = None
    unit: Decimal = Decimal(0)
    flat: Decimal = Decimal(0)


class Flat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="flat"):
    """Every overage unit at the same price."""

    unit: Decimal


class Graduated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="graduated"):
    """Each overage unit at the price of the step it lies in."""

    steps: tuple[Step, ...]


class Volume(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="volume"):
    """All overage units at the price of the step that their number falls into."""

    steps: tuple[Step, ...]


class Package(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="package"):
    """Overage sold in packages of `size` at `amount` each; one begun is one paid."""

    size: int
    amount: Decimal


Price = Flat | Graduated | Volume | Package


class Committed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first `quantity` overage units of a period at `unit` each, due whether used or not."""

    quantity: int
    unit: Decimal


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the units of one meter cost: so many `included` in each period, then the `committed` ones, then `price`.

    The steps of `price` count from the first unit beyond the included and the committed ones.
    """

    included: int = 0
    price: Price
    committed: Committed | None = None


class TierRate(Rate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rate of a tier's conversations; with `peak` that of all outside the peak hours, and `peak` of those in them.

    Without `peak` a conversation costs the same at any hour.
    """

    peak: Rate | None = None


class PeakHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the week, on the subscription's clock: on `days`, at or after `from` and before `to`, as "HH:MM"."""

    days: tuple[Day, ...]
    from_: str = field(name="from")
    to: str


class Pool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One allowance of `credits` a period, for several tiers; each conversation takes its tier's weight of it."""

    credits: int
    weights: dict[str, int]
    overage: Price


class Rollover(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left of an allowance is usable in so many following `periods`; `maximum` caps what a meter carries."""

    periods: int
    maximum: int | None = None


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan version agrees; amounts in major units.

    `base_fee` is due each `interval` in advance. Base fee and usage of a period, after discounts, come to `minimum` at
    least and `maximum` at most. Conversations whose outcome is not among `billable_outcomes` are not counted (None: all
    are). `trial_days` have no base fee, and with a `trial_usage` of "free" nothing else to pay either.
    """

    currency: str
    interval: Literal["month", "year"]
    base_fee: Decimal
    tier_scheme: str = "default"
    rates: dict[str, TierRate] = {}
    peak_hours: tuple[PeakHours, ...] | None = None
    pool: Pool | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    trial_days: int = 0
    trial_usage: Literal["billed", "free"] = "billed"
    grace: dt.timedelta = DEFAULT_GRACE
    rollover: Rollover | None = None
    billable_outcomes: tuple[str, ...] | None = None


def meters(terms: Terms) -> dict[str, Rate]:
    """The rate of each meter that the terms price, in their order; a tier's peak follows it, the pool comes last."""
    priced: dict[str, Rate] = {}
    for tier, rate in terms.rates.items():
        priced[tier] = rate
        if rate.peak is not None:
            priced[tier + PEAK] = rate.peak
    if terms.pool is not None:
        priced[POOL] = Rate(included=terms.pool.credits, price=terms.pool.overage)
    return priced


def priced_tiers(terms: Terms) -> set[str]:
    """The codes of the tiers that the terms price, by a rate of their own or through the pool."""
    return {*terms.rates, *(terms.pool.weights if terms.pool else ())}


def terms_to_json(terms: Terms) -> dict[str, Any]:
    """The canonical JSON form: the currency's decimals at least, hours rather than days, no flat fee of zero, and
    neither commitment nor peak price where a rate has none."""
    currency = terms.currency
    written = cast(dict[str, Any], msgspec.to_builtins(terms, builtin_types=(Decimal, dt.timedelta)))
    for name in ("base_fee", "minimum", "maximum"):
        if written[name] is not None:
            written[name] = format_price(written[name], currency)
    for name in ("peak_hours", "billable_outcomes"):
        written[name] = _listed(written[name])
    for hours in written["peak_hours"] or ():
        hours["days"] = list(hours["days"])
    if terms.pool is not None:
        written["pool"]["overage"] = _price_to_json(terms.pool.overage, currency)
    written["grace"] = format_duration(terms.grace)
    written["rates"] = {tier: _rate_to_json(rate, currency) for tier, rate in terms.rates.items()}
    return written


def _rate_to_json(rate: Rate, currency: str) -> dict[str, Any]:
    written: dict[str, Any] = {"included": rate.included, "price": _price_to_json(rate.price, currency)}
    if (due := rate.committed) is not None:
        written["committed"] = {"quantity": due.quantity, "unit": format_price(due.unit, currency)}
    if isinstance(rate, TierRate) and rate.peak is not None:
        written["peak"] = _rate_to_json(rate.peak, currency)
    return written


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


def _listed(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)
