"""Who may call, and what was answered? API keys and kept answers, without their secrets and contents."""

from django.contrib.admin import AdminSite

from api.models import ApiKey, IdempotentAnswer
from console.read_only import ReadOnlyAdmin


class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "lookup_id", "scopes", "customer_key", "created_at", "expires_at", "revoked_at")
    search_fields = ("name", "lookup_id")


class IdempotentAnswerAdmin(ReadOnlyAdmin):
    list_display = ("key", "method_and_path", "status", "api_key", "created_at")
    list_select_related = ("api_key",)
    search_fields = ("key__exact",)
    ordering = ("-created_at",)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(ApiKey, ApiKeyAdmin)
    site.register(IdempotentAnswer, IdempotentAnswerAdmin)
