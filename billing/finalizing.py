"""How does a draft become a bill, and how is one taken back? A number without gaps, the ledger, and then no change.

Promotional credit lowers what is taxed; then come tax, prepaid credit, and what we owe the customer anyway. What is
left is to be collected: the collection row is written in the same transaction. A draft whose tax only Stripe knows
stays a draft until it has been asked (`stripe_tax`).
"""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Sum

from billing import wallets
from billing.credit_notes import annul_notes
from billing.ledger import Side, book, credit_balance, reverse
from billing.models import (
    AccountKind,
    Collection,
    Grant,
    GrantKind,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
)
from billing.numbering import next_number
from billing.stripe_gateway import intend
from billing.taxes import taxing_of
from plans.money import format_amount

Draw = tuple[Grant, int]
"""A grant, and how many minor units it gives."""


class InvoiceAlreadyFinalized(Exception):
    """Only drafts are finalized."""


class InvoiceNotVoidable(Exception):
    """Only a finalized invoice that is neither paid nor void can be voided."""


def finalize_invoice(invoice_id: uuid.UUID, *, gross: Callable[[int], int] | None = None, now: dt.datetime) -> Invoice:
    """Number, post and freeze a draft. Raises InvoiceAlreadyFinalized.

    Where Stripe is to be asked for the tax first, it comes back as a draft, and is finalized by the next sweep; that
    has seen more and says how a subtotal grows with tax (`gross`, minor units).
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice_id)
        if invoice.status != InvoiceStatus.DRAFT:
            raise InvoiceAlreadyFinalized(f"invoice {invoice} is {invoice.status}")
        invoice.subtotal = subtotal_of(invoice)
        taxing = taxing_of(invoice, now=now)
        draws = wallets.draws_for(invoice, invoice.subtotal, gross or taxing.gross, now)
        promotional = [draw for draw in draws if draw[0].kind == GrantKind.PROMOTIONAL]
        paid = [draw for draw in draws if draw[0].kind == GrantKind.PAID]
        if not taxing.apply(invoice.subtotal - _sum(promotional)):
            Invoice.objects.filter(pk=invoice.pk).update(finalize_at=now)
            invoice.finalize_at = now
            return invoice
        _take_off(invoice, promotional)
        _settle(invoice, _sum(paid), now)
        _post(invoice, draws, now)
        if invoice.amount_due:
            Collection.objects.create(invoice=invoice, not_before=now)
        else:
            wallets.invoice_paid(invoice, at=now)
        return invoice


def void_invoice(invoice_id: uuid.UUID, *, reason: str, now: dt.datetime, at_stripe: bool = True) -> Invoice:
    """Take back an unpaid invoice: the ledger is mirrored, Stripe told unless it told us. Raises InvoiceNotVoidable.

    Credit that was drawn goes back where it came from. Credit notes, which an unpaid invoice has only had to lower what
    is due, come to nothing with it.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice_id)
        if invoice.status != InvoiceStatus.FINALIZED:
            raise InvoiceNotVoidable(f"invoice {invoice} is {invoice.status}")
        invoice.status, invoice.voided_at, invoice.void_reason = InvoiceStatus.VOID, now, reason
        invoice.save(update_fields=["status", "voided_at", "void_reason"])
        annul_notes(invoice, now=now)
        reverse(invoice, ["total", "tax", "credit", "grant:"], suffix="void", at=now)
        wallets.invoice_voided(invoice, at=now)
        Collection.objects.filter(invoice=invoice).update(
            task=Collection.Task.VOID,
            state=Collection.State.DUE if at_stripe else Collection.State.DONE,
            not_before=now,
            attempts=0,
        )
        if invoice.tax_reference:
            intend("untax", invoice.customer, invoice=invoice, now=now)
        return invoice


def subtotal_of(invoice: Invoice) -> int:
    """What the lines of an invoice come to, in minor units."""
    return invoice.lines.aggregate(sum=Sum("amount"))["sum"] or 0


def _take_off(invoice: Invoice, promotional: Sequence[Draw]) -> None:
    """One line for all promotional credit, after all others."""
    if not promotional:
        return
    currency, amount = invoice.currency, _sum(promotional)
    grants = [
        {"grant": str(grant.pk), "name": grant.name, "amount": format_amount(given, currency)}
        for grant, given in promotional
    ]
    last = invoice.lines.aggregate(last=Max("position"))["last"]
    InvoiceLine.objects.create(
        invoice=invoice,
        position=last + 1,
        kind=LineKind.CREDIT,
        description="Promotional credit",
        quantity=1,
        unit_amount=None,
        amount=-amount,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        details={"grants": grants},
    )
    invoice.subtotal -= amount


def _settle(invoice: Invoice, prepaid: int, now: dt.datetime) -> None:
    """What remains to be paid when all credit is applied, and the number."""
    assert invoice.tax is not None
    invoice.total = invoice.subtotal if invoice.tax_inclusive else invoice.subtotal + invoice.tax
    owed = max(invoice.total, 0)
    # Asked for even where nothing is to be paid: it locks the accounts, and always before the sequence.
    credit = credit_balance(invoice.customer, invoice.currency)
    invoice.prepaid_applied = prepaid
    invoice.credit_applied = min(credit, owed - prepaid)
    invoice.amount_due = owed - prepaid - invoice.credit_applied
    invoice.number = next_number(settings.INVOICE_NUMBER_PREFIX)
    invoice.finalize_at, invoice.finalized_at = None, now
    invoice.status = InvoiceStatus.FINALIZED if invoice.amount_due else InvoiceStatus.PAID
    invoice.paid_at = None if invoice.amount_due else now
    invoice.save()
    if invoice.tax_reference:
        intend("tax", invoice.customer, invoice=invoice, now=now)


def _post(invoice: Invoice, draws: Sequence[Draw], now: dt.datetime) -> None:
    """Into the ledger, under names that `void_invoice` mirrors."""
    assert invoice.tax is not None
    sells_credit = invoice.kind == InvoiceKind.TOP_UP
    _claim(
        invoice, "total", AccountKind.PENDING if sells_credit else AccountKind.REVENUE, invoice.total - invoice.tax, now
    )
    _claim(invoice, "tax", AccountKind.TAX, invoice.tax, now)
    for grant, amount in draws:
        pays = AccountKind.PROMOTION if grant.kind == GrantKind.PROMOTIONAL else AccountKind.RECEIVABLE
        book(invoice, f"grant:{grant.pk}", debit=grant, credit=pays, amount=amount, at=now)
    credit, owed = AccountKind.CREDIT, AccountKind.RECEIVABLE
    book(invoice, "credit", debit=credit, credit=owed, amount=invoice.credit_applied, at=now)


def _claim(invoice: Invoice, name: str, source: Side, amount: int, now: dt.datetime) -> None:
    """The customer owes us so much for this, or we owe it to the customer where it is less than nothing."""
    if amount > 0:
        book(invoice, name, debit=AccountKind.RECEIVABLE, credit=source, amount=amount, at=now)
    else:
        book(invoice, name, debit=source, credit=AccountKind.CREDIT, amount=-amount, at=now)


def _sum(draws: Sequence[Draw]) -> int:
    return sum(amount for _, amount in draws)
