"""What was taken back of invoices, and where did the money go? Credit notes with their lines; frozen when written."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.creditable import REFUND_FAILED
from billing.models import CreditNote, CreditNoteLine
from console.amounts import money
from console.collected import StripeCallInline
from console.filters import by_state, by_value
from console.links import row_link
from console.posted import TransferInline
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from console.sums import settling_of, where_it_went


def ways(now: dt.datetime) -> dict[str, Q]:
    """Where the money of a credit note went; it may have gone several ways."""
    return {
        "off what was due": Q(off_due__gt=0),
        "refunded": Q(refunded__gt=0),
        "refund failed": Q(refunded__gt=0, refund_status__in=REFUND_FAILED),
        "to the balance": Q(credited__gt=0),
    }


class NoteLineInline(ReadOnlyInline):
    model = CreditNoteLine
    verbose_name_plural = "lines"
    fields = ("corrected", "net_amount", "tax_amount")

    def get_queryset(self, request: HttpRequest) -> Any:
        lines = super().get_queryset(request).select_related("credit_note", "invoice_line")
        return lines.order_by("invoice_line__position")

    @admin.display(description="Of the invoice's line")
    def corrected(self, line: CreditNoteLine) -> str:
        return row_link(line.invoice_line)

    @admin.display(description="Amount")
    def net_amount(self, line: CreditNoteLine) -> str:
        return money(line.amount, line.credit_note.currency)

    @admin.display(description="Its tax")
    def tax_amount(self, line: CreditNoteLine) -> str:
        return money(line.tax, line.credit_note.currency)


class CreditNoteAdmin(ReadOnlyAdmin):
    list_display = (
        "number",
        "corrected",
        "customer",
        "reason",
        "total_amount",
        "went",
        "short_state",
        "created_at",
    )
    list_filter = (by_value("state", CreditNote.State, of="state"), by_state(ways, of="went"), "created_at")
    search_fields = ("number__exact", "invoice__number__exact", "customer__key__exact", "refund_id__exact")
    ordering = ("-id",)
    fields = (
        "number",
        "corrected",
        "customer_page",
        "reason",
        "settling",
        "state",
        ("refund_id", "refund_status"),
        "stripe_id",
        ("attempts", "not_before"),
        "last_error",
        "created_at",
    )
    inlines = (NoteLineInline, TransferInline, StripeCallInline)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer", "invoice")

    @admin.display(description="Corrects")
    def corrected(self, note: CreditNote) -> str:
        return row_link(note.invoice)

    @admin.display(description="Customer")
    def customer_page(self, note: CreditNote) -> str:
        return row_link(note.customer)

    @admin.display(description="Sum")
    def settling(self, note: CreditNote) -> SafeString:
        return settling_of(note)

    @admin.display(description="Total", ordering="total")
    def total_amount(self, note: CreditNote) -> str:
        return money(note.total, note.currency)

    @admin.display(description="Where it went")
    def went(self, note: CreditNote) -> str:
        return where_it_went(note)

    @admin.display(description="At Stripe", ordering="state")
    def short_state(self, note: CreditNote) -> str:
        return note.state


class CreditNoteLineAdmin(ReadOnlyAdmin):
    list_display = ("credit_note", "corrected", "net_amount", "tax_amount")
    search_fields = ("credit_note__number__exact", "invoice_line__invoice__number__exact")
    ordering = ("-id",)
    fields = ("note_page", "corrected", "net_amount", "tax_amount")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("credit_note", "invoice_line")

    @admin.display(description="Credit note")
    def note_page(self, line: CreditNoteLine) -> str:
        return row_link(line.credit_note)

    @admin.display(description="Of the invoice's line")
    def corrected(self, line: CreditNoteLine) -> str:
        return row_link(line.invoice_line)

    @admin.display(description="Amount", ordering="amount")
    def net_amount(self, line: CreditNoteLine) -> str:
        return money(line.amount, line.credit_note.currency)

    @admin.display(description="Its tax", ordering="tax")
    def tax_amount(self, line: CreditNoteLine) -> str:
        return money(line.tax, line.credit_note.currency)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(CreditNote, CreditNoteAdmin)
    site.register(CreditNoteLine, CreditNoteLineAdmin)
