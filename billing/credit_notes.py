"""How is a finalized invoice corrected? With a credit note, which takes back some of its lines, or all of it.

A note first lowers what is still due. What has been paid goes to the customer's credit balance or, as far as Stripe has
collected it, back to where it came from (`refunding`). The tax goes back in proportion; all notes of an invoice
together give back exactly what it claimed. Notes of one invoice are written one after the other, under its lock.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from django.conf import settings
from django.db import transaction
from django.db.models import Sum, prefetch_related_objects

from billing import ledger
from billing.creditable import left_to_credit, refundable, still_due
from billing.models import (
    AccountKind,
    CreditNote,
    CreditNoteLine,
    Grant,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
)
from billing.numbering import next_number
from billing.stripe_gateway import intend
from plans.money import format_amount, smallest_charge
from plans.sharing import share_out
from plans.taxing import refund_tax

To = Literal["credit", "refund"]
Taken = list[tuple[InvoiceLine, int]]
"""Lines of an invoice, and how many minor units of each are taken back."""


class NotCreditable(Exception):
    """Nothing of the invoice can be taken back: it is not finalized, or nothing is left of it."""


class InvalidCredit(ValueError):
    """So much cannot be taken back; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


def credit_note(
    invoice: Invoice,
    *,
    reason: str,
    lines: Sequence[tuple[InvoiceLine, int]] | None = None,
    amount: int | None = None,
    to: To = "credit",
    preview: bool = False,
    now: dt.datetime,
) -> CreditNote:
    """Take back so much of these lines, or an `amount` spread over all of them, or all that is left.

    Amounts are minor units as on the invoice's lines: before tax that is added, with tax that is contained. What is
    not due any more goes `to` the credit balance, or as a refund. A preview does all of it and takes it back.
    Raises NotCreditable, InvalidCredit.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice.pk)
        taken = _taken(invoice, lines, amount)
        grant = _unused_grant(invoice, taken)
        note = _compose(invoice, reason, taken, to, now)
        note.number = next_number(settings.CREDIT_NOTE_NUMBER_PREFIX)
        note.save(force_insert=True)
        CreditNoteLine.objects.bulk_create(_lines(note, taken))
        _post(note, grant, now)
        _pay_what_is_settled(invoice, now)
        if invoice.tax_reference:
            intend("untax", invoice.customer, credit_note=note, now=now)
        prefetch_related_objects([note], "lines__invoice_line")
        if preview:
            note.number = ""
            transaction.set_rollback(True)
        return note


def annul_notes(invoice: Invoice, *, now: dt.datetime) -> None:
    """Mirror what credit notes did to an invoice that is voided; inside its transaction.

    An unpaid invoice has only notes that lowered what is due: any other would have paid it.
    """
    for note in CreditNote.objects.filter(invoice=invoice).order_by("-id"):
        for entry in note.transfers.select_related("debit", "credit").order_by("-id"):
            name = entry.key.removeprefix(_key(note, ""))
            debit, credit = AccountKind(entry.credit.kind), AccountKind(entry.debit.kind)
            book(note, f"{name}:void", debit=debit, credit=credit, amount=entry.amount, at=now)
        CreditNote.objects.filter(pk=note.pk).update(state=CreditNote.State.DONE)


def book(note: CreditNote, name: str, *, debit: ledger.Side, credit: ledger.Side, amount: int, at: dt.datetime) -> None:
    """Move money for a credit note, once under each name; nothing where there is nothing to move."""
    if amount:
        ledger.transfer(
            key=_key(note, name),
            customer=note.customer,
            currency=note.currency,
            debit=debit,
            credit=credit,
            amount=amount,
            invoice=None,
            credit_note=note,
            at=at,
        )


def is_booked(note: CreditNote, name: str) -> bool:
    """Whether money was moved for the note under this name."""
    return note.transfers.filter(key=_key(note, name)).exists()


def _key(note: CreditNote, name: str) -> str:
    return f"credit_note:{note.pk}:{name}"


# --- what is taken back ---------------------------------------------------------------------------------------------


def _taken(invoice: Invoice, lines: Sequence[tuple[InvoiceLine, int]] | None, amount: int | None) -> Taken:
    if invoice.status not in (InvoiceStatus.FINALIZED, InvoiceStatus.PAID):
        raise NotCreditable(f"invoice {invoice} is {invoice.status}")
    left = left_to_credit(invoice)
    if not sum(left.values()):
        raise NotCreditable(f"nothing is left of invoice {invoice} that could be taken back")
    if lines is not None:
        taken = [
            (line, _checked(given, left.get(line, 0), invoice, f"/lines/{n}")) for n, (line, given) in enumerate(lines)
        ]
        if not taken or len({line for line, _ in taken}) < len(taken):
            raise InvalidCredit("/lines", "names one line at least, and none twice")
        return taken
    whole = sum(left.values())
    amount = whole if amount is None else _checked(amount, whole, invoice, "")
    parts = share_out(amount, list(left.values()), unit=smallest_charge(invoice.currency))
    return [(line, part) for line, part in zip(left, parts, strict=True) if part]


def _checked(amount: int, left: int, invoice: Invoice, pointer: str) -> int:
    if not 0 < amount <= left:
        most = f"{format_amount(left, invoice.currency)} {invoice.currency}"
        raise InvalidCredit(f"{pointer}/amount", f"more than nothing, and at most what is left: {most}")
    if amount % smallest_charge(invoice.currency):
        raise InvalidCredit(f"{pointer}/amount", f"cannot be paid in {invoice.currency}: it is too fine")
    return amount


def _unused_grant(invoice: Invoice, taken: Taken) -> Grant | None:
    """The grant that a top-up has sold, locked; it is taken back whole and untouched, or not at all."""
    ledger.credit_balance(invoice.customer, invoice.currency)  # accounts are locked before the sequence of numbers
    if invoice.kind != InvoiceKind.TOP_UP:
        return None
    grant = Grant.objects.get(invoice=invoice)
    left = ledger.grant_balances(invoice.customer, invoice.currency, [grant])[grant.pk]
    if invoice.status != InvoiceStatus.PAID:
        raise NotCreditable(f"invoice {invoice} is not paid yet: void it")
    if left != grant.amount or sum(amount for _, amount in taken) != grant.amount:
        raise NotCreditable("prepaid credit is taken back whole, and only while nothing of it has been used")
    return grant


def _compose(invoice: Invoice, reason: str, taken: Taken, to: To, now: dt.datetime) -> CreditNote:
    assert invoice.tax is not None
    net = sum(amount for _, amount in taken)
    sums = CreditNote.objects.filter(invoice=invoice).aggregate(net=Sum("net", default=0), tax=Sum("tax", default=0))
    tax = refund_tax(
        total_tax=invoice.tax,
        total_net=invoice.subtotal,
        refunded_net=net,
        already_net=sums["net"],
        already_tax=sums["tax"],
        currency=invoice.currency,
    )
    total = net if invoice.tax_inclusive else net + tax
    off_due = min(total, still_due(invoice))
    refunded = min(total - off_due, refundable(invoice)) if to == "refund" else 0
    work = off_due or refunded
    return CreditNote(
        invoice=invoice,
        customer=invoice.customer,
        reason=reason,
        currency=invoice.currency,
        net=net,
        tax=tax,
        total=total,
        off_due=off_due,
        refunded=refunded,
        credited=total - off_due - refunded,
        created_at=now,
        state=CreditNote.State.DUE if work else CreditNote.State.DONE,
        not_before=now if work else None,
    )


def _lines(note: CreditNote, taken: Taken) -> list[CreditNoteLine]:
    taxes = share_out(note.tax, [amount for _, amount in taken])
    return [
        CreditNoteLine(credit_note=note, invoice_line=line, amount=amount, tax=tax)
        for (line, amount), tax in zip(taken, taxes, strict=True)
    ]


# --- what that does -------------------------------------------------------------------------------------------------


def _post(note: CreditNote, grant: Grant | None, now: dt.datetime) -> None:
    """The customer gets credit, which at once pays what is due, or is put aside for the refund."""
    given, source = AccountKind.CREDIT, grant or AccountKind.REVENUE
    book(note, "net", debit=source, credit=given, amount=note.total - note.tax, at=now)
    book(note, "tax", debit=AccountKind.TAX, credit=given, amount=note.tax, at=now)
    book(note, "due", debit=given, credit=AccountKind.RECEIVABLE, amount=note.off_due, at=now)
    book(note, "refunding", debit=given, credit=AccountKind.REFUND, amount=note.refunded, at=now)
    if grant is not None:
        Grant.objects.filter(pk=grant.pk).update(voided_at=now)


def _pay_what_is_settled(invoice: Invoice, now: dt.datetime) -> None:
    if invoice.status == InvoiceStatus.FINALIZED and still_due(invoice) == 0:
        invoice.status, invoice.paid_at = InvoiceStatus.PAID, now
        invoice.save(update_fields=["status", "paid_at"])
