"""By which multiplications does a price charge a number of overage units?

Units are numbered through the whole period: whoever prices a part of it says how many came `before`. What is charged
for the part is then price(before + units) - price(before), so no cut of a period changes what it costs, and no flat fee
of a step and no package begun is due twice. Only a volume price can come out negative: where the part passes a bound,
earlier units move to the new step as well; but only those that the same price charged, for what another plan charged is
not its to take back.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from plans.money import format_price
from plans.terms import Flat, Graduated, Package, Price, Step, Volume

NOTHING: Final = Decimal(0)


class StepCharge(msgspec.Struct, frozen=True, kw_only=True):
    """One multiplication: `quantity` x `unit` + `flat` = `amount`, for overage units `from_unit` to `to_unit`.

    `quantity` is the number of those units; of packages, where they are sold in packages of `package_size`; negative,
    where a volume price takes back what it charged for them earlier in the period. Units of a commitment (`committed`)
    are numbered by themselves, from 1 in each line.
    """

    from_unit: int
    to_unit: int
    quantity: int
    unit: Decimal
    flat: Decimal
    amount: Decimal
    package_size: int | None = None
    committed: bool = False

    def in_words(self, currency: str) -> str:
        """ "200 x 0.02", "3 packages of 10 x 5.00", "5 x 0.00 + 100.00 flat", "-99 x 2.00 - 10.00 flat"."""
        unit = format_price(self.unit, currency)
        if self.package_size is not None:
            packages = "package" if self.quantity == 1 else "packages"
            return f"{self.quantity:,} {packages} of {self.package_size:,} x {unit}"
        sign = "-" if self.flat < 0 else "+"
        flat = f" {sign} {format_price(abs(self.flat), currency)} flat" if self.flat else ""
        return f"{self.quantity:,}{' committed' if self.committed else ''} x {unit}{flat}"


class Own(NamedTuple):
    """How many earlier units of the period this very price has charged, up to which position the last of them came."""

    units: int
    position: int


def step_charges(price: Price, units: int, before: int, own: Own) -> Iterator[StepCharge]:
    """The charges for `units` overage units (at least one), after `before` others; to be summed exactly."""
    match price:
        case Flat(unit=unit):
            yield charge(Step(unit=unit), before + 1, before + units)
        case Graduated(steps=steps):
            yield from _graduated(steps, before + 1, before + units)
        case Volume(steps=steps):
            yield from _volume(steps, before, before + units, own)
        case Package(size=size, amount=amount):
            packages = -(-(before + units) // size) - -(-before // size)
            yield StepCharge(
                from_unit=before + 1,
                to_unit=before + units,
                quantity=packages,
                unit=amount,
                flat=NOTHING,
                amount=packages * amount,
                package_size=size,
            )


def _graduated(steps: tuple[Step, ...], first: int, last: int) -> Iterator[StepCharge]:
    """Each step's part of the units; the unit at a bound belongs to the step that ends there."""
    start = 1
    for step in steps:
        end = last if step.up_to is None else min(step.up_to, last)
        if first <= end:
            yield charge(step, max(start, first), end, flat_is_due=first <= start)
        if end == last:
            return
        start = end + 1


def _volume(steps: tuple[Step, ...], before: int, last: int, own: Own) -> Iterator[StepCharge]:
    """All own units at the step that the last one lies in; earlier ones are taken back from a step they have left."""
    held, earlier = _step_holding(steps, last), _step_holding(steps, own.position)
    if own.units and held is earlier:
        yield charge(held, before + 1, last, flat_is_due=False)
        return
    first = 1 if own.units == before else before + 1
    yield charge(held, first, last)
    if not own.units:
        return
    if own.units != before:
        yield _again(own.units, held.unit, NOTHING)
    yield _again(-own.units, earlier.unit, -earlier.flat)


def _again(units: int, unit: Decimal, flat: Decimal) -> StepCharge:
    """Earlier units, charged at another step or, with a minus, taken back from the one they were charged at."""
    amount = units * unit + flat
    return StepCharge(from_unit=1, to_unit=abs(units), quantity=units, unit=unit, flat=flat, amount=amount)


def _step_holding(steps: tuple[Step, ...], unit: int) -> Step:
    return next(step for step in steps if step.up_to is None or unit <= step.up_to)


def charge(
    step: Step, from_unit: int, to_unit: int, *, flat_is_due: bool = True, committed: bool = False
) -> StepCharge:
    """The units from and up to these numbers at a step's price, with its flat fee where that is due."""
    quantity = to_unit - from_unit + 1
    flat = step.flat if flat_is_due else NOTHING
    return StepCharge(
        from_unit=from_unit,
        to_unit=to_unit,
        quantity=quantity,
        unit=step.unit,
        flat=flat,
        amount=quantity * step.unit + flat,
        committed=committed,
    )
