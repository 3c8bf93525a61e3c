"""What is on the price list, and which conversations are in which tier? Plans and tier schemes, with their versions."""

import msgspec
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.links import link, rows_url
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from plans.models import Plan, PlanVersion, SubscriptionPhase, Tier, TierScheme, TierSchemeVersion


class PlanAdmin(ReadOnlyAdmin):
    list_display = ("code", "name", "customer", "created_at")
    list_select_related = ("customer",)
    list_filter = (("customer", admin.EmptyFieldListFilter),)
    search_fields = ("code", "name", "customer__key__exact")
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
    fields = ("plan", "version", "status", "tier_scheme", "agreed_terms", "created_at", "published_at", "subscribers")

    @admin.display(description="Terms")
    def agreed_terms(self, version: PlanVersion) -> SafeString:
        return format_html("<pre>{}</pre>", msgspec.json.format(version.terms, indent=2))

    @admin.display(description="Who is on it")
    def subscribers(self, version: PlanVersion) -> SafeString:
        return link(rows_url(SubscriptionPhase, plan_version__id__exact=version.pk), "phases of subscriptions")


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


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Plan, PlanAdmin)
    site.register(PlanVersion, PlanVersionAdmin)
    site.register(TierScheme, TierSchemeAdmin)
    site.register(TierSchemeVersion, TierSchemeVersionAdmin)
    site.register(Tier, TierAdmin)
