"""`/v1/invoices`: what is owed, line by line; billing once, finalizing, voiding."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body, Price
from billing.drafting import PeriodGone
from billing.editing import MOST_LINES, InvalidLine, InvoiceNotEditable, TooManyLines
from billing.finalizing import InvoiceAlreadyFinalized, InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.models import Invoice, InvoiceLine
from billing.one_off import NotAOneOff, OneOff, discard_one_off, draft_one_off
from billing.reissuing import reissue
from plans.money import format_amount, format_price
from plans.views.customers import Key, get_customer


class InvoiceFilter(PageQuery):
    """Which invoices to list."""

    customer: Key | None = None
    status: Literal["draft", "finalized", "paid", "void", "uncollectible"] | None = None
    kind: Literal["start", "change", "cycle", "adjustment", "one_off", "top_up"] | None = None


class NewLine(Body):
    """So many of something at so much each, billed once."""

    description: Annotated[str, Meta(min_length=1, max_length=500)]
    unit_amount: Price
    quantity: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1


class NewInvoice(Body):
    """An invoice beside any subscription, in the customer's currency; a draft unless it is finalized at once."""

    customer: Key
    lines: Annotated[list[NewLine], Meta(min_length=1, max_length=MOST_LINES)]
    finalize: bool = False


class Voiding(Body):
    """Why; and whether a new draft is to take its place."""

    reason: Annotated[str, Meta(max_length=500)] = ""
    reissue: bool = False


class InvoiceLineOut(msgspec.Struct):
    """One amount; `details` shows included, overage and steps, to be redone with a pencil.

    `id` is null only in a preview.
    """

    id: uuid.UUID | None
    kind: str
    description: str
    tier: str | None
    quantity: int
    unit_amount: str | None
    amount: str
    period_start: dt.datetime
    period_end: dt.datetime
    details: dict[str, Any]


class StripeOut(msgspec.Struct):
    """The invoice's counterpart at Stripe."""

    invoice: str | None
    status: str | None
    url: str | None
    payment_error: str | None


class TaxOut(msgspec.Struct):
    """The tax on the subtotal: added to it, or, where `inclusive`, contained in it."""

    name: str | None
    percent: str | None
    inclusive: bool
    amount: str


class InvoiceOut(msgspec.Struct):
    """An invoice. `subtotal` is the sum of its lines, `total` that with tax, `amount_due` what has to be paid of it.

    `tax` is null until it is computed, when the invoice is finalized. `prepaid_applied` was paid by prepaid credit,
    `credit_applied` by what we owed the customer; `amount_credited` was taken back by credit notes afterwards. `id` is
    null only in a preview.
    """

    id: uuid.UUID | None
    number: str | None
    customer: str
    subscription: uuid.UUID | None
    plan: str | None
    plan_version: int | None
    kind: str
    status: str
    currency: str
    period_index: int | None
    period_start: dt.datetime
    period_end: dt.datetime
    lines: list[InvoiceLineOut]
    subtotal: str
    tax: TaxOut | None
    total: str
    prepaid_applied: str
    credit_applied: str
    amount_due: str
    amount_credited: str
    reissue_of: uuid.UUID | None
    reissued_as: uuid.UUID | None
    void_reason: str | None
    created_at: dt.datetime
    finalized_at: dt.datetime | None
    paid_at: dt.datetime | None
    voided_at: dt.datetime | None
    stripe: StripeOut | None


SAME = ("id", "number", "kind", "status", "currency", "period_index", "period_start", "period_end")
TIMES = ("created_at", "finalized_at", "paid_at", "voided_at")
AMOUNTS = ("subtotal", "total", "prepaid_applied", "credit_applied", "amount_due")


def invoice_out(invoice: Invoice) -> InvoiceOut:
    currency, version = invoice.currency, invoice.plan_version
    reissued_as = getattr(invoice, "reissued_as", None)
    # Voiding an invoice takes its credit notes back, too.
    credited = 0 if invoice.voided_at else sum(note.total for note in invoice.credit_notes.all())
    same: dict[str, Any] = {name: getattr(invoice, name) for name in (*SAME, *TIMES)}
    amounts: dict[str, Any] = {name: format_amount(getattr(invoice, name), currency) for name in AMOUNTS}
    return InvoiceOut(
        **same,
        **amounts,
        customer=invoice.customer.key,
        subscription=invoice.subscription_id,
        plan=None if version is None else version.plan.code,
        plan_version=None if version is None else version.version,
        lines=[line_out(line, currency) for line in invoice.lines.all()],
        tax=_tax_out(invoice),
        amount_credited=format_amount(credited, currency),
        reissue_of=invoice.reissue_of_id,
        reissued_as=None if reissued_as is None else reissued_as.pk,
        void_reason=invoice.void_reason or None,
        stripe=_stripe_out(invoice),
    )


def _tax_out(invoice: Invoice) -> TaxOut | None:
    if invoice.tax is None:
        return None
    percent = invoice.tax_percent
    return TaxOut(
        name=invoice.tax_name or None,
        percent=None if percent is None else f"{percent.normalize():f}",
        inclusive=invoice.tax_inclusive,
        amount=format_amount(invoice.tax, invoice.currency),
    )


def line_out(line: InvoiceLine, currency: str) -> InvoiceLineOut:
    same = ("id", "kind", "description", "quantity", "period_start", "period_end", "details")
    return InvoiceLineOut(
        **{name: getattr(line, name) for name in same},
        tier=line.tier or None,
        unit_amount=None if line.unit_amount is None else format_price(line.unit_amount, currency),
        amount=format_amount(line.amount, currency),
    )


def _stripe_out(invoice: Invoice) -> StripeOut | None:
    collection = getattr(invoice, "collection", None)
    if collection is None:
        return None
    return StripeOut(
        invoice=collection.stripe_invoice_id,
        status=collection.stripe_status or None,
        url=collection.hosted_url or None,
        payment_error=collection.payment_error or None,
    )


INVOICES = Invoice.objects.select_related(
    "customer", "plan_version__plan", "collection", "reissued_as"
).prefetch_related("lines", "credit_notes")


def get_invoice(invoice_id: uuid.UUID) -> Invoice:
    """The invoice a URL names, or the problem 404."""
    invoice = INVOICES.filter(pk=invoice_id).first()
    if invoice is None:
        raise not_found("There is no such invoice.")
    return invoice


class Invoices(Endpoint):
    """`/v1/invoices`"""

    @operation(scope="read", query=InvoiceFilter, returns=Page[InvoiceOut], summary="List invoices")
    def get(self, request: Request, query: InvoiceFilter) -> Page[InvoiceOut]:
        invoices = INVOICES.all()
        if query.customer is not None:
            invoices = invoices.filter(customer=get_customer(query.customer))
        if query.status is not None:
            invoices = invoices.filter(status=query.status)
        if query.kind is not None:
            invoices = invoices.filter(kind=query.kind)
        return paginated(request, invoices, to_json=invoice_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewInvoice,
        returns=InvoiceOut,
        status=201,
        problems={InvalidLine: 400},
        summary="Bill a customer once, beside any subscription",
    )
    def post(self, request: Request, body: NewInvoice) -> Answer:
        lines = [OneOff(line.description, line.quantity, Decimal(line.unit_amount)) for line in body.lines]
        invoice = draft_one_off(get_customer(body.customer), lines, finalize=body.finalize, now=timezone.now())
        return Answer(invoice_out(get_invoice(invoice.pk)), location=f"/v1/invoices/{invoice.pk}")


class OneInvoice(Endpoint):
    """`/v1/invoices/{id}`"""

    @operation(scope="read", returns=InvoiceOut, summary="Read an invoice")
    def get(self, request: Request, invoice_id: uuid.UUID) -> InvoiceOut:
        return invoice_out(get_invoice(invoice_id))

    @operation(
        scope="manage",
        status=204,
        problems={InvoiceAlreadyFinalized: 409, InvoiceNotEditable: 409, NotAOneOff: 409},
        summary="Throw a one-off draft away",
    )
    def delete(self, request: Request, invoice_id: uuid.UUID) -> None:
        discard_one_off(get_invoice(invoice_id).pk)


class FinalizedInvoice(Endpoint):
    """`/v1/invoices/{id}/finalize`"""

    @operation(
        scope="manage",
        returns=InvoiceOut,
        problems={InvoiceAlreadyFinalized: 409},
        summary="Finalize a draft",
        description="It gets its number, is posted to the ledger and collected; from here on it does not change.",
    )
    def post(self, request: Request, invoice_id: uuid.UUID) -> InvoiceOut:
        finalize_invoice(get_invoice(invoice_id).pk, now=timezone.now())
        return invoice_out(get_invoice(invoice_id))


class VoidedInvoice(Endpoint):
    """`/v1/invoices/{id}/void`"""

    @operation(
        scope="manage",
        body=Voiding,
        returns=InvoiceOut,
        problems={InvoiceNotVoidable: 409, PeriodGone: 409, TooManyLines: 409},
        summary="Void an unpaid invoice",
        description=(
            "What it claimed is not billed again, unless it is reissued: then a new draft, named by `reissued_as`, "
            "bills its periods as they stand today, with the lines and discounts that were added by hand."
        ),
    )
    def post(self, request: Request, invoice_id: uuid.UUID, body: Voiding) -> InvoiceOut:
        void = reissue if body.reissue else void_invoice
        void(get_invoice(invoice_id).pk, reason=body.reason, now=timezone.now())
        return invoice_out(get_invoice(invoice_id))
