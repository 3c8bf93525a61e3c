"""How much tax is on an amount, and how much of it goes back with a credit note?

A tax is a percentage. An exclusive one is added to the amount, an inclusive one is contained in it. It is worked out
once, on what an invoice's lines come to, and rounded once; whoever needs it by line divides it (`sharing.share_out`).
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from plans.money import take_share, to_major, to_minor

MOST_PERCENT: Final = Decimal(100)
PERCENT_PLACES: Final = 4


class RefundsTooMuch(ValueError):
    """The credit notes of an invoice would come to more than the invoice."""


class Tax(msgspec.Struct, frozen=True):
    """A tax by its name on the invoice ("VAT"), in percent (0 to 100, four decimals at most)."""

    name: str
    percent: Decimal
    inclusive: bool = False

    def __post_init__(self) -> None:
        if not (self.percent.is_finite() and 0 <= self.percent <= MOST_PERCENT):
            raise ValueError(f"a tax of {self.percent} percent")
        if self.percent != round(self.percent, PERCENT_PLACES):
            raise ValueError(f"{self.percent} percent has more than {PERCENT_PLACES} decimals")


def tax_on(tax: Tax, amount: int, currency: str) -> int:
    """The tax on `amount`, or the tax contained in it where it is inclusive; both in minor units, of one sign."""
    percent = Fraction(tax.percent)
    return _rounded_share(amount, percent / (100 + percent if tax.inclusive else 100), currency)


def net_of(tax: Tax, amount: int, currency: str) -> int:
    """`amount` (minor units, as the prices are written) without the tax."""
    return amount - tax_on(tax, amount, currency) if tax.inclusive else amount


def gross_of(tax: Tax, amount: int, currency: str) -> int:
    """`amount` (minor units, as the prices are written) with the tax: what has to be paid."""
    return amount if tax.inclusive else amount + tax_on(tax, amount, currency)


def refund_tax(
    *, total_tax: int, total_net: int, refunded_net: int, already_net: int = 0, already_tax: int = 0, currency: str
) -> int:
    """The tax (minor units) that goes back with a credit note for `refunded_net` of an invoice's `total_net`.

    `already_net` and `already_tax` are the sums of the invoice's earlier credit notes. Rounded cumulatively: together
    the notes give back the tax in proportion, never more than `total_tax`, and all of it with the last unit. Give all
    amounts without tax, or all of them with it. None is negative. Raises RefundsTooMuch.
    """
    if refunded_net < 0 or already_net < 0 or total_net < 0:
        raise ValueError("a refund is of an amount paid")
    refunded = already_net + refunded_net
    if refunded > total_net:
        raise RefundsTooMuch(f"{refunded} refunded of {total_net}")
    due = _rounded_share(total_tax, Fraction(refunded, total_net), currency) if total_net else total_tax
    # Below nothing only where an earlier note was taken back, and with it less tax than its place now gives.
    return max(due - already_tax, 0)


def _rounded_share(amount: int, share: Fraction, currency: str) -> int:
    return to_minor(take_share(to_major(amount, currency), share), currency)
