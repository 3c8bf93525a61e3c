"""How far is the collecting of invoices through Stripe? The work, the calls made, and the webhooks received."""

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.utils.safestring import SafeString

from billing.models import Collection, StripeCall, StripeCustomer, StripeEvent
from console.read_only import ReadOnlyAdmin, ReadOnlyInline, pretty_json


class StripeCallInline(ReadOnlyInline):
    model = StripeCall
    verbose_name_plural = "calls to Stripe"
    fields = ("intended_at", "step", "state", "attempts", "stripe_id", "error", "finished_at")
    ordering = ("intended_at",)


class CollectionAdmin(ReadOnlyAdmin):
    list_display = ("invoice", "task", "state", "stripe_status", "attempts", "not_before", "last_error")
    list_select_related = ("invoice",)
    list_filter = ("state", "task")
    search_fields = ("invoice__number__exact", "stripe_invoice_id__exact")
    ordering = ("-invoice",)


class StripeCustomerAdmin(ReadOnlyAdmin):
    list_display = ("customer", "stripe_id")
    list_select_related = ("customer",)
    search_fields = ("stripe_id__exact", "customer__key__exact")


class StripeCallAdmin(ReadOnlyAdmin):
    list_display = (
        "intended_at",
        "customer",
        "invoice",
        "credit_note",
        "step",
        "state",
        "attempts",
        "error",
        "finished_at",
    )
    list_select_related = ("customer", "invoice", "credit_note")
    list_filter = ("state", "intended_at")
    search_fields = (
        "idempotency_key__exact",
        "stripe_id__exact",
        "invoice__number__exact",
        "credit_note__number__exact",
        "customer__key__exact",
    )


class StripeEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "type", "object_id", "state", "attempts", "error")
    list_filter = ("state",)
    search_fields = ("id__exact", "object_id__exact")
    fields = ("id", "type", "object_id", "received_at", "state", "attempts", "not_before", "error", "hint")

    @admin.display(description="Payload")
    def hint(self, event: StripeEvent) -> SafeString:
        return pretty_json(event.payload)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Collection, CollectionAdmin)
    site.register(StripeCustomer, StripeCustomerAdmin)
    site.register(StripeCall, StripeCallAdmin)
    site.register(StripeEvent, StripeEventAdmin)
