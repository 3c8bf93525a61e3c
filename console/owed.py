"""What is owed, and when is it billed? Invoices with their lines and all that became of them; frozen when finalized."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from billing.models import (
    BillingSchedule,
    Collection,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    LineKind,
    StripeCall,
    Transfer,
)
from console.amounts import exact_price, money
from console.links import conversations_url, link, row_link
from console.read_only import ReadOnlyAdmin, ReadOnlyInline, pretty_json

COUNTED_KINDS = (LineKind.USAGE, LineKind.ADJUSTMENT)
"""The lines that are about conversations."""


def counted_conversations(line: InvoiceLine, customer_key: str) -> str:
    """To the conversations a line is about, as they are today; nothing for base fees and the like."""
    if line.kind not in COUNTED_KINDS:
        return ""
    text = f"{line.quantity:,} {line.tier}" if line.kind == LineKind.USAGE else "that period today"
    return link(conversations_url(customer_key, line.period_start, line.period_end, line.tier), text)


class LineInline(ReadOnlyInline):
    model = InvoiceLine
    verbose_name_plural = "lines"
    fields = ("kind", "description", "conversations", "unit", "rounded_amount", "period")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("invoice__customer")

    @admin.display(description="Conversations")
    def conversations(self, line: InvoiceLine) -> str:
        return counted_conversations(line, line.invoice.customer.key)

    @admin.display(description="Unit price")
    def unit(self, line: InvoiceLine) -> str:
        return exact_price(line.unit_amount, line.invoice.currency)

    @admin.display(description="Amount")
    def rounded_amount(self, line: InvoiceLine) -> str:
        return row_link(line, money(line.amount, line.invoice.currency))

    @admin.display(description="Period (UTC)")
    def period(self, line: InvoiceLine) -> str:
        return f"{line.period_start:%Y-%m-%d %H:%M} to {line.period_end:%Y-%m-%d %H:%M}"


class TransferInline(ReadOnlyInline):
    model = Transfer
    verbose_name_plural = "ledger transfers"
    fields = ("posted_at", "moved", "debit_kind", "credit_kind", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("debit", "credit").order_by("posted_at", "id")

    @admin.display(description="Amount")
    def moved(self, transfer: Transfer) -> str:
        return row_link(transfer, money(transfer.amount, transfer.debit.currency))

    @admin.display(description="To (debit)")
    def debit_kind(self, transfer: Transfer) -> str:
        return row_link(transfer.debit, transfer.debit.kind)

    @admin.display(description="From (credit)")
    def credit_kind(self, transfer: Transfer) -> str:
        return row_link(transfer.credit, transfer.credit.kind)


class CollectionInline(ReadOnlyInline):
    model = Collection
    verbose_name_plural = "collection through Stripe"
    fields = ("task", "state", "stripe_invoice_id", "stripe_status", "attempts", "payment_error", "last_error")


class StripeCallInline(ReadOnlyInline):
    model = StripeCall
    verbose_name_plural = "calls to Stripe"
    fields = ("intended_at", "step", "state", "attempts", "stripe_id", "error", "finished_at")
    ordering = ("intended_at",)


class InvoiceAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "customer",
        "short_kind",
        "status",
        "days",
        "total_amount",
        "due",
    )
    list_select_related = ("customer",)
    list_filter = ("status", "kind")
    search_fields = ("number__exact", "customer__key__exact")
    ordering = ("-id",)
    fields = (
        ("number", "status"),
        "customer_page",
        "subscription_page",
        "plan_version",
        ("kind", "period_index"),
        "period",
        ("total_amount", "credit_used", "due"),
        "conversations",
        "counted_at",
        ("created_at", "finalized_at"),
        ("paid_at", "voided_at"),
    )
    inlines = (LineInline, CollectionInline, TransferInline, StripeCallInline)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer", "subscription__customer", "plan_version__plan")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for row in self.fields for name in ([row] if isinstance(row, str) else row)]

    @admin.display(description="Kind", ordering="kind")
    def short_kind(self, invoice: Invoice) -> str:
        return invoice.kind

    @admin.display(description="Customer")
    def customer_page(self, invoice: Invoice) -> str:
        return row_link(invoice.customer)

    @admin.display(description="Subscription")
    def subscription_page(self, invoice: Invoice) -> str:
        return row_link(invoice.subscription)

    @admin.display(description="Period (UTC)", ordering="period_start")
    def days(self, invoice: Invoice) -> str:
        return f"{invoice.period_start:%Y-%m-%d} to {invoice.period_end:%Y-%m-%d}"

    @admin.display(description="Period (UTC)")
    def period(self, invoice: Invoice) -> str:
        return f"{invoice.period_start:%Y-%m-%d %H:%M} to {invoice.period_end:%Y-%m-%d %H:%M}"

    @admin.display(description="Total", ordering="total")
    def total_amount(self, invoice: Invoice) -> str:
        return money(invoice.total, invoice.currency)

    @admin.display(description="Credit applied")
    def credit_used(self, invoice: Invoice) -> str:
        return money(invoice.credit_applied, invoice.currency)

    @admin.display(description="Amount due", ordering="amount_due")
    def due(self, invoice: Invoice) -> str:
        return money(invoice.amount_due, invoice.currency)

    @admin.display(description="Conversations counted")
    def conversations(self, invoice: Invoice) -> SafeString | str:
        lines = invoice.lines.filter(kind__in=COUNTED_KINDS)
        links = [(counted_conversations(line, invoice.customer.key),) for line in lines]
        return format_html_join(" · ", "{}", links) if links else "none"


class InvoiceLineAdmin(ReadOnlyAdmin):
    list_display = ("invoice", "kind", "tier", "description", "rounded_amount")
    list_select_related = ("invoice",)
    list_filter = ("kind",)
    search_fields = ("invoice__number__exact",)
    ordering = ("-id",)
    fields = (
        "invoice_page",
        "position",
        "kind",
        "tier",
        "description",
        "conversations",
        "quantity",
        "unit",
        "rounded_amount",
        "period_index",
        "period_start",
        "period_end",
        "pencil_sum",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("invoice__customer")

    @admin.display(description="Invoice")
    def invoice_page(self, line: InvoiceLine) -> str:
        return row_link(line.invoice)

    @admin.display(description="Conversations")
    def conversations(self, line: InvoiceLine) -> str:
        return counted_conversations(line, line.invoice.customer.key)

    @admin.display(description="Unit price")
    def unit(self, line: InvoiceLine) -> str:
        return exact_price(line.unit_amount, line.invoice.currency)

    @admin.display(description="Amount")
    def rounded_amount(self, line: InvoiceLine) -> str:
        return money(line.amount, line.invoice.currency)

    @admin.display(description="Details")
    def pencil_sum(self, line: InvoiceLine) -> SafeString:
        return pretty_json(line.details)


class BillingScheduleAdmin(ReadOnlyAdmin):
    list_display = ("subscription", "next_period", "due_at", "attempts", "not_before", "last_error")
    list_select_related = ("subscription__customer",)
    list_filter = (("last_error", admin.EmptyFieldListFilter),)
    search_fields = ("subscription__customer__key__exact",)
    ordering = ("due_at",)


class InvoiceSequenceAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "last")


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Invoice, InvoiceAdmin)
    site.register(InvoiceLine, InvoiceLineAdmin)
    site.register(BillingSchedule, BillingScheduleAdmin)
    site.register(InvoiceSequence, InvoiceSequenceAdmin)
