"""`/v1/invoices`: what is owed, line by line, and every conversation behind a line."""

import csv
import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from billing.finalizing import InvoiceAlreadyFinalized, InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.models import Invoice, InvoiceLine
from billing.statements import conversations_on, spreadsheet_safe
from plans.money import format_amount, format_price
from plans.views.customers import Key, get_customer


class InvoiceFilter(PageQuery):
    """Which invoices to list."""

    customer: Key | None = None
    status: Literal["draft", "finalized", "paid", "void", "uncollectible"] | None = None


class InvoiceLineOut(msgspec.Struct):
    """One amount; `details` shows included, overage and steps, to be redone with a pencil."""

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


class InvoiceOut(msgspec.Struct):
    """An invoice; `total` is the sum of its lines, `amount_due` what credit has left of it to pay."""

    id: uuid.UUID
    number: str | None
    customer: str
    subscription: uuid.UUID
    plan: str
    plan_version: int
    kind: str
    status: str
    currency: str
    period_start: dt.datetime
    period_end: dt.datetime
    lines: list[InvoiceLineOut]
    total: str
    credit_applied: str
    amount_due: str
    created_at: dt.datetime
    finalized_at: dt.datetime | None
    paid_at: dt.datetime | None
    voided_at: dt.datetime | None
    stripe: StripeOut | None


def invoice_out(invoice: Invoice) -> InvoiceOut:
    currency = invoice.currency
    same = ("id", "number", "kind", "status", "currency", "period_start", "period_end")
    times = ("created_at", "finalized_at", "paid_at", "voided_at")
    return InvoiceOut(
        **{name: getattr(invoice, name) for name in (*same, *times)},
        customer=invoice.customer.key,
        subscription=invoice.subscription_id,
        plan=invoice.plan_version.plan.code,
        plan_version=invoice.plan_version.version,
        lines=[line_out(line, currency) for line in invoice.lines.all()],
        total=format_amount(invoice.total, currency),
        credit_applied=format_amount(invoice.credit_applied, currency),
        amount_due=format_amount(invoice.amount_due, currency),
        stripe=_stripe_out(invoice),
    )


def line_out(line: InvoiceLine, currency: str) -> InvoiceLineOut:
    same = ("kind", "description", "quantity", "period_start", "period_end", "details")
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


INVOICES = Invoice.objects.select_related("customer", "plan_version__plan", "collection").prefetch_related("lines")


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
        return paginated(request, invoices, to_json=invoice_out, limit=query.limit, cursor=query.cursor)


class OneInvoice(Endpoint):
    """`/v1/invoices/{id}`"""

    @operation(scope="read", returns=InvoiceOut, summary="Read an invoice")
    def get(self, request: Request, invoice_id: uuid.UUID) -> InvoiceOut:
        return invoice_out(get_invoice(invoice_id))


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
        returns=InvoiceOut,
        problems={InvoiceNotVoidable: 409},
        summary="Void an unpaid invoice",
        description="What it claimed is not billed again.",
    )
    def post(self, request: Request, invoice_id: uuid.UUID) -> InvoiceOut:
        void_invoice(get_invoice(invoice_id).pk, now=timezone.now())
        return invoice_out(get_invoice(invoice_id))


class InvoiceLinesCsv(Endpoint):
    """`/v1/invoices/{id}/lines.csv`"""

    @operation(scope="read", summary="Download an invoice's lines as CSV")
    def get(self, request: Request, invoice_id: uuid.UUID) -> StreamingHttpResponse:
        invoice = get_invoice(invoice_id)
        header = ["kind", "tier", "description", "quantity", "unit_amount", "amount", "currency", "from", "to"]
        rows = (
            [line.kind, line.tier or "", line.description, line.quantity, line.unit_amount or "", line.amount]
            + [invoice.currency, line.period_start.isoformat(), line.period_end.isoformat()]
            for line in invoice_out(invoice).lines
        )
        return _csv(f"{invoice}-lines.csv", header, rows)


class InvoiceConversationsCsv(Endpoint):
    """`/v1/invoices/{id}/conversations.csv`"""

    @operation(scope="read", summary="Download every conversation counted on an invoice as CSV")
    def get(self, request: Request, invoice_id: uuid.UUID) -> StreamingHttpResponse:
        invoice = get_invoice(invoice_id)
        header = ["conversation", "sitting", "tier", "turns", "tokens", "opened_at", "settled_at", "id"]
        return _csv(f"{invoice}-conversations.csv", header, conversations_on(invoice))


class _Echo:
    """A file that hands each written line back to the response."""

    def write(self, text: str) -> str:
        return text


def _csv(name: str, header: list[str], rows: Iterable[list[Any]]) -> StreamingHttpResponse:
    writer = csv.writer(_Echo())

    def lines() -> Iterator[str]:
        yield writer.writerow(header)
        for row in rows:
            yield writer.writerow([spreadsheet_safe(cell) for cell in row])

    response = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
