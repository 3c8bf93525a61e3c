"""Is this JSON a price? The reading of flat, graduated, volume and package prices."""

from collections.abc import Iterator
from typing import Any, Final

from plans.strict_reading import MAX_QUANTITY, Mistake, Mistakes, amount_errors, decode, quantity_errors
from plans.terms import Flat, Graduated, Package, Price, Volume

MAX_STEPS: Final = 100


def read_price(raw: object, pointer: str, mistakes: Mistakes) -> Price | None:
    """A flat, graduated, volume or package price."""
    price: Price | None = decode(raw, Price, pointer, mistakes)
    if price is None or not isinstance(raw, dict):
        return None
    found = list(_price_errors(price, raw, pointer))
    mistakes.extend(found)
    return None if found else price


def _price_errors(price: Price, raw: dict[str, Any], pointer: str) -> Iterator[Mistake]:
    match price:
        case Flat():
            yield from amount_errors(raw["unit"], f"{pointer}/unit")
        case Package(size=size):
            yield from quantity_errors(size, 1, MAX_QUANTITY, f"{pointer}/size")
            yield from amount_errors(raw["amount"], f"{pointer}/amount")
        case Graduated(steps=steps) | Volume(steps=steps):
            if not 1 <= len(steps) <= MAX_STEPS:
                yield f"{pointer}/steps", f"must have 1 to {MAX_STEPS} steps"
            for number, raw_step in enumerate(raw["steps"]):
                for name in ("unit", "flat"):
                    if name in raw_step:
                        yield from amount_errors(raw_step[name], f"{pointer}/steps/{number}/{name}")
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
        elif bound > MAX_QUANTITY:
            yield place, f"must be at most {MAX_QUANTITY}"
        previous = max(bound, previous)
