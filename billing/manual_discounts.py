"""How much does a discount given by hand take off a draft, and off which of its lines? Lines in, a line out.

It is reckoned on what earlier discounts have left, the coupons' first of all: neither the invoice nor any line goes
below zero by it. What it takes is divided among the lines in proportion to what is left of them.
"""

import uuid
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import msgspec

from billing.models import InvoiceLine, LineKind
from plans.money import EXACT, format_amount, format_price, smallest_charge, to_major, to_minor
from plans.sharing import share_out
from plans.terms import PEAK, POOL

PERCENT_PLACES = 4
CHARGED_AS = {LineKind.PRORATION: "base_fee"}
"""What the allocation of a coupon calls a line, where it is not by its kind."""


class InvalidReduction(ValueError):
    """That cannot be taken off; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class NothingToDiscount(Exception):
    """Nothing is left that the discount could take off."""


class NoSuchLine(LookupError):
    """The invoice has no such line, or it is a discount itself, where one is to be discounted."""


class Reduction(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised: `percent` (10 is 10 %), or `amount` in major units of the currency. Raises InvalidReduction."""

    currency: str
    percent: Decimal | None = None
    amount: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.amount is None):
            raise InvalidReduction("/percent", "either a percentage or an amount")
        if self.percent is not None and not (
            0 < self.percent <= 100 and self.percent == round(self.percent, PERCENT_PLACES)
        ):
            raise InvalidReduction("/percent", f"more than 0 and at most 100, with at most {PERCENT_PLACES} places")
        if self.amount is not None and not 0 < self.amount == _payable(self.amount, self.currency):
            raise InvalidReduction("/amount", f"not an amount that can be paid in {self.currency}")

    def of(self, base: int) -> int:
        """What it takes off `base`, in minor units; never more than that."""
        if self.percent is None:
            assert self.amount is not None
            return min(to_minor(self.amount, self.currency), base)
        with localcontext(EXACT):
            return to_minor(to_major(base, self.currency) * self.percent.scaleb(-2), self.currency)

    def details(self, base: int, taken: int) -> dict[str, Any]:
        """The promise, and the sum by which it became what it takes, for the invoice line."""
        of, off = format_amount(base, self.currency), format_amount(-taken, self.currency)
        percent = None if self.percent is None else f"{self.percent.normalize():f}"
        amount = None if self.amount is None else format_price(self.amount, self.currency)
        explanation = f"{amount if percent is None else f'{percent}%'} off {of} = {off} {self.currency}"
        return {"percent": percent, "amount": amount, "of": of, "explanation": explanation}


def discount_line(lines: Sequence[InvoiceLine], reduction: Reduction, line_id: uuid.UUID | None) -> InvoiceLine:
    """The discount on one of a draft's lines, or on the draft as a whole; without description, place and time.

    Raises NothingToDiscount, NoSuchLine.
    """
    left = left_of(lines)
    if line_id is not None:
        left = {line: rest for line, rest in left.items() if line.pk == line_id}
        if not left:
            raise NoSuchLine("The invoice has no such line that could be discounted.")
    whole = sum(line.amount for line in lines)  # less than is left of its lines where a maximum brings it down
    base = max(min(whole, sum(rest for rest in left.values() if rest > 0)), 0)
    taken = reduction.of(base)
    if not taken:
        raise NothingToDiscount("nothing is left that the discount could take off")
    details = {"on": "all" if line_id is None else "line"} | reduction.details(base, taken)
    allocation = _allocation(left, taken, reduction.currency)
    return InvoiceLine(kind=LineKind.DISCOUNT, quantity=1, amount=-taken, details=details | {"allocation": allocation})


def left_of(lines: Sequence[InvoiceLine]) -> dict[InvoiceLine, int]:
    """What discounts have left of each line that is none itself, in minor units."""
    left = {line: line.amount for line in lines if line.kind != LineKind.DISCOUNT}
    for discount in lines:
        if is_manual_discount(discount):
            for line_id, part in allocation_of(discount).items():
                left |= {line: rest + part for line, rest in left.items() if line.pk == line_id}
        elif discount.kind == LineKind.DISCOUNT:
            _take_coupon(left, discount)
    return left


def is_manual_discount(line: InvoiceLine) -> bool:
    """Whether an operator gave it, and not a coupon."""
    return line.kind == LineKind.DISCOUNT and line.period_index is None


def allocation_of(discount: InvoiceLine) -> dict[uuid.UUID, int]:
    """How much (minor units, negative) a discount given by hand takes off each line."""
    currency = discount.invoice.currency
    parts = discount.details["allocation"]
    return {uuid.UUID(part["line"]): to_minor(Decimal(part["amount"]), currency) for part in parts}


def _payable(amount: Decimal, currency: str) -> Decimal:
    return to_major(to_minor(amount, currency), currency)


def _take_coupon(left: dict[InvoiceLine, int], discount: InvoiceLine) -> None:
    """A coupon names charges of its period; those that stand on this draft are found by kind and tier."""
    currency = discount.invoice.currency
    for part in discount.details.get("allocation", ()):
        meter = part["meter"]
        charged = (part["kind"], "" if meter == POOL else meter.removesuffix(PEAK))
        own = {line: max(rest, 0) for line, rest in left.items() if _charge(line, discount) == charged}
        off = min(-to_minor(Decimal(part["amount"]), currency), sum(own.values()))
        shares = share_out(off, list(own.values()), unit=smallest_charge(currency))
        for line, share in zip(own, shares, strict=True):
            left[line] -= share


def _charge(line: InvoiceLine, discount: InvoiceLine) -> tuple[str, str] | None:
    """What a coupon's allocation calls a line of the same period; None for those of another."""
    if (line.subscription_id, line.period_index) != (discount.subscription_id, discount.period_index):
        return None
    return CHARGED_AS.get(LineKind(line.kind), line.kind), line.tier


def _allocation(left: dict[InvoiceLine, int], taken: int, currency: str) -> list[dict[str, str]]:
    parts = share_out(-taken, [max(rest, 0) for rest in left.values()], unit=smallest_charge(currency))
    return [
        {"line": str(line.pk), "amount": format_amount(part, currency)}
        for line, part in zip(left, parts, strict=True)
        if part
    ]
