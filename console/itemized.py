"""What is each amount on an invoice for? Lines with what they are about: conversations, a plan, a coupon, credit."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from billing.models import CreditNoteLine, InvoiceLine, LineKind
from console.amounts import exact_price, money
from console.links import conversations_url, link, row_link, rows_url
from console.read_only import ReadOnlyAdmin, ReadOnlyInline, pretty_json
from plans.terms import PEAK, POOL

ABOUT = ("invoice__customer", "phase__plan_version__plan", "redemption__coupon")
"""What a line has to be read with to say what it is about."""


def about(line: InvoiceLine) -> SafeString | str:
    """To what a line is for; conversations as they are today. Nothing where the description says it all."""
    match line.kind:
        case LineKind.USAGE:
            return _conversations_of(line)
        case LineKind.ADJUSTMENT:
            return link(_conversations(line), "that period today")
        case LineKind.DISCOUNT if line.redemption is not None:
            return row_link(line.redemption, line.redemption.coupon)
        case LineKind.CREDIT:
            grants = line.details.get("grants", ())
            return format_html_join(", ", "{} {}", [(_grant(one), one["amount"]) for one in grants])
        case _ if line.phase is not None:
            return row_link(line.phase, line.phase.plan_version)
    return ""


def _conversations_of(line: InvoiceLine) -> SafeString:
    """Those of the line's tier, or of each tier that took credits of a pool."""
    if line.details.get("tier") == POOL:
        counts = {tier: taken["quantity"] for tier, taken in line.details["taken"].items()}
        when = ""
    else:
        counts = {line.tier: line.quantity}
        when = " at peak" if str(line.details.get("tier", "")).endswith(PEAK) else ""
    links = [(_conversations(line, tier), f"{count:,} {tier}{when}") for tier, count in counts.items()]
    return format_html_join(", ", '<a href="{}">{}</a>', links)


def _conversations(line: InvoiceLine, tier: str = "") -> str:
    return conversations_url(line.invoice.customer.key, line.period_start, line.period_end, tier)


def _grant(given: dict[str, str]) -> SafeString:
    return link(reverse("admin:billing_grant_change", args=[given["grant"]]), given["name"])


def span(line: InvoiceLine) -> str:
    """From when to when; one instant where something is billed once."""
    start, end = (f"{instant:%Y-%m-%d %H:%M}" for instant in (line.period_start, line.period_end))
    return f"{start} to {end}" if line.period_start < line.period_end else start


class LineInline(ReadOnlyInline):
    model = InvoiceLine
    verbose_name_plural = "lines"
    fields = ("kind", "description", "about", "unit", "rounded_amount", "period")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related(*ABOUT)

    @admin.display(description="About")
    def about(self, line: InvoiceLine) -> str:
        return about(line)

    @admin.display(description="Unit price")
    def unit(self, line: InvoiceLine) -> str:
        return exact_price(line.unit_amount, line.invoice.currency)

    @admin.display(description="Amount")
    def rounded_amount(self, line: InvoiceLine) -> str:
        return row_link(line, money(line.amount, line.invoice.currency))

    @admin.display(description="Period (UTC)")
    def period(self, line: InvoiceLine) -> str:
        return span(line)


class InvoiceLineAdmin(ReadOnlyAdmin):
    list_display = ("invoice_name", "customer", "kind", "tier", "description", "rounded_amount")
    list_filter = ("kind", "invoice__status")
    search_fields = ("invoice__number__exact", "invoice__customer__key__exact")
    ordering = ("-id",)
    fields = (
        "invoice_page",
        "position",
        "kind",
        "tier",
        "description",
        "about",
        "quantity",
        "unit",
        "rounded_amount",
        "taken_back",
        "subscription_page",
        "phase_page",
        "period_index",
        "period",
        "pencil_sum",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related(*ABOUT, "subscription__customer")

    @admin.display(description="Invoice")
    def invoice_page(self, line: InvoiceLine) -> str:
        return row_link(line.invoice)

    @admin.display(description="Invoice", ordering="invoice")
    def invoice_name(self, line: InvoiceLine) -> str:
        return line.invoice.number or "draft"

    @admin.display(description="Customer")
    def customer(self, line: InvoiceLine) -> str:
        return str(line.invoice.customer)

    @admin.display(description="About")
    def about(self, line: InvoiceLine) -> str:
        return about(line) or "-"

    @admin.display(description="Unit price")
    def unit(self, line: InvoiceLine) -> str:
        return exact_price(line.unit_amount, line.invoice.currency) or "-"

    @admin.display(description="Amount", ordering="amount")
    def rounded_amount(self, line: InvoiceLine) -> str:
        return money(line.amount, line.invoice.currency)

    @admin.display(description="Taken back by credit notes")
    def taken_back(self, line: InvoiceLine) -> str:
        taken = sum(CreditNoteLine.objects.filter(invoice_line=line).values_list("amount", flat=True))
        if not taken:
            return "-"
        return link(rows_url(CreditNoteLine, invoice_line__id__exact=line.pk), money(taken, line.invoice.currency))

    @admin.display(description="Subscription")
    def subscription_page(self, line: InvoiceLine) -> str:
        return row_link(line.subscription)

    @admin.display(description="Phase")
    def phase_page(self, line: InvoiceLine) -> str:
        return row_link(line.phase)

    @admin.display(description="Period (UTC)")
    def period(self, line: InvoiceLine) -> str:
        return span(line)

    @admin.display(description="Details")
    def pencil_sum(self, line: InvoiceLine) -> SafeString:
        return pretty_json(line.details)


def register(site: AdminSite) -> None:
    """Put this table on the desk."""
    site.register(InvoiceLine, InvoiceLineAdmin)
