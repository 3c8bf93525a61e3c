"""Drafts of whatever lines a test wants, without what they would be billed for; amounts are cents, the time is NOON."""

import datetime as dt
from decimal import Decimal

from billing.finalizing import finalize_invoice
from billing.models import Invoice, InvoiceKind, InvoiceLine, LineKind, TaxRate
from billing.taxes import add_tax_rate
from plans.models import Customer
from tests.billing.purse import pay
from tests.cast import NOON, acme


def a_draft(*amounts: int, customer: Customer | None = None, now: dt.datetime = NOON) -> Invoice:
    """A draft with a line of each amount; those below zero are discounts."""
    customer = customer or acme()
    instants = {"period_start": now, "period_end": now}
    draft = Invoice.objects.create(
        customer=customer,
        kind=InvoiceKind.ONE_OFF,
        currency=customer.currency,
        counted_at=now,
        created_at=now,
        subtotal=sum(amounts),
        total=sum(amounts),
        **instants,
    )
    for position, amount in enumerate(amounts):
        InvoiceLine.objects.create(
            invoice=draft,
            position=position,
            kind=LineKind.ONE_OFF if amount > 0 else LineKind.DISCOUNT,
            description=f"Line {position}",
            quantity=1,
            amount=amount,
            **instants,
        )
    return draft


def an_invoice(*amounts: int, customer: Customer | None = None, now: dt.datetime = NOON) -> Invoice:
    """A finalized invoice."""
    return finalize_invoice(a_draft(*amounts, customer=customer, now=now).pk, now=now)


def a_paid_invoice(*amounts: int, customer: Customer | None = None, now: dt.datetime = NOON) -> Invoice:
    """An invoice whose whole amount due was collected."""
    invoice = an_invoice(*amounts, customer=customer, now=now)
    pay(invoice, now=now)
    return Invoice.objects.get(pk=invoice.pk)


def vat(percent: str = "20", country: str = "", *, inclusive: bool = False, since: dt.datetime = NOON) -> TaxRate:
    """A rate of the seller's own; settings.TAX must be `fixed` for it to matter."""
    return add_tax_rate(
        country=country, name="VAT", percent=Decimal(percent), inclusive=inclusive, starts_at=since, now=NOON
    )
