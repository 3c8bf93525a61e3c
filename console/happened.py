"""What happened besides calls and conversations? Corrections, meter readings, what providers charge."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.links import event_url, link
from console.read_only import ReadOnlyAdmin
from metering.models import Correction, MeterReading, SupplierRate, WaitingCall
from metering.supplier_rates import forget_book
from metering.usage_models import WatchedUsage


class CorrectionAdmin(ReadOnlyAdmin):
    list_display = ("event_id", "customer", "action", "reason", "created_at")
    list_select_related = ("customer",)
    list_filter = ("action",)
    search_fields = ("event_id__exact",)
    ordering = ("-id",)
    fields = ("event", "customer", "action", "reason", "before", "after", "created_at")

    @admin.display(description="Event")
    def event(self, correction: Correction) -> SafeString:
        return link(event_url(correction.customer.key, correction.event_id), correction.event_id)


class WaitingCallAdmin(ReadOnlyAdmin):
    """Calls of traces that wait to hear whose conversation they belong to."""

    list_display = ("received_at", "trace_id", "span_id", "default_customer", "fault")
    search_fields = ("trace_id",)


class WatchedUsageAdmin(ReadOnlyAdmin):
    """Customers with so many conversations that their running usage is counted ahead."""

    list_display = ("customer", "asked_at", "since", "until", "taken_at")
    list_select_related = ("customer",)
    search_fields = ("customer__key__exact",)


class MeterReadingAdmin(ReadOnlyAdmin):
    list_display = ("customer", "read_to")
    list_select_related = ("customer",)
    search_fields = ("customer__key__exact",)


class OperatorRate(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """A price the operator has negotiated; it wins over the public price list from `starts_at` on."""

    daily_from = forms.TimeField(required=False, help_text="UTC. Only for prices that hold a part of the day.")
    daily_to = forms.TimeField(required=False)
    usd_per_request = forms.DecimalField(required=False, min_value=0, max_digits=18, decimal_places=12)

    class Meta:
        model = SupplierRate
        fields = (
            "provider",
            "model",
            "starts_at",
            "min_context",
            "daily_from",
            "daily_to",
            "input_usd_per_million",
            "cache_read_usd_per_million",
            "cache_write_usd_per_million",
            "output_usd_per_million",
            "usd_per_request",
        )

    def _post_clean(self) -> None:
        self.instance.source = SupplierRate.Source.OPERATOR
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:  # the form left out what has no field or is empty, and with that whole constraints
            self.instance.validate_constraints()
        except ValidationError as error:
            self.add_error(None, error.messages)


class SupplierRateAdmin(ReadOnlyAdmin):
    """Rows are appended, never edited: a new price is a new row with a later start."""

    form = OperatorRate
    list_display = (
        "provider",
        "model",
        "source",
        "starts_at",
        "min_context",
        "input_usd",
        "cache_read_usd",
        "cache_write_usd",
        "output_usd",
    )
    list_filter = ("source",)
    search_fields = ("provider__exact", "model")
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("metering.add_supplierrate")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return OperatorRate.Meta.fields if obj is None else super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else super().get_readonly_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: SupplierRate, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        forget_book()

    @admin.display(description="Input, USD per million")
    def input_usd(self, rate: SupplierRate) -> str:
        return f"{rate.input_usd_per_million.normalize():f}"

    @admin.display(description="Cache read")
    def cache_read_usd(self, rate: SupplierRate) -> str:
        return f"{rate.cache_read_usd_per_million.normalize():f}"

    @admin.display(description="Cache write")
    def cache_write_usd(self, rate: SupplierRate) -> str:
        return f"{rate.cache_write_usd_per_million.normalize():f}"

    @admin.display(description="Output")
    def output_usd(self, rate: SupplierRate) -> str:
        return f"{rate.output_usd_per_million.normalize():f}"


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Correction, CorrectionAdmin)
    site.register(WaitingCall, WaitingCallAdmin)
    site.register(WatchedUsage, WatchedUsageAdmin)
    site.register(MeterReading, MeterReadingAdmin)
    site.register(SupplierRate, SupplierRateAdmin)
