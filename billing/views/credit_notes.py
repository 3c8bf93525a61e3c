"""`/v1/credit-notes`: what is taken back of finalized invoices."""

import datetime as dt
import uuid
from typing import Annotated

import msgspec
from django.db.models import Prefetch
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body
from billing.credit_notes import InvalidCredit, NotCreditable, credit_note
from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.views.invoices import get_invoice
from billing.views.wallets import Money, minor
from plans.money import format_amount
from plans.views.customers import Key, get_customer


class CreditNoteFilter(PageQuery):
    """Which credit notes to list."""

    customer: Key | None = None
    invoice: uuid.UUID | None = None


class NewCreditNoteLine(Body):
    """So much of one line of the invoice, named by its id or its place (0 is the first)."""

    line: uuid.UUID | Annotated[int, Meta(ge=0, le=32_767)]
    amount: Money


class NewCreditNote(Body):
    """What to take back of an invoice: of some `lines`, an `amount` spread over all, or all that is left.

    Amounts are as on the invoice's lines: before tax that is added to them; that goes back in proportion. What is not
    due any more is kept as credit or, with `refund`, sent back as far as Stripe has collected it.
    """

    invoice: uuid.UUID
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    lines: Annotated[list[NewCreditNoteLine], Meta(min_length=1, max_length=250)] | None = None
    amount: Money | None = None
    refund: bool = False
    preview: bool = False


class CreditNoteLineOut(msgspec.Struct):
    """How much of an invoice line was taken back, and the tax that went with it."""

    line: uuid.UUID
    position: int
    description: str
    amount: str
    tax: str


class RefundOut(msgspec.Struct):
    """How the refund goes. One that has failed or was canceled did not reach the customer, who has credit instead."""

    id: str | None
    status: str
    error: str | None


class CreditNoteOut(msgspec.Struct):
    """A credit note. Its `total` is `net` with `tax` (which `net` contains where the invoice's prices do).

    It went off what was due (`off_due`), was sent back (`refunded`), or is kept as credit (`credited`). Only a preview
    has no number.
    """

    id: uuid.UUID
    number: str | None
    customer: str
    invoice: uuid.UUID
    invoice_number: str
    reason: str
    currency: str
    lines: list[CreditNoteLineOut]
    net: str
    tax: str
    total: str
    off_due: str
    refunded: str
    credited: str
    refund: RefundOut | None
    created_at: dt.datetime


LINES = Prefetch("lines", CreditNoteLine.objects.select_related("invoice_line").order_by("invoice_line__position"))
NOTES = CreditNote.objects.select_related("customer", "invoice").prefetch_related(LINES)


def credit_note_out(note: CreditNote) -> CreditNoteOut:
    amounts = ("net", "tax", "total", "off_due", "refunded", "credited")
    return CreditNoteOut(
        **{name: format_amount(getattr(note, name), note.currency) for name in amounts},
        id=note.id,
        number=note.number or None,
        customer=note.customer.key,
        invoice=note.invoice_id,
        invoice_number=str(note.invoice),
        reason=note.reason,
        currency=note.currency,
        lines=[_line_out(line, note.currency) for line in note.lines.all()],
        refund=_refund_out(note),
        created_at=note.created_at,
    )


def _line_out(line: CreditNoteLine, currency: str) -> CreditNoteLineOut:
    return CreditNoteLineOut(
        line=line.invoice_line_id,
        position=line.invoice_line.position,
        description=line.invoice_line.description,
        amount=format_amount(line.amount, currency),
        tax=format_amount(line.tax, currency),
    )


def _refund_out(note: CreditNote) -> RefundOut | None:
    if not note.refunded:
        return None
    return RefundOut(note.refund_id or None, note.refund_status or "pending", note.last_error or None)


class CreditNotes(Endpoint):
    """`/v1/credit-notes`"""

    @operation(scope="read", query=CreditNoteFilter, returns=Page[CreditNoteOut], summary="List credit notes")
    def get(self, request: Request, query: CreditNoteFilter) -> Page[CreditNoteOut]:
        notes = NOTES.all()
        if query.customer is not None:
            notes = notes.filter(customer=get_customer(query.customer))
        if query.invoice is not None:
            notes = notes.filter(invoice=query.invoice)
        return paginated(request, notes, to_json=credit_note_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewCreditNote,
        returns=CreditNoteOut,
        status=201,
        problems={NotCreditable: 409, InvalidCredit: 400},
        summary="Take back an invoice, or a part of it",
        description="A preview changes nothing and is answered with 200.",
    )
    def post(self, request: Request, body: NewCreditNote) -> Answer:
        invoice = get_invoice(body.invoice)
        if body.lines is not None and body.amount is not None:
            raise InvalidCredit("/amount", "either lines or an amount, or neither to take back all that is left")
        note = credit_note(
            invoice,
            reason=body.reason,
            lines=None if body.lines is None else _lines(invoice, body.lines),
            amount=None if body.amount is None else minor(body.amount, "/amount", invoice.currency),
            to="refund" if body.refund else "credit",
            preview=body.preview,
            now=timezone.now(),
        )
        location = "" if body.preview else f"/v1/credit-notes/{note.id}"
        return Answer(credit_note_out(note), status=200 if body.preview else 201, location=location)


class OneCreditNote(Endpoint):
    """`/v1/credit-notes/{id}`"""

    @operation(scope="read", returns=CreditNoteOut, summary="Read a credit note")
    def get(self, request: Request, note_id: uuid.UUID) -> CreditNoteOut:
        note = NOTES.filter(pk=note_id).first()
        if note is None:
            raise not_found("There is no such credit note.")
        return credit_note_out(note)


def _lines(invoice: Invoice, given: list[NewCreditNoteLine]) -> list[tuple[InvoiceLine, int]]:
    known: dict[uuid.UUID | int, InvoiceLine] = {}
    for line in invoice.lines.all():
        known[line.id] = known[line.position] = line
    for place, one in enumerate(given):
        if one.line not in known:
            raise InvalidCredit(f"/lines/{place}/line", "the invoice has no such line")
    return [
        (known[one.line], minor(one.amount, f"/lines/{place}/amount", invoice.currency))
        for place, one in enumerate(given)
    ]
