"""What is told on an invoice? Its rows, the seller and the customer as the plain statement that is printed.

How many conversations a tier had is as billed; their turns and tokens are those known today, and a note says so where
any of them has changed since.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast

from django.conf import settings

from billing.counted import Traffic, traffic_by_tier
from billing.invoice_statement import InvoiceStatement, Party, Span, StatementLine, StatementTax, Status, TierUsage
from billing.models import Invoice, InvoiceLine, InvoiceStatus, LineKind
from billing.taxes import REVERSE_CHARGE
from plans.calendar import time_zone
from plans.models import Customer
from plans.money import format_amount
from plans.terms import POOL

REVERSED = "The customer accounts for the tax (reverse charge)."


def statement_of(invoice: Invoice) -> InvoiceStatement:
    """All that stands on an invoice, with times in the customer's zone."""
    lines = list(invoice.lines.all())
    traffic = traffic_by_tier(invoice)
    collection = getattr(invoice, "collection", None)
    return InvoiceStatement(
        seller=Party(**settings.SELLER),
        buyer=_buyer(invoice.customer),
        number=invoice.number or "",
        status=cast(Status, str(invoice.status)),
        currency=invoice.currency,
        lines=tuple(_line(invoice, line) for line in lines),
        subtotal=invoice.subtotal,
        tax=_tax(invoice),
        total=invoice.total,
        prepaid_applied=invoice.prepaid_applied,
        credit_applied=invoice.credit_applied,
        amount_due=invoice.amount_due,
        issued_on=_day(invoice, invoice.finalized_at),
        paid_on=_day(invoice, invoice.paid_at),
        period=_span(invoice, invoice.period_start, invoice.period_end),
        usage=tuple(_usage(invoice, lines, traffic)),
        payment_url=collection.hosted_url if collection is not None else "",
        notes=tuple(_notes(invoice, traffic)),
    )


def _buyer(customer: Customer) -> Party:
    return Party(
        name=customer.name or customer.key,
        country=customer.country,
        tax_id=customer.tax_id,
        email=customer.email,
        key=customer.key,
    )


def _line(invoice: Invoice, line: InvoiceLine) -> StatementLine:
    return StatementLine(
        kind=line.kind,
        description=line.description,
        amount=line.amount,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        period=_span(invoice, line.period_start, line.period_end),
    )


def _tax(invoice: Invoice) -> StatementTax | None:
    if invoice.tax is None:
        return None
    return StatementTax(
        name=invoice.tax_name,
        amount=invoice.tax,
        percent=invoice.tax_percent,
        inclusive=invoice.tax_inclusive,
        note=REVERSED if invoice.tax_name == REVERSE_CHARGE.name else "",
    )


def _usage(invoice: Invoice, lines: list[InvoiceLine], traffic: dict[str, Traffic]) -> Iterator[TierUsage]:
    """Each tier once, however many parts of the period and hours of the day it was billed for."""
    billed: dict[str, dict[str, int]] = {}
    for line in lines:
        if line.kind == LineKind.USAGE and line.period_index == invoice.period_index:
            for tier, figures in _figures(line).items():
                known = billed.setdefault(tier, {})
                known |= {name: known.get(name, 0) + figure for name, figure in figures.items()}
    for tier, figures in billed.items():
        happened = traffic.get(tier)
        known = {} if happened is None else {"turns": happened.turns, **happened.tokens}
        yield TierUsage(tier=tier, **figures, **known)


def _figures(line: InvoiceLine) -> dict[str, dict[str, int]]:
    """What a usage line says, by tier; what a pool includes and what it costs belongs to none of its tiers."""
    details = line.details
    if details["tier"] == POOL:
        return {tier: {"conversations": taken["quantity"]} for tier, taken in details["taken"].items()}
    said = {"included": details["included"], "overage": details["overage"], "amount": line.amount}
    return {line.tier: {"conversations": line.quantity, **said}}


def _notes(invoice: Invoice, traffic: dict[str, Traffic]) -> Iterator[str]:
    if invoice.reissue_of is not None:
        yield f"It takes the place of invoice {invoice.reissue_of}."
    if invoice.status == InvoiceStatus.VOID and invoice.void_reason:
        yield f"Void: {invoice.void_reason}"
    for note in [] if invoice.status == InvoiceStatus.VOID else invoice.credit_notes.all():
        yield f"Credit note {note}: {format_amount(note.total, invoice.currency)} {invoice.currency}"
    if any(happened.changed_at > invoice.counted_at for happened in traffic.values()):
        yield "Turns and tokens include what was reported after the invoice was made."


def _day(invoice: Invoice, instant: dt.datetime | None) -> dt.date | None:
    return None if instant is None else instant.astimezone(_zone(invoice)).date()


def _span(invoice: Invoice, start: dt.datetime, end: dt.datetime) -> Span | None:
    """None where something was billed once, at a moment."""
    return Span(start.astimezone(_zone(invoice)), end.astimezone(_zone(invoice))) if start < end else None


def _zone(invoice: Invoice) -> Any:
    owner = invoice.customer if invoice.subscription is None else invoice.subscription
    return time_zone(owner.timezone)
