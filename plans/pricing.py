"""How is a number of conversations priced?

The one price path: preview, quote, running usage, invoice and adjustment all come down to `price_tier`. The included
quantity comes off first, then what the customer has committed to; what is left is charged by the price. Nothing is
rounded here: an amount is exact until the caller turns it, once for each invoice line, into minor units
(`money.to_minor`).
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from typing import Any, Final

import msgspec

from plans.money import EXACT, format_amount, format_price, to_minor
from plans.price_steps import NOTHING, Own, StepCharge, charge, step_charges
from plans.terms import PEAK, POOL, Rate, Step, Terms, meters

SINCE_TERMS_GREW: Final = {"rolled_over": 0, "committed": 0, "before": 0, "free": 0, "own": None}
"""What the details of a line leave out where it is nothing; lines written before this existed read the same."""


class UnpricedTier(LookupError):
    """Conversations were counted in tiers for which the plan has no price; they are never taken for free."""

    def __init__(self, tiers: list[str]) -> None:
        self.tiers = tiers
        super().__init__(f"the plan has no price for {', '.join(tiers)}")


class PricedTier(msgspec.Struct, frozen=True, kw_only=True):
    """What the units of one meter cost; `tier` is the meter, `amount` is exact, in major units.

    `quantity` = `included` + `overage` + `free`: `included` is how much of the `allowance` was used, of which
    `rolled_over` came from earlier periods; `free` are those of a free trial. Of the overage, `committed` units were
    charged as such, the others by the price, as the ones that follow `before` others of the period (`own` of those by
    this same price, where not all). All that is charged is in `steps`.
    """

    tier: str
    quantity: int
    allowance: int
    included: int
    overage: int
    steps: tuple[StepCharge, ...]
    amount: Decimal
    rolled_over: int = 0
    committed: int = 0
    before: int = 0
    free: int = 0
    own: Own | None = None

    def explain(self, currency: str, billed: int | None = None) -> str:
        """One sentence to redo with a pencil: "1,200 simple conversations: 1,000 included, 200 x 0.02 = 4.00 USD".

        `billed` (minor units) is what stands on the line, where that was rounded together with earlier lines.
        """
        what = units_in_words(self.tier, self.quantity)
        billed = to_minor(self.amount, currency) if billed is None else billed
        result = f"{rounding_in_words(self.amount, billed, currency)} {currency}"
        parts = ", ".join(self._parts_in_words(currency))
        return f"{what}: {parts} = {result}" if parts else f"{what} = {result}"

    def _parts_in_words(self, currency: str) -> Iterator[str]:
        if self.free:
            yield "free in the trial"
        if self.included:
            rolled_over = f" ({self.rolled_over:,} rolled over)" if self.rolled_over else ""
            yield f"{self.included:,} included{rolled_over}"
        if self.before and self.overage > self.committed:
            yield f"after {self.before:,} earlier in the period"
        if self.steps:
            yield " + ".join(step.in_words(currency) for step in self.steps).replace(" + -", " - ")

    def details(self, currency: str, billed: int | None = None) -> dict[str, Any]:
        """The same as JSON: `figures`, and the sentence as `explanation`."""
        return {**self.figures(currency), "explanation": self.explain(currency, billed)}

    def figures(self, currency: str) -> dict[str, Any]:
        """All that was priced: quantities as integers, exact amounts as decimal strings."""
        written: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(Decimal,))
        for name, nothing in SINCE_TERMS_GREW.items():
            if written[name] == nothing:
                del written[name]
        for name in ("steps", "own"):
            if name in written:
                written[name] = list(written[name])
        for part in (written, *written["steps"]):
            for name in ("unit", "flat", "amount"):
                if name in part:
                    part[name] = format_price(part[name], currency)
        for step in written["steps"]:
            if not step["committed"]:
                del step["committed"]
        return written


def metered(terms: Terms, counts: Mapping[str, int]) -> dict[str, int]:
    """How much of each meter of the terms was used, from `counts` by tier, or by tier + "@peak" at peak hours.

    A conversation of a tier without a peak price counts the same at any hour; one of a tier in the pool takes its
    weight in credits. UnpricedTier when conversations were counted in a tier that the terms do not price.
    """
    found = dict.fromkeys(meters(terms), 0)
    unpriced = set()
    for counted, count in counts.items():
        tier = counted.removesuffix(PEAK)
        if count < 0:
            raise ValueError(f"{count} {counted} conversations cannot be priced")
        if terms.pool is not None and tier in terms.pool.weights:
            found[POOL] += count * terms.pool.weights[tier]
        elif tier in terms.rates:
            found[counted if counted in found else tier] += count
        elif count:
            unpriced.add(tier)
    if unpriced:
        raise UnpricedTier(sorted(unpriced))
    return found


def price_tier(
    tier: str,
    rate: Rate,
    quantity: int,
    *,
    allowance: int | None = None,
    rolled_over: int = 0,
    before: int = 0,
    own: Own | None = None,
    committed: int | None = None,
) -> PricedTier:
    """`quantity` units of one meter at its rate. Nothing counted costs nothing, flat fees included.

    Of a part of a period say what is left for it: of the `allowance` (of which `rolled_over` units are those of earlier
    periods, used first), and of the units `committed` to; both are the rate's own where left out. `before` is how many
    overage units beyond the commitment were priced earlier in the period, `own` how many of them by this same price
    (all, where left out): a volume price moves only these to another step.
    """
    if quantity < 0:
        raise ValueError(f"{quantity} {tier} conversations cannot be priced")
    allowance = rate.included if allowance is None else allowance
    due = rate.committed
    committed = (due.quantity if due else 0) if committed is None else committed
    included = min(quantity, allowance)
    overage = quantity - included
    steps: list[StepCharge] = []
    with localcontext(EXACT):
        if due is not None and (used := min(overage, committed)):
            steps.append(charge(Step(unit=due.unit), 1, used, committed=True))
        else:
            used = 0
        if overage > used:
            steps.extend(step_charges(rate.price, overage - used, before, Own(before, before) if own is None else own))
        amount = sum((step.amount for step in steps), NOTHING)
    return PricedTier(
        tier=tier,
        quantity=quantity,
        allowance=allowance,
        included=included,
        overage=overage,
        steps=tuple(steps),
        amount=amount,
        rolled_over=min(included, rolled_over),
        committed=used,
        before=before,
        own=own,
    )


def price_free(tier: str, quantity: int) -> PricedTier:
    """`quantity` units of one meter in a free trial: they cost nothing and use no allowance."""
    return PricedTier(
        tier=tier, quantity=quantity, allowance=0, included=0, overage=0, steps=(), amount=NOTHING, free=quantity
    )


def units_in_words(meter: str, quantity: int) -> str:
    """ "1,200 simple conversations", "1 simple conversation at peak hours", "140 credits"."""
    plural = "s" if quantity != 1 else ""
    if meter == POOL:
        return f"{quantity:,} credit{plural}"
    at_peak = " at peak hours" if meter.endswith(PEAK) else ""
    return f"{quantity:,} {meter.removesuffix(PEAK)} conversation{plural}{at_peak}"


def rounding_in_words(amount: Decimal, billed: int, currency: str) -> str:
    """ "4.00", "0.0375, rounded to 0.04": an exact amount, and what stands on the line where that is another."""
    exact, rounded = format_price(amount, currency), format_amount(billed, currency)
    if exact == rounded:
        return exact
    together = "" if billed == to_minor(amount, currency) else " with other lines"
    return f"{exact}, rounded{together} to {rounded}"
