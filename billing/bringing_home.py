"""What has become of an invoice at Stripe? Fetch it, check that it is ours, and bring its fate into the books.

Webhooks are hints and may come twice, late or in any order: what counts is the object as it is now, and applying it
again changes nothing.
"""

import datetime as dt

import stripe
from django.db import transaction

from billing.finalizing import void_invoice
from billing.ledger import reverse, transfer
from billing.models import AccountKind, Collection, Invoice, InvoiceStatus
from billing.stripe_gateway import ask, metadata_of


class NotOurs(Exception):
    """The Stripe invoice was not made by us."""


class CannotBe(Exception):
    """Stripe's invoice contradicts ours; a person has to look."""


def bring_home(client: stripe.StripeClient, stripe_invoice_id: str, *, now: dt.datetime) -> None:
    """Apply what Stripe says of its invoice. Raises NotOurs, CannotBe, and those of `ask`."""
    found: stripe.Invoice = ask(lambda: client.v1.invoices.retrieve(stripe_invoice_id))
    with transaction.atomic():
        invoice = _ours(found)
        collection = Collection.objects.get(pk=invoice.pk)
        collection.stripe_invoice_id = collection.stripe_invoice_id or found.id
        collection.stripe_status = found.status or ""
        collection.hosted_url = found.hosted_invoice_url or ""
        collection.save(update_fields=["stripe_invoice_id", "stripe_status", "hosted_url"])
        if found.status == "paid":
            _paid(invoice, found, now)
        elif found.status == "void" and invoice.status == InvoiceStatus.FINALIZED:
            void_invoice(invoice.pk, now=now, at_stripe=False)
        elif found.status == "uncollectible" and invoice.status == InvoiceStatus.FINALIZED:
            _write_off(invoice, now)


def _ours(found: stripe.Invoice) -> Invoice:
    """Our invoice, locked, that the Stripe invoice names and agrees with."""
    named = metadata_of(found).get("parley_invoice")
    if not named:
        raise NotOurs(found.id)
    invoice = (
        Invoice.objects.select_for_update(of=["self"])
        .select_related("customer", "collection")
        .filter(pk=named)
        .exclude(status=InvoiceStatus.DRAFT)
        .first()
    )
    if invoice is None or invoice.collection.stripe_invoice_id not in (None, found.id):
        raise NotOurs(f"{found.id} names {named}")
    if found.currency != invoice.currency.lower() or (found.status != "draft" and found.total != invoice.amount_due):
        raise CannotBe(
            f"{found.id}: {found.total} {found.currency} there, {invoice.amount_due} {invoice.currency} here"
        )
    return invoice


def _paid(invoice: Invoice, found: stripe.Invoice, now: dt.datetime) -> None:
    """Book what Stripe collected. What it carried over to its customer balance is owed by Stripe's next invoice."""
    if invoice.status == InvoiceStatus.PAID:
        return
    if invoice.status == InvoiceStatus.VOID:
        _book(invoice, "late-payment", AccountKind.CASH, AccountKind.CREDIT, found.amount_paid, now)
        return
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        reverse(invoice, ["write-off"], suffix="recovered", at=now)
    collected, carried = found.amount_paid, invoice.amount_due - found.amount_paid
    if carried >= 0:
        _book(invoice, "payment", AccountKind.CASH, AccountKind.RECEIVABLE, collected, now)
        _book(invoice, "carried", AccountKind.CARRIED, AccountKind.RECEIVABLE, carried, now)
    else:
        _book(invoice, "payment", AccountKind.CASH, AccountKind.RECEIVABLE, invoice.amount_due, now)
        _book(invoice, "carried", AccountKind.CASH, AccountKind.CARRIED, -carried, now)
    invoice.status, invoice.paid_at = InvoiceStatus.PAID, now
    invoice.save(update_fields=["status", "paid_at"])
    Collection.objects.filter(pk=invoice.pk).update(state=Collection.State.DONE, payment_error="", last_error="")


def _write_off(invoice: Invoice, now: dt.datetime) -> None:
    _book(invoice, "write-off", AccountKind.BAD_DEBT, AccountKind.RECEIVABLE, invoice.amount_due, now)
    invoice.status = InvoiceStatus.UNCOLLECTIBLE
    invoice.save(update_fields=["status"])


def _book(invoice: Invoice, name: str, debit: AccountKind, credit: AccountKind, amount: int, now: dt.datetime) -> None:
    if amount:
        transfer(
            key=f"invoice:{invoice.id}:{name}",
            customer=invoice.customer,
            currency=invoice.currency,
            debit=debit,
            credit=credit,
            amount=amount,
            invoice=invoice,
            at=now,
        )
