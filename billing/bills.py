"""What is a bill before it is in the database, and how do many get there? An invoice with its lines, written together.

Lines are written before the invoices that they are on, since those of a finalized one are frozen. That their invoices
are there is looked at when the transaction ends, as ever.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connection

from billing.copying import insert
from billing.models import Invoice, InvoiceLine, LineKind

ORDER = {kind: place for place, kind in enumerate(LineKind)}
"""The order of the sum; LineKind lists it."""


class Bill(NamedTuple):
    """An invoice and all its lines in the order of the sum; either may be new."""

    invoice: Invoice
    lines: list[InvoiceLine]


def bill_of(invoice: Invoice, lines: Iterable[InvoiceLine]) -> Bill:
    """A draft with these new lines, put in order and summed up."""
    in_order = sorted(lines, key=lambda line: ORDER[LineKind(line.kind)])
    for position, line in enumerate(in_order):
        line.invoice, line.position = invoice, position
    invoice.subtotal = invoice.total = subtotal_of(in_order)
    return Bill(invoice, in_order)


def subtotal_of(lines: Iterable[InvoiceLine]) -> int:
    """What the lines of an invoice come to, in minor units."""
    return sum(line.amount for line in lines)


def write(bills: Sequence[Bill]) -> None:
    """Insert what is new of the bills, and save the invoices that were there before."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    insert([line for bill in bills for line in bill.lines if line._state.adding])
    for bill in bills:
        if not bill.invoice._state.adding:
            bill.invoice.save()
    insert([bill.invoice for bill in bills if bill.invoice._state.adding])
