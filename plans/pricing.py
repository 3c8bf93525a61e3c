"""How is a number of conversations priced?

The one price path: preview, quote, running usage, invoice and adjustment all call `price_usage`. The included
quantity comes off first; what is left, the overage, is charged by the tier's price. Nothing is rounded here: an
amount is exact until the caller turns it, once for each invoice line, into minor units (`money.to_minor`).
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from typing import Any, Final

import msgspec

from plans.money import EXACT, format_amount, format_price, to_minor
from plans.terms import Flat, Graduated, Package, Price, Step, Terms, TierRate, Volume

NOTHING: Final = Decimal(0)


class UnpricedTier(LookupError):
    """Conversations were counted in tiers for which the plan has no price; they are never taken for free."""

    def __init__(self, tiers: list[str]) -> None:
        self.tiers = tiers
        super().__init__(f"the plan has no price for {', '.join(tiers)}")


class StepCharge(msgspec.Struct, frozen=True, kw_only=True):
    """One multiplication: `quantity` x `unit` + `flat` = `amount`, for overage units `from_unit` to `to_unit`.

    `quantity` is the number of those units; of packages, where they are sold in packages of `package_size`.
    """

    from_unit: int
    to_unit: int
    quantity: int
    unit: Decimal
    flat: Decimal
    amount: Decimal
    package_size: int | None = None


class PricedTier(msgspec.Struct, frozen=True, kw_only=True):
    """What the conversations of one tier cost; `amount` is exact, in major units.

    `included` is how much of the `allowance` was used, `overage` the rest of `quantity`, charged in `steps`.
    """

    tier: str
    quantity: int
    allowance: int
    included: int
    overage: int
    steps: tuple[StepCharge, ...]
    amount: Decimal

    def explain(self, currency: str) -> str:
        """One sentence to redo with a pencil: "1,200 simple conversations: 1,000 included, 200 x 0.02 = 4.00 USD"."""
        what = f"{self.quantity:,} {self.tier} conversation{'s' if self.quantity != 1 else ''}"
        parts = [f"{self.included:,} included"] if self.included else []
        if self.steps:
            parts.append(" + ".join(_sum_in_words(step, currency) for step in self.steps))
        billed = to_minor(self.amount, currency)
        exact, rounded = format_price(self.amount, currency), format_amount(billed, currency)
        result = rounded if exact == rounded else f"{exact}, rounded to {rounded}"
        return f"{what}: {', '.join(parts)} = {result} {currency}" if parts else f"{what} = {result} {currency}"

    def details(self, currency: str) -> dict[str, Any]:
        """The same as JSON, for an invoice line: quantities as integers, exact amounts as decimal strings."""
        written = msgspec.to_builtins(self, builtin_types=(Decimal,))
        written["steps"] = list(written["steps"])
        for charge in (written, *written["steps"]):
            for name in ("unit", "flat", "amount"):
                if name in charge:
                    charge[name] = format_price(charge[name], currency)
        return {**written, "explanation": self.explain(currency)}


def price_usage(terms: Terms, counts: Mapping[str, int]) -> list[PricedTier]:
    """Every tier of the plan priced for the conversations counted in it (none: 0), in the order of the terms.

    UnpricedTier when conversations were counted in a tier that the plan does not price.
    """
    unpriced = sorted(tier for tier, count in counts.items() if count and tier not in terms.rates)
    if unpriced:
        raise UnpricedTier(unpriced)
    return [price_tier(tier, rate, counts.get(tier, 0)) for tier, rate in terms.rates.items()]


def price_tier(tier: str, rate: TierRate, quantity: int) -> PricedTier:
    """`quantity` conversations of one tier at its rate. Nothing counted costs nothing, flat fees included."""
    if quantity < 0:
        raise ValueError(f"{quantity} {tier} conversations cannot be priced")
    included = min(quantity, rate.included)
    overage = quantity - included
    with localcontext(EXACT):
        steps = tuple(_charges(rate.price, overage)) if overage else ()
        amount = sum((step.amount for step in steps), NOTHING)
    return PricedTier(
        tier=tier,
        quantity=quantity,
        allowance=rate.included,
        included=included,
        overage=overage,
        steps=steps,
        amount=amount,
    )


def _charges(price: Price, overage: int) -> Iterator[StepCharge]:
    match price:
        case Flat(unit=unit):
            yield _charge(Step(unit=unit), 1, overage)
        case Graduated(steps=steps):
            yield from _graduated_charges(steps, overage)
        case Volume(steps=steps):
            yield _charge(_step_holding(steps, overage), 1, overage)
        case Package(size=size, amount=amount):
            packages = -(-overage // size)
            yield StepCharge(
                from_unit=1,
                to_unit=overage,
                quantity=packages,
                unit=amount,
                flat=NOTHING,
                amount=packages * amount,
                package_size=size,
            )


def _graduated_charges(steps: tuple[Step, ...], overage: int) -> Iterator[StepCharge]:
    """Each step's part of the overage; the unit at a bound belongs to the step that ends there."""
    charged = 0
    for step in steps:
        if charged == overage:
            return
        end = overage if step.up_to is None else min(step.up_to, overage)
        yield _charge(step, charged + 1, end)
        charged = end


def _step_holding(steps: tuple[Step, ...], unit: int) -> Step:
    return next(step for step in steps if step.up_to is None or unit <= step.up_to)


def _charge(step: Step, from_unit: int, to_unit: int) -> StepCharge:
    quantity = to_unit - from_unit + 1
    return StepCharge(
        from_unit=from_unit,
        to_unit=to_unit,
        quantity=quantity,
        unit=step.unit,
        flat=step.flat,
        amount=quantity * step.unit + step.flat,
    )


def _sum_in_words(step: StepCharge, currency: str) -> str:
    """ "200 x 0.02", "3 packages of 10 x 5.00", "5 x 0.00 + 100.00 flat"."""
    unit = format_price(step.unit, currency)
    if step.package_size is not None:
        packages = "package" if step.quantity == 1 else "packages"
        return f"{step.quantity:,} {packages} of {step.package_size:,} x {unit}"
    flat = f" + {format_price(step.flat, currency)} flat" if step.flat else ""
    return f"{step.quantity:,} x {unit}{flat}"
