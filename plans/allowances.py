"""How many units are free in a period, and how many of them are usable in the next?

An allowance accrues by time over the whole period, over all segments of it that grant one, and is rounded up to a whole
unit once. What earlier periods left over comes in layers, one a period, the oldest first, and is used before it.
"""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

import msgspec

from plans.terms import Rollover


class Layer(msgspec.Struct, frozen=True):
    """Unused allowance of one earlier period: `quantity` units, usable in this and `periods_left` - 1 further ones."""

    periods_left: int
    quantity: int


Layers = Mapping[str, tuple[Layer, ...]]
"""Meter -> what was rolled over for it, the oldest first."""

NOTHING_ROLLED: Final[Layers] = {}


def granted(parts: Iterable[tuple[Fraction, int]]) -> int:
    """The allowance of a period from (share of the period, units for a whole period) of its segments.

    Never more than the largest of them, however often the terms change within the period.
    """
    return math.ceil(_together(parts))


def committed_to(parts: Iterable[tuple[Fraction, int]]) -> int:
    """The units committed to, likewise; rounded down, so that nobody owes more than was agreed."""
    return math.floor(_together(parts))


def _together(parts: Iterable[tuple[Fraction, int]]) -> Fraction | int:
    """The units of all parts, exactly. Shares are nearly always whole, and integers much faster than fractions."""
    return sum(share.numerator * units if share.denominator == 1 else share * units for share, units in parts)


def carry(layers: Iterable[Layer], *, used: int, fresh: int, rollover: Rollover) -> tuple[Layer, ...]:
    """The layers of one meter for the next period: `used` units of the old ones are gone, the `fresh` ones are left.

    The oldest are used first, and lapse first where all together are more than may be carried.
    """
    left = [*_without(layers, used), Layer(rollover.periods + 1, fresh)]
    aged = [Layer(layer.periods_left - 1, layer.quantity) for layer in left]
    usable = [layer for layer in aged if layer.periods_left and layer.quantity]
    if rollover.maximum is None:
        return tuple(usable)
    return tuple(_without(usable, sum(layer.quantity for layer in usable) - rollover.maximum))


def _without(layers: Iterable[Layer], units: int) -> list[Layer]:
    """The layers after so many units (none, if negative) were taken off, the oldest first."""
    left = []
    for layer in layers:
        taken = max(0, min(units, layer.quantity))
        units -= taken
        if taken < layer.quantity:
            left.append(Layer(layer.periods_left, layer.quantity - taken))
    return left
