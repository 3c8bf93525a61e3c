"""What does an invoice look like on paper? A plain statement becomes an A4 PDF, the same bytes for the same statement.

The layout is `pdf/invoice.typ`. Everything that is printed reaches it as JSON data, never as markup, so no name can
become an instruction; nothing is fetched, and only the fonts inside the typesetter are used unless a folder is given.
"""

import datetime as dt
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import typst

from plans.money import format_amount, format_price, minor_digits

Status = Literal["draft", "finalized", "paid", "void", "uncollectible"]


@dataclass(frozen=True, kw_only=True)
class Party:
    """Seller or buyer. `address`: one text a line, without name and country. `key`: the seller's name for the buyer."""

    name: str
    address: tuple[str, ...] = ()
    country: str = ""
    tax_id: str = ""
    email: str = ""
    key: str = ""


@dataclass(frozen=True)
class Span:
    """Half-open, aware, in the zone it is to be printed in; whole days are printed as days."""

    starts_at: dt.datetime
    ends_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    """`amount` in minor units; `unit_amount` in major units, None where there is not one price."""

    kind: str
    description: str
    amount: int
    quantity: int | None = None
    unit_amount: Decimal | None = None
    period: Span | None = None


@dataclass(frozen=True, kw_only=True)
class StatementTax:
    """`amount` in minor units; `percent` 19 is 19 %; `inclusive`: the subtotal contains it; `note`: reverse charge."""

    name: str
    amount: int
    percent: Decimal | None = None
    inclusive: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TierUsage:
    """What happened in one tier (or pool). None is unknown or does not apply, and is printed as a dash."""

    tier: str
    conversations: int
    turns: int | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    included: int | None = None
    overage: int | None = None
    amount: int | None = None


@dataclass(frozen=True, kw_only=True)
class InvoiceStatement:
    """All that is printed on an invoice. Amounts are in minor units of `currency`.

    A total of nothing or less is not asked for: it goes to the customer's balance.
    With `corrects`, the number of an invoice, it is a credit note: its total goes `off_due`, is `refunded` or `credited`.
    """

    seller: Party
    buyer: Party
    number: str
    status: Status
    currency: str
    lines: tuple[StatementLine, ...]
    subtotal: int
    total: int
    tax: StatementTax | None = None
    prepaid_applied: int = 0
    credit_applied: int = 0
    amount_due: int = 0
    issued_on: dt.date | None = None
    due_on: dt.date | None = None
    paid_on: dt.date | None = None
    period: Span | None = None
    usage: tuple[TierUsage, ...] = ()
    payment_url: str = ""
    notes: tuple[str, ...] = ()
    corrects: str = ""
    off_due: int = 0
    refunded: int = 0
    credited: int = 0


class DoesNotAddUp(ValueError):
    """The statement's lines, taxes and totals contradict each other; nobody may be asked to pay that."""


def invoice_pdf(statement: InvoiceStatement) -> bytes:
    raise NotImplementedError
