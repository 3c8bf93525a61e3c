"""What was agreed, and with whom? Customers, tier schemes, plans and subscriptions."""

from typing import Any

import msgspec
from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.validators import RegexValidator
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.models import Account, Invoice
from console.links import customer_conversations_url, events_url, link, row_link, rows_url
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from plans.customers import change_customer
from plans.models import (
    Customer,
    Plan,
    PlanVersion,
    SchemeChange,
    Subscription,
    SubscriptionPhase,
    Tier,
    TierScheme,
    TierSchemeVersion,
)

CONTACT_DATA = ("name", "email", "country", "tax_id")
"""What an operator may change about a customer here; the rest has consequences and goes through the API."""


class ContactData(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """The contact data of a customer, as strict as the API."""

    country = forms.CharField(
        required=False,
        max_length=2,
        validators=[RegexValidator(r"\A[A-Z]{2}\Z", "Two capital letters, such as DE.")],
        help_text="ISO 3166 code of the tax address.",
    )

    class Meta:
        model = Customer
        fields = CONTACT_DATA


class CustomerAdmin(ReadOnlyAdmin):
    form = ContactData
    list_display = ("key", "name", "email", "currency", "timezone", "byok", "created_at", "erased_at")
    search_fields = ("key__exact", "name")
    ordering = ("-id",)
    fields = ("key", *CONTACT_DATA, "currency", "timezone", "byok", "created_at", "erased_at", "more")

    def has_change_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        allowed = request.user.has_perm("plans.change_customer")
        return allowed and (obj is None or obj.erased_at is None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in self.fields if name not in CONTACT_DATA]

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        change_customer(obj, **{name: form.cleaned_data[name] for name in form.changed_data})

    @admin.display(description="See also")
    def more(self, customer: Customer) -> SafeString:
        links = (
            (customer_conversations_url(customer.key), "conversations"),
            (events_url(customer.key), "events"),
            (rows_url(Subscription, customer__id__exact=customer.pk), "subscriptions"),
            (rows_url(Invoice, customer__id__exact=customer.pk), "invoices"),
            (rows_url(Account, customer__id__exact=customer.pk), "ledger accounts"),
        )
        return format_html_join(" · ", '<a href="{}">{}</a>', links)


class PlanAdmin(ReadOnlyAdmin):
    list_display = ("code", "name", "customer", "created_at")
    list_select_related = ("customer",)
    search_fields = ("code", "name")
    fields = ("code", "name", "customer", "created_at", "versions")

    @admin.display(description="Versions")
    def versions(self, plan: Plan) -> SafeString:
        return link(rows_url(PlanVersion, plan__id__exact=plan.pk), f"versions of {plan.code}")


class PlanVersionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "status", "tier_scheme", "created_at", "published_at")
    list_select_related = ("plan", "tier_scheme")
    list_filter = ("status",)
    search_fields = ("plan__code",)
    ordering = ("-id",)
    fields = ("plan", "version", "status", "tier_scheme", "agreed_terms", "created_at", "published_at")

    @admin.display(description="Terms")
    def agreed_terms(self, version: PlanVersion) -> SafeString:
        return format_html("<pre>{}</pre>", msgspec.json.format(version.terms, indent=2))


class TierSchemeAdmin(ReadOnlyAdmin):
    list_display = ("code", "created_at")
    search_fields = ("code",)
    fields = ("code", "created_at", "versions")

    @admin.display(description="Versions")
    def versions(self, scheme: TierScheme) -> SafeString:
        return link(rows_url(TierSchemeVersion, scheme__id__exact=scheme.pk), f"versions of {scheme.code}")


class TierInline(ReadOnlyInline):
    model = Tier
    fields = ("position", "code", "fewer_turns_than", "fewer_tokens_than")

    @admin.display(description="Fewer turns than")
    def fewer_turns_than(self, tier: Tier) -> str:
        return "no limit" if tier.max_turns is None else f"{tier.max_turns:,}"

    @admin.display(description="Fewer tokens than")
    def fewer_tokens_than(self, tier: Tier) -> str:
        return "no limit" if tier.max_tokens is None else f"{tier.max_tokens:,}"


class TierSchemeVersionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "status", "effective_at", "idle_timeout", "max_age", "token_basis", "count_retries")
    list_select_related = ("scheme",)
    list_filter = ("status",)
    search_fields = ("scheme__code",)
    inlines = (TierInline,)


class TierAdmin(ReadOnlyAdmin):
    list_display = ("code", "scheme_version", "position", "max_turns", "max_tokens")
    list_select_related = ("scheme_version__scheme",)
    search_fields = ("code", "scheme_version__scheme__code")


class PhaseInline(ReadOnlyInline):
    model = SubscriptionPhase
    fields = ("plan", "starts_at", "ends_at")
    verbose_name_plural = "phases"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("plan_version__plan")

    @admin.display(description="Plan version")
    def plan(self, phase: SubscriptionPhase) -> str:
        return row_link(phase.plan_version)


class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("customer", "starts_at", "ends_at", "timezone", "canceled_at", "created_at")
    list_select_related = ("customer",)
    search_fields = ("customer__key__exact",)
    ordering = ("-id",)
    fields = ("customer", "starts_at", "ends_at", "timezone", "canceled_at", "created_at", "invoices")
    inlines = (PhaseInline,)

    @admin.display(description="Invoices")
    def invoices(self, subscription: Subscription) -> SafeString:
        return link(rows_url(Invoice, subscription__id__exact=subscription.pk), "invoices of this subscription")


class SubscriptionPhaseAdmin(ReadOnlyAdmin):
    list_display = ("customer", "plan_version", "starts_at", "ends_at")
    list_select_related = ("customer", "plan_version__plan")
    search_fields = ("customer__key__exact",)
    ordering = ("-id",)


class SchemeChangeAdmin(ReadOnlyAdmin):
    list_display = ("customer", "since")
    list_select_related = ("customer",)
    search_fields = ("customer__key__exact",)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Customer, CustomerAdmin)
    site.register(Plan, PlanAdmin)
    site.register(PlanVersion, PlanVersionAdmin)
    site.register(TierScheme, TierSchemeAdmin)
    site.register(TierSchemeVersion, TierSchemeVersionAdmin)
    site.register(Tier, TierAdmin)
    site.register(Subscription, SubscriptionAdmin)
    site.register(SubscriptionPhase, SubscriptionPhaseAdmin)
    site.register(SchemeChange, SchemeChangeAdmin)
