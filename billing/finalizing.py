"""How does a draft become a bill, and how is one taken back? A number without gaps, the ledger, and then no change.

Finalizing posts the total to what the customer owes (or, when it is negative, to what we owe the customer), pays what
it can from that credit, and leaves the rest to be collected: the collection row is written in the same transaction.
"""

import datetime as dt
import uuid

from django.conf import settings
from django.db import connection, transaction

from billing.ledger import book, credit_balance, reverse
from billing.models import AccountKind, Collection, Invoice, InvoiceStatus

NEXT_NUMBER = """
INSERT INTO billing_invoicesequence AS given (prefix, last) VALUES (%s, 1)
ON CONFLICT (prefix) DO UPDATE SET last = given.last + 1 RETURNING last
"""


class InvoiceAlreadyFinalized(Exception):
    """Only drafts are finalized."""


class InvoiceNotVoidable(Exception):
    """Only a finalized invoice that is neither paid nor void can be voided."""


def finalize_invoice(invoice_id: uuid.UUID, *, now: dt.datetime) -> Invoice:
    """Number, post and freeze a draft. Raises InvoiceAlreadyFinalized."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice_id)
        if invoice.status != InvoiceStatus.DRAFT:
            raise InvoiceAlreadyFinalized(f"invoice {invoice} is {invoice.status}")
        # Asked for even where nothing is to be paid: it locks the accounts, and always before the sequence.
        credit = credit_balance(invoice.customer, invoice.currency)
        invoice.credit_applied = min(credit, max(invoice.total, 0))
        invoice.amount_due = max(invoice.total, 0) - invoice.credit_applied
        invoice.number = _next_number()
        invoice.finalized_at = now
        invoice.status = InvoiceStatus.FINALIZED if invoice.amount_due else InvoiceStatus.PAID
        invoice.paid_at = None if invoice.amount_due else now
        invoice.save()
        _post(invoice, now)
        if invoice.amount_due:
            Collection.objects.create(invoice=invoice, not_before=now)
        return invoice


def void_invoice(invoice_id: uuid.UUID, *, now: dt.datetime, at_stripe: bool = True) -> Invoice:
    """Take back an unpaid invoice: the ledger is mirrored, Stripe told unless it told us. Raises InvoiceNotVoidable.

    The period stays given up: what a void invoice claimed is not billed again.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice_id)
        if invoice.status != InvoiceStatus.FINALIZED:
            raise InvoiceNotVoidable(f"invoice {invoice} is {invoice.status}")
        invoice.status, invoice.voided_at = InvoiceStatus.VOID, now
        invoice.save(update_fields=["status", "voided_at"])
        reverse(invoice, ["total", "credit"], suffix="void", at=now)
        Collection.objects.filter(invoice=invoice).update(
            task=Collection.Task.VOID,
            state=Collection.State.DUE if at_stripe else Collection.State.DONE,
            not_before=now,
            attempts=0,
        )
        return invoice


def _post(invoice: Invoice, now: dt.datetime) -> None:
    owed, earned, credit = AccountKind.RECEIVABLE, AccountKind.REVENUE, AccountKind.CREDIT
    if invoice.total > 0:
        book(invoice, "total", debit=owed, credit=earned, amount=invoice.total, at=now)
    else:
        book(invoice, "total", debit=earned, credit=credit, amount=-invoice.total, at=now)
    book(invoice, "credit", debit=credit, credit=owed, amount=invoice.credit_applied, at=now)


def _next_number() -> str:
    """The next number of the sequence; whoever comes second waits for the first to commit or to give it back."""
    prefix = settings.INVOICE_NUMBER_PREFIX
    with connection.cursor() as cursor:
        cursor.execute(NEXT_NUMBER, [prefix])
        return f"{prefix}{cursor.fetchone()[0]:06d}"
