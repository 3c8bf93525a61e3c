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

from billing import wallets
from billing.accounts import Accounts
from billing.bills import Bill, subtotal_of, write
from billing.copying import insert
from billing.credit_notes import annul_notes
from billing.ledger import Postings, reverse
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
from billing.numbering import Numbers, next_numbers
from billing.stripe_gateway import intend
from billing.taxes import rates_in_force, taxing_of
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
        finalize_bills([Bill(invoice, list(invoice.lines.all()))], gross=gross, now=now)
        return invoice


def finalize_bills(
    bills: Sequence[Bill],
    *,
    gross: Callable[[int], int] | None = None,
    numbers: Numbers = next_numbers,
    now: dt.datetime,
) -> None:
    """Number, post and freeze drafts that the caller has locked or just made, and write them; in its transaction.

    Those whose tax Stripe is to be asked for are written as drafts.
    """
    invoices = [bill.invoice for bill in bills]
    rates = rates_in_force(now)
    accounts = Accounts((invoice.customer_id, invoice.currency) for invoice in invoices)
    postings = Postings(accounts)
    grants = wallets.grants_for(invoices, accounts, now=now)
    final = []
    for bill in bills:
        bill.invoice.subtotal = subtotal_of(bill.lines)
        taxing = taxing_of(bill.invoice, rates)
        draws = wallets.draw_on(accounts, grants[bill.invoice], bill.invoice.subtotal, gross or taxing.gross)
        promotional = [draw for draw in draws if draw[0].kind == GrantKind.PROMOTIONAL]
        if not taxing.apply(bill.invoice.subtotal - _sum(promotional)):
            bill.invoice.finalize_at = now
            continue
        _take_off(bill, promotional)
        _settle(bill.invoice, _sum(draws) - _sum(promotional), accounts, now)
        _post(bill.invoice, draws, postings, now)
        final.append(bill.invoice)
    for invoice, number in zip(final, numbers(settings.INVOICE_NUMBER_PREFIX, len(final)), strict=True):
        invoice.number = number
    write(bills)
    postings.write()
    _hand_on(final, now)


def _hand_on(invoices: Sequence[Invoice], now: dt.datetime) -> None:
    """To whom it concerns that invoices are finalized: collecting, Stripe Tax, the wallet that was filled."""
    insert([Collection(invoice=invoice, not_before=now) for invoice in invoices if invoice.amount_due])
    for invoice in invoices:
        if invoice.tax_reference:
            intend("tax", invoice.customer, invoice=invoice, now=now)
        if not invoice.amount_due:
            wallets.invoice_paid(invoice, at=now)


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


def _take_off(bill: Bill, promotional: Sequence[Draw]) -> None:
    """One line for all promotional credit, after all others."""
    if not promotional:
        return
    invoice, amount = bill.invoice, _sum(promotional)
    grants = [
        {"grant": str(grant.pk), "name": grant.name, "amount": format_amount(given, invoice.currency)}
        for grant, given in promotional
    ]
    line = InvoiceLine(
        invoice=invoice,
        position=bill.lines[-1].position + 1,
        kind=LineKind.CREDIT,
        description="Promotional credit",
        quantity=1,
        unit_amount=None,
        amount=-amount,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        details={"grants": grants},
    )
    bill.lines.append(line)
    invoice.subtotal -= amount


def _settle(invoice: Invoice, prepaid: int, accounts: Accounts, now: dt.datetime) -> None:
    """What remains to be paid when all credit is applied."""
    assert invoice.tax is not None
    invoice.total = invoice.subtotal if invoice.tax_inclusive else invoice.subtotal + invoice.tax
    owed = max(invoice.total, 0)
    credit = accounts.of((invoice.customer_id, invoice.currency), AccountKind.CREDIT)
    invoice.prepaid_applied = prepaid
    invoice.credit_applied = min(credit.credits - credit.debits, owed - prepaid)
    invoice.amount_due = owed - prepaid - invoice.credit_applied
    invoice.finalize_at, invoice.finalized_at = None, now
    invoice.status = InvoiceStatus.FINALIZED if invoice.amount_due else InvoiceStatus.PAID
    invoice.paid_at = None if invoice.amount_due else now


def _post(invoice: Invoice, draws: Sequence[Draw], postings: Postings, now: dt.datetime) -> None:
    """Into the ledger, under names that `void_invoice` mirrors."""
    assert invoice.tax is not None
    source = AccountKind.PENDING if invoice.kind == InvoiceKind.TOP_UP else AccountKind.REVENUE  # it sells credit
    for name, of, claim in (("total", source, invoice.total - invoice.tax), ("tax", AccountKind.TAX, invoice.tax)):
        if claim > 0:
            postings.book(invoice, name, debit=AccountKind.RECEIVABLE, credit=of, amount=claim, at=now)
        else:  # we owe it to the customer
            postings.book(invoice, name, debit=of, credit=AccountKind.CREDIT, amount=-claim, at=now)
    for grant, amount in draws:
        pays = AccountKind.PROMOTION if grant.kind == GrantKind.PROMOTIONAL else AccountKind.RECEIVABLE
        postings.book(invoice, f"grant:{grant.pk}", debit=grant, credit=pays, amount=amount, at=now)
    credit, owed = AccountKind.CREDIT, AccountKind.RECEIVABLE
    postings.book(invoice, "credit", debit=credit, credit=owed, amount=invoice.credit_applied, at=now)


def _sum(draws: Sequence[Draw]) -> int:
    return sum(amount for _, amount in draws)
