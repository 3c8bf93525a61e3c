"""How much do discounts take off the charges of a period, and off which?

Those on some of the charges come first, those on all of them last; each takes from what the ones before have left. A
discount is rounded once. It is divided among the base fee and the meters by the largest remainder, and within each of
them over the segments in order of time, so that cutting a period in two does not move a cent.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from plans.charges import Charge, PeriodDiscount, Said
from plans.money import format_amount, smallest_charge, take_share, to_major, to_minor
from plans.sharing import share_out
from plans.terms import PEAK


def take_discounts(
    owed: Sequence[Charge], discounts: Iterable[PeriodDiscount], currency: str
) -> tuple[list[Charge], list[int]]:
    """The discounts as charges, in the order in which they were taken, and what they leave of each charge `owed`."""
    left = [charge.amount for charge in owed]
    taken = []
    for discount in sorted(discounts, key=lambda discount: discount.on == "all"):
        reached = [index for index, charge in enumerate(owed) if _reaches(discount, charge)]
        base = sum(left[index] for index in reached)
        amount = _amount_off(discount, base, currency)
        if not amount:
            continue
        parts = _divide(amount, {index: left[index] for index in reached}, owed, smallest_charge(currency))
        for index, part in parts.items():
            left[index] -= part
        taken.append(_discount_charge(discount, amount, base, _allocation(parts, owed, currency), currency))
    return taken, left


def _reaches(discount: PeriodDiscount, charge: Charge) -> bool:
    if discount.on == "usage":
        tier = charge.meter.removesuffix(PEAK)
        return charge.kind != "base_fee" and (discount.tiers is None or tier in discount.tiers)
    return discount.on == "all" or charge.kind == discount.on


def _amount_off(discount: PeriodDiscount, base: int, currency: str) -> int:
    """Minor units, never more than there is; of an amount only what can be paid in the currency."""
    if base <= 0:
        return 0
    if discount.percent is not None:
        return to_minor(take_share(to_major(base, currency), Fraction(discount.percent) / 100), currency)
    amount = min(discount.amount or 0, base)
    return amount - amount % smallest_charge(currency)


def _divide(amount: int, left: dict[int, int], owed: Sequence[Charge], unit: int) -> dict[int, int]:
    """What each charge gets of an amount, in proportion to what is left of it."""
    by_meter: dict[str, list[int]] = {}
    for index in left:
        by_meter.setdefault(owed[index].meter, []).append(index)
    meters = sorted(by_meter)
    # The usage of one meter can come to less than nothing where terms change to a volume price; it gets nothing then.
    weights = [max(0, sum(left[index] for index in by_meter[meter])) for meter in meters]
    parts: dict[int, int] = {}
    for meter, part in zip(meters, share_out(amount, weights, unit=unit), strict=True):
        spread = _spread(part, [left[index] for index in by_meter[meter]], unit)
        parts |= dict(zip(by_meter[meter], spread, strict=True))
    return {index: part for index, part in sorted(parts.items()) if part}


def _spread(amount: int, weights: Sequence[int], unit: int) -> list[int]:
    """An amount over charges in order of time: rounded as a whole up to each, the difference being its part."""
    if not amount:
        return [0] * len(weights)
    total, passed, given, parts = sum(weights), 0, 0, []
    for weight in weights:
        passed += weight
        until_here = (2 * amount * passed + total * unit) // (2 * total * unit) * unit
        parts.append(until_here - given)
        given = until_here
    return parts


def _allocation(parts: dict[int, int], owed: Sequence[Charge], currency: str) -> list[dict[str, Any]]:
    return [
        {
            "kind": owed[index].kind,
            "segment": owed[index].segment,
            "meter": owed[index].meter,
            "amount": format_amount(-part, currency),
        }
        for index, part in parts.items()
    ]


def _discount_charge(
    discount: PeriodDiscount, amount: int, base: int, allocation: list[dict[str, Any]], currency: str
) -> Charge:
    whole, off = format_amount(base, currency), format_amount(-amount, currency)
    percent = None if discount.percent is None else f"{discount.percent.normalize():f}"
    fixed = None if discount.amount is None else format_amount(discount.amount, currency)
    return Charge(
        kind="discount",
        discount=discount.id,
        amount=-amount,
        reckoning=Said(
            f"{discount.name}: {fixed if percent is None else f'{percent}%'} off {whole} = {off} {currency}",
            {"name": discount.name, "percent": percent, "amount": fixed, "of": whole, "allocation": allocation},
        ),
    )
