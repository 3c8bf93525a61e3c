"""What is a period billed from, and what is on its bill? Segments and discounts go in, charges come out."""

import datetime as dt
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from plans.allowances import Layers
from plans.pricing import PricedTier
from plans.terms import Terms


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a period, half-open, with one state of affairs; `key` is the caller's name for it.

    `counts` are conversations by tier, those at peak hours by tier + "@peak".
    """

    start: dt.datetime
    end: dt.datetime
    terms: Terms
    counts: dict[str, int] = {}
    paused: bool = False
    trial: bool = False
    key: str = ""

    @property
    def owes(self) -> bool:
        """Base fee, minimum, maximum and commitments accrue; an empty stretch has nothing for them to accrue in."""
        return self.start < self.end and not (self.paused or self.trial)

    @property
    def free(self) -> bool:
        """Usage costs nothing and uses no allowance."""
        return self.trial and self.terms.trial_usage == "free"

    @property
    def grants(self) -> bool:
        """The allowance accrues."""
        return not (self.paused or self.free)


class PeriodDiscount(msgspec.Struct, frozen=True, kw_only=True):
    """What comes off a period: `percent` (0 to 100) of it or up to `amount` (minor units), never both.

    `on` says off which charges; with `tiers` off the usage of these alone ("pool" are the credits of a pool).
    """

    id: str
    name: str
    percent: Decimal | None = None
    amount: int | None = None
    on: Literal["all", "base_fee", "usage"] = "all"
    tiers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.amount is None):
            raise ValueError(f"the discount {self.name!r} takes off either a percentage or an amount")
        if not 0 <= (self.percent or 0) <= 100 or (self.amount or 0) < 0:
            raise ValueError(
                f"the discount {self.name!r} takes off 0 to 100 percent, or an amount that is not negative"
            )
        if self.tiers is not None and self.on != "usage":
            raise ValueError(f"the discount {self.name!r} names tiers, so it is one on usage")


class Reckoning(Protocol):
    """How an amount came about: one sentence to redo with a pencil, and the same as JSON."""

    @property
    def explanation(self) -> str: ...
    @property
    def details(self) -> dict[str, Any]: ...


class Said(NamedTuple):
    """A reckoning that is said at once."""

    explanation: str
    details: dict[str, Any]


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bill: `amount` in minor units, rounded; `unit_amount` in major units, where there is one.

    `segment` is the index of the segment it is for, None where it is for the period. A `minimum` with a meter is what
    was committed to and not used; one without lifts the bill to the minimum of the terms.
    """

    kind: Literal["base_fee", "usage", "discount", "minimum", "maximum"]
    amount: int
    reckoning: Reckoning
    segment: int | None = None
    meter: str = ""
    quantity: int = 1
    unit_amount: Decimal | None = None
    discount: str = ""

    @property
    def explanation(self) -> str:
        """One sentence to redo with a pencil."""
        return self.reckoning.explanation

    @property
    def details(self) -> dict[str, Any]:
        """The same as JSON, for an invoice line."""
        return self.reckoning.details


class PeriodBill(msgspec.Struct, frozen=True, kw_only=True):
    """The charges of a period in the order of the sum; `usage` is every meter of every segment, priced.

    `rolled` is the unused allowance for the next period. Both are empty where the period was not `complete`.
    """

    charges: tuple[Charge, ...]
    usage: tuple[tuple[PricedTier, ...], ...] = ()
    rolled: Layers = {}

    @property
    def total(self) -> int:
        """In minor units."""
        return sum(charge.amount for charge in self.charges)
