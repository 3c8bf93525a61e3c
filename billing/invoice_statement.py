"""What is told on an invoice? A plain statement that knows no database; amounts are integers in minor units.

Whoever prints an invoice fills it, and whoever fills it wrongly hears of it: see `check_sums`.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

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
    """`unit_amount` is in major units, None where there is not one price; `kind` is the invoice line's."""

    kind: str
    description: str
    amount: int
    quantity: int | None = None
    unit_amount: Decimal | None = None
    period: Span | None = None


@dataclass(frozen=True, kw_only=True)
class StatementTax:
    """`percent` 19 is 19 %; `inclusive`: the subtotal contains it; `note`: why there is none, as for reverse charge."""

    name: str
    amount: int
    percent: Decimal | None = None
    inclusive: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TierUsage:
    """What happened in one tier. None is unknown or does not apply; a column without any value is left out."""

    tier: str
    conversations: int
    turns: int | None = None
    included: int | None = None
    overage: int | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    amount: int | None = None


@dataclass(frozen=True, kw_only=True)
class InvoiceStatement:
    """An invoice, or with `corrects` (the number of an invoice) a credit note.

    An invoice's total is `prepaid_applied`, `credit_applied` and `amount_due`; one of nothing or less goes to the
    customer's balance. A credit note's lines are positive, and its total is `off_due`, `refunded` and `credited`.
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
    """Lines, tax and totals contradict each other; nobody may be asked to pay that."""


def check_sums(statement: InvoiceStatement) -> None:
    """Raises DoesNotAddUp. How a draft will be settled is not known yet, and not looked at."""
    subtotal = sum(line.amount for line in statement.lines)
    if statement.subtotal != subtotal:
        raise DoesNotAddUp(f"the lines come to {subtotal}, not to the subtotal {statement.subtotal}")
    tax = statement.tax
    total = subtotal + (tax.amount if tax is not None and not tax.inclusive else 0)
    if statement.total != total:
        raise DoesNotAddUp(f"the subtotal and tax come to {total}, not to the total {statement.total}")
    if statement.status == "draft":
        return
    if statement.corrects:
        parts = (statement.off_due, statement.refunded, statement.credited)
    else:
        parts = (statement.prepaid_applied, statement.credit_applied, statement.amount_due)
    if min(parts) < 0 or sum(parts) != max(total, 0):
        raise DoesNotAddUp(f"{' + '.join(map(str, parts))} is not how a total of {total} is settled")
