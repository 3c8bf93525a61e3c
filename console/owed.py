"""What is owed, and when is it billed? Invoices with their lines and all that became of them; frozen when finalized."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import BillingSchedule, Collection, CreditNote, Invoice, InvoiceKind, InvoiceSequence, InvoiceStatus
from console.amounts import money
from console.collected import StripeCallInline
from console.filters import by_state, by_value
from console.itemized import LineInline
from console.links import row_link
from console.posted import TransferInline
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from console.sums import sum_of, where_it_went


class CollectionInline(ReadOnlyInline):
    model = Collection
    verbose_name_plural = "collection through Stripe"
    fields = ("task", "state", "stripe_invoice_id", "stripe_status", "attempts", "payment_error", "last_error")


class NoteInline(ReadOnlyInline):
    model = CreditNote
    verbose_name_plural = "credit notes"
    fields = ("note", "reason", "total_amount", "went", "state", "created_at")
    ordering = ("id",)

    @admin.display(description="Number")
    def note(self, note: CreditNote) -> str:
        return row_link(note)

    @admin.display(description="Total")
    def total_amount(self, note: CreditNote) -> str:
        return money(note.total, note.currency)

    @admin.display(description="Where it went")
    def went(self, note: CreditNote) -> str:
        return where_it_went(note)


def waits(now: dt.datetime) -> dict[str, Q]:
    """What has to happen next; nothing, where an invoice is in neither state."""
    return {
        "to be finalized": Q(status=InvoiceStatus.DRAFT, finalize_at=None),
        "to be taxed by Stripe": Q(status=InvoiceStatus.DRAFT, finalize_at__isnull=False),
        "to be paid": Q(status=InvoiceStatus.FINALIZED),
    }


def corrections(now: dt.datetime) -> dict[str, Q]:
    """How an invoice was corrected, or what it corrects."""
    return {
        "by a credit note": Q(Exists(CreditNote.objects.filter(invoice=OuterRef("pk")))),
        "issued again": Q(Exists(Invoice.objects.filter(reissue_of=OuterRef("pk")))),
        "in place of another": Q(reissue_of__isnull=False),
    }


def _unless_draft(invoice: Invoice, minor: int | None) -> str:
    """What is worked out when an invoice is finalized."""
    known = invoice.status != InvoiceStatus.DRAFT and minor is not None
    return money(minor or 0, invoice.currency) if known else "-"


class InvoiceAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "customer",
        "short_kind",
        "status",
        "days",
        "total_amount",
        "tax_amount",
        "due",
    )
    list_filter = (
        "status",
        by_value("kind", InvoiceKind, of="kind"),
        by_state(waits, of="waits"),
        by_state(corrections, of="corrected"),
        "finalized_at",
    )
    search_fields = ("number__exact", "customer__key__exact")
    ordering = ("-id",)
    fields = (
        ("number", "status"),
        "void_reason",
        "issued_again",
        "in_place_of",
        "customer_page",
        "subscription_page",
        "plan_version_page",
        ("kind", "period_index"),
        "period",
        "sum",
        "counted_at",
        ("created_at", "finalized_at"),
        ("paid_at", "voided_at"),
    )
    only_where_true = {"void_reason": "void_reason", "issued_again": "reissued_as", "in_place_of": "reissue_of"}
    """Rows of the page that most invoices have no use for, and what has to be there for them."""
    inlines = (LineInline, NoteInline, CollectionInline, TransferInline, StripeCallInline)

    def get_queryset(self, request: HttpRequest) -> Any:
        related = ("customer", "subscription__customer", "plan_version__plan", "reissue_of", "reissued_as")
        return super().get_queryset(request).select_related(*related)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        empty = {row for row, needed in self.only_where_true.items() if not getattr(obj, needed, None)}
        return [row for row in self.fields if row not in empty]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for row in self.fields for name in ([row] if isinstance(row, str) else row)]

    @admin.display(description="Invoice", ordering="number")
    def name(self, invoice: Invoice) -> str:
        return invoice.number or "draft"

    @admin.display(description="Kind", ordering="kind")
    def short_kind(self, invoice: Invoice) -> str:
        return invoice.kind

    @admin.display(description="Customer")
    def customer_page(self, invoice: Invoice) -> str:
        return row_link(invoice.customer)

    @admin.display(description="Subscription")
    def subscription_page(self, invoice: Invoice) -> str:
        return row_link(invoice.subscription)

    @admin.display(description="Plan version")
    def plan_version_page(self, invoice: Invoice) -> str:
        return row_link(invoice.plan_version)

    @admin.display(description="Issued again as")
    def issued_again(self, invoice: Invoice) -> str:
        return row_link(invoice.reissued_as)

    @admin.display(description="In place of")
    def in_place_of(self, invoice: Invoice) -> str:
        return row_link(invoice.reissue_of)

    @admin.display(description="Period (UTC)", ordering="period_start")
    def days(self, invoice: Invoice) -> str:
        start, end = (f"{instant:%Y-%m-%d}" for instant in (invoice.period_start, invoice.period_end))
        return f"{start} to {end}" if invoice.period_start < invoice.period_end else start

    @admin.display(description="Period (UTC)")
    def period(self, invoice: Invoice) -> str:
        start, end = (f"{instant:%Y-%m-%d %H:%M}" for instant in (invoice.period_start, invoice.period_end))
        return f"{start} to {end}" if invoice.period_start < invoice.period_end else start

    @admin.display(description="Sum")
    def sum(self, invoice: Invoice) -> SafeString:
        return sum_of(invoice)

    @admin.display(description="Tax in it", ordering="tax")
    def tax_amount(self, invoice: Invoice) -> str:
        return _unless_draft(invoice, invoice.tax)

    @admin.display(description="Total", ordering="total")
    def total_amount(self, invoice: Invoice) -> str:
        if invoice.status == InvoiceStatus.DRAFT:
            return f"{money(invoice.subtotal, invoice.currency)} before tax"
        return money(invoice.total, invoice.currency)

    @admin.display(description="Amount due", ordering="amount_due")
    def due(self, invoice: Invoice) -> str:
        return _unless_draft(invoice, invoice.amount_due)


class BillingScheduleAdmin(ReadOnlyAdmin):
    list_display = ("subscription", "next_period", "changes_to", "due_at", "attempts", "not_before", "last_error")
    list_select_related = ("subscription__customer",)
    list_filter = (("last_error", admin.EmptyFieldListFilter), ("due_at", admin.EmptyFieldListFilter))
    search_fields = ("subscription__customer__key__exact",)
    ordering = ("due_at",)


class InvoiceSequenceAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "last")


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Invoice, InvoiceAdmin)
    site.register(BillingSchedule, BillingScheduleAdmin)
    site.register(InvoiceSequence, InvoiceSequenceAdmin)
