"""`/v1/invoices/{id}/pdf`, `/lines.csv`, `/conversations.csv`: an invoice to keep, and every conversation behind it."""

import csv
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from billing.counted import conversations_on
from billing.invoice_pdf import invoice_pdf
from billing.models import Invoice
from billing.statements import statement_of
from billing.views.invoices import get_invoice, invoice_out

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""What makes a spreadsheet run a text as a formula, where it begins with it."""


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
        return _csv(f"{_file_name(invoice)}-lines.csv", header, rows)


class InvoiceConversationsCsv(Endpoint):
    """`/v1/invoices/{id}/conversations.csv`"""

    @operation(scope="read", summary="Download every conversation counted on an invoice as CSV")
    def get(self, request: Request, invoice_id: uuid.UUID) -> StreamingHttpResponse:
        invoice = get_invoice(invoice_id)
        header = ["conversation", "sitting", "tier", "turns", "tokens", "opened_at", "settled_at", "id"]
        header += ["outcome", "billable", "band"]
        return _csv(f"{_file_name(invoice)}-conversations.csv", header, conversations_on(invoice))


class InvoicePdf(Endpoint):
    """`/v1/invoices/{id}/pdf`"""

    @operation(scope="read", summary="Download an invoice as PDF")
    def get(self, request: Request, invoice_id: uuid.UUID) -> HttpResponse:
        invoice = get_invoice(invoice_id)
        response = HttpResponse(invoice_pdf(statement_of(invoice)), content_type="application/pdf")
        response["Content-Disposition"] = f'inline; filename="{_file_name(invoice)}.pdf"'
        return response


def _file_name(invoice: Invoice) -> str:
    return invoice.number or f"draft-{invoice.id}"


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


def spreadsheet_safe(cell: Any) -> Any:
    """Text that a spreadsheet would run as a formula, disarmed with an apostrophe; numbers stay numbers."""
    if isinstance(cell, str) and cell.lstrip(" '\"").startswith(DANGEROUS) and not _is_number(cell):
        return f"'{cell}"
    return cell


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
