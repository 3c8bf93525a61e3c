"""Who may call, how much, and what was answered? API keys and kept answers, without their secrets and contents."""

from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.http import HttpRequest

from api.models import ApiKey, IdempotentAnswer
from console.read_only import ReadOnlyAdmin

LIMITS = ("events_per_s", "events_burst", "requests_per_s")


class Limits(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """How much a key may send; all else of it is as it was made."""

    class Meta:
        model = ApiKey
        fields = LIMITS


class ApiKeyAdmin(ReadOnlyAdmin):
    form = Limits
    list_display = ("name", "lookup_id", "scopes", "customer_key", *LIMITS, "created_at", "expires_at", "revoked_at")
    search_fields = ("name", "lookup_id")
    fields = ("name", "lookup_id", "scopes", "customer_key", *LIMITS, "created_at", "expires_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("api.change_apikey")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in self.fields if name not in LIMITS]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        obj.save(update_fields=LIMITS)


class IdempotentAnswerAdmin(ReadOnlyAdmin):
    list_display = ("key", "method_and_path", "status", "api_key", "created_at")
    list_select_related = ("api_key",)
    search_fields = ("key__exact",)
    ordering = ("-created_at",)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(ApiKey, ApiKeyAdmin)
    site.register(IdempotentAnswer, IdempotentAnswerAdmin)
