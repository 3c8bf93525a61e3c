"""What has become of an invoice at Stripe? Fetch it, check that it is ours, and bring its fate into the books.

Webhooks are hints and may come twice, late or in any order: what counts is the object as it is now, and applying it
again changes nothing.
"""

import datetime as dt
import uuid

import stripe
from django.db import transaction

from billing import wallets
from billing.creditable import still_due, taken_off_due
from billing.finalizing import void_invoice
from billing.ledger import book, reverse
from billing.models import AccountKind, Collection, Invoice, InvoiceStatus
from billing.stripe_gateway import DELETED, StripeRefused, ask, metadata_of

HOW_FINAL = {"draft": 0, "open": 1, "uncollectible": 2, "paid": 3, "void": 3, DELETED: 3}
"""Stripe's statuses only ever follow each other in this order."""


class NotOurs(Exception):
    """The Stripe invoice was not made by us."""


class CannotBe(Exception):
    """Stripe's invoice contradicts ours; a person has to look."""


def bring_home(client: stripe.StripeClient, stripe_invoice_id: str, *, now: dt.datetime) -> None:
    """Apply what Stripe says of its invoice. Raises NotOurs, CannotBe, and those of `ask`."""
    try:
        found: stripe.Invoice = ask(lambda: client.v1.invoices.retrieve(stripe_invoice_id))
    except StripeRefused as error:
        if error.code != "resource_missing":
            raise
        return _deleted(stripe_invoice_id)
    with transaction.atomic():
        invoice = _ours(found)
        collection = Collection.objects.select_for_update().get(pk=invoice.pk)
        if HOW_FINAL.get(found.status or "", 0) < HOW_FINAL.get(collection.stripe_status, 0):
            return None  # somebody who looked later has been faster
        collection.stripe_invoice_id = found.id
        collection.stripe_status = found.status or ""
        collection.hosted_url = found.hosted_invoice_url or ""
        collection.save(update_fields=["stripe_invoice_id", "stripe_status", "hosted_url"])
        if found.status == "paid":
            _paid(invoice, found, now)
        elif found.status == "void":
            _voided(invoice, now)
        elif found.status == "uncollectible" and invoice.status == InvoiceStatus.FINALIZED:
            _write_off(invoice, now)
    return None


def _deleted(stripe_invoice_id: str) -> None:
    """Only of a void invoice do we delete the draft at Stripe."""
    collection = Collection.objects.filter(stripe_invoice_id=stripe_invoice_id).first()
    if collection is None:
        raise NotOurs(stripe_invoice_id)
    if collection.task != Collection.Task.VOID:
        raise CannotBe(f"Stripe does not know {stripe_invoice_id} any more")
    Collection.objects.filter(pk=collection.pk).update(stripe_status=DELETED)


def _ours(found: stripe.Invoice) -> Invoice:
    """Our invoice, locked, that the Stripe invoice names and agrees with."""
    named = metadata_of(found).get("parley_invoice", "")
    try:
        ours = Invoice.objects.filter(pk=uuid.UUID(named), collection__isnull=False)
    except ValueError as error:
        raise NotOurs(found.id) from error
    invoice = ours.select_for_update(of=["self"]).select_related("customer").first()
    if invoice is None:
        raise NotOurs(f"{found.id} names {named}")
    known = Collection.objects.get(pk=invoice.pk).stripe_invoice_id
    if known not in (None, found.id):
        raise NotOurs(f"{found.id} names {named}, which is {known}")
    if found.currency != invoice.currency.lower() or (found.status != "draft" and found.total != invoice.amount_due):
        raise CannotBe(
            f"{found.id}: {found.total} {found.currency} there, {invoice.amount_due} {invoice.currency} here"
        )
    return invoice


def _paid(invoice: Invoice, found: stripe.Invoice, now: dt.datetime) -> None:
    """Book what Stripe collected; of a void invoice, as credit. What a written-off one still brings is recovered.

    What Stripe carried over to the customer's balance there is owed by its next invoice, which then collects more.
    What credit notes have taken off here but not there in time was paid too much, and is credit.
    """
    collected, lowered = found.amount_paid, found.pre_payment_credit_notes_amount
    carried = (found.ending_balance or 0) - found.starting_balance
    credited = taken_off_due(invoice)
    if collected + carried + lowered != invoice.amount_due or lowered > credited:
        raise CannotBe(
            f"{found.id}: {collected} paid, {carried} carried over and {lowered} credited, of {invoice.amount_due}"
        )
    # What Stripe carried over from before comes in with this payment, and is none of this invoice.
    cash, owed_next = (collected, carried) if carried >= 0 else (collected + carried, 0)
    if invoice.status == InvoiceStatus.VOID:
        _receive(invoice, "late-", AccountKind.CREDIT, cash, owed_next, now)
        _collect_carried(invoice, "late-", -carried, now)
        return
    Collection.objects.filter(pk=invoice.pk).update(state=Collection.State.DONE, payment_error="", last_error="")
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        reverse(invoice, ["write-off"], suffix="recovered", at=now)
    settled_next = min(owed_next, invoice.amount_due - credited)
    settled = invoice.amount_due - credited - settled_next
    _receive(invoice, "", AccountKind.RECEIVABLE, settled, settled_next, now)
    _receive(invoice, "surplus-", AccountKind.CREDIT, cash - settled, owed_next - settled_next, now)
    _collect_carried(invoice, "", -carried, now)
    if invoice.status != InvoiceStatus.PAID:
        invoice.status, invoice.paid_at = InvoiceStatus.PAID, now
        invoice.save(update_fields=["status", "paid_at"])
        wallets.invoice_paid(invoice, at=now)


def _receive(invoice: Invoice, name: str, settles: AccountKind, cash: int, carried: int, now: dt.datetime) -> None:
    book(invoice, f"{name}payment", debit=AccountKind.CASH, credit=settles, amount=cash, at=now)
    book(invoice, f"{name}carried", debit=AccountKind.CARRIED, credit=settles, amount=carried, at=now)


def _collect_carried(invoice: Invoice, name: str, amount: int, now: dt.datetime) -> None:
    """What earlier invoices left to be collected with this one."""
    if amount > 0:
        book(invoice, f"{name}carried", debit=AccountKind.CASH, credit=AccountKind.CARRIED, amount=amount, at=now)


def _voided(invoice: Invoice, now: dt.datetime) -> None:
    """Voided at Stripe. What was written off or credited before stays so: nothing is owed either way."""
    if invoice.status == InvoiceStatus.FINALIZED:
        void_invoice(invoice.pk, reason="It was voided at Stripe.", now=now, at_stripe=False)
    elif invoice.status != InvoiceStatus.VOID:
        Collection.objects.filter(pk=invoice.pk).update(state=Collection.State.DONE)


def _write_off(invoice: Invoice, now: dt.datetime) -> None:
    owed, lost = AccountKind.RECEIVABLE, AccountKind.BAD_DEBT
    book(invoice, "write-off", debit=lost, credit=owed, amount=still_due(invoice), at=now)
    invoice.status = InvoiceStatus.UNCOLLECTIBLE
    invoice.save(update_fields=["status"])
