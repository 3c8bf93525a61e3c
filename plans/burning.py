"""Which prepaid grants pay for an invoice, in which order, and how much does each give?

By priority (the lower number first), then the earlier expiry (never is last), then promotional before paid, then age.
A promotional grant is a price reduction: it lowers the subtotal, and with it the tax. A paid grant is money: it pays
of what is due with tax. Each gives the most that does not make the amount due negative, before the next is touched.
"""

import datetime as dt
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

_NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a grant, in minor units. `expires_at` and `created_at` are aware; None never expires."""

    id: uuid.UUID
    balance: int
    priority: int
    expires_at: dt.datetime | None
    promotional: bool
    created_at: dt.datetime


class Draw(NamedTuple):
    """A purse, and how much it gives, in minor units: above zero, at most its balance."""

    purse: Purse
    amount: int


def burn_order(purses: Iterable[Purse]) -> list[Purse]:
    """The purses in the order in which they are used up."""
    return sorted(purses, key=_place)


def draw(purses: Iterable[Purse], subtotal: int, gross: Callable[[int], int], *, unit: int = 1) -> list[Draw]:
    """How much each purse gives towards an invoice of `subtotal` (minor units), in burn order.

    `purses` are those that may pay: begun and not expired. `gross` turns a subtotal into what is to be paid for it
    with tax; it never falls as the subtotal grows. Purses give multiples of `unit`, the smallest amount there is.

    Afterwards nothing is due, or no purse can give more. A promotional one may keep some money and yet be unable to
    give: where a unit less of subtotal takes two off what is to be paid, and only one of them is still due.
    """
    draws: list[Draw] = []
    rest, paid = subtotal, 0
    for purse in burn_order(purses):
        due = gross(rest) - paid
        if due <= 0:
            break
        if purse.promotional:
            amount = _most_off(rest, paid, min(purse.balance, rest), gross, unit)
            rest -= amount
        else:
            amount = max(min(purse.balance, due) // unit * unit, 0)
            paid += amount
        if amount:
            draws.append(Draw(purse, amount))
    return draws


def _most_off(rest: int, paid: int, limit: int, gross: Callable[[int], int], unit: int) -> int:
    """The most up to `limit` by which the `rest` of a subtotal can be lowered when so much is `paid` already."""
    too_much = bisect_left(range(unit, limit + 1, unit), True, key=lambda amount: gross(rest - amount) < paid)
    return too_much * unit


def _place(purse: Purse) -> tuple[int, dt.datetime, bool, dt.datetime, uuid.UUID]:
    return (purse.priority, purse.expires_at or _NEVER, not purse.promotional, purse.created_at, purse.id)
