"""How is a whole number of units divided among several, in proportion, without losing one?

By the largest remainder: everybody gets the whole part of an exact share, and the units that are left over go, one
each, to those who lost most by the rounding; of equals, to the earlier. A discount over the lines of an invoice and
the tax over the lines of a credit note are divided so.
"""

from collections.abc import Sequence


class CannotShareOut(ValueError):
    """The weights have different signs or are all zero, or the amount is not a multiple of the unit."""


def share_out(amount: int, weights: Sequence[int], *, unit: int = 1) -> list[int]:
    """Divide `amount` (minor units, of either sign) by `weights` (of one sign, or zero): one part each.

    The parts add up to `amount` exactly, have its sign, and miss the exact share by less than one `unit`; a weight of
    zero gets nothing. The weights' own sign makes no difference. `unit` is the smallest part there is, in minor units
    (`money.smallest_charge`), of which the amount must be a multiple. Raises CannotShareOut.
    """
    if any(weight < 0 for weight in weights) and any(weight > 0 for weight in weights):
        raise CannotShareOut(f"weights of different signs: {list(weights)}")
    if amount % unit:
        raise CannotShareOut(f"{amount} is not a multiple of {unit}")
    total = abs(sum(weights))
    if total == 0:
        if amount:
            raise CannotShareOut(f"{amount} cannot be divided by nothing")
        return [0] * len(weights)
    units = abs(amount) // unit
    cuts = [divmod(units * abs(weight), total) for weight in weights]
    parts = [whole for whole, _ in cuts]
    by_loss = sorted(range(len(cuts)), key=lambda index: -cuts[index][1])
    for index in by_loss[: units - sum(parts)]:
        parts[index] += 1
    return [part * unit if amount > 0 else -part * unit for part in parts]
