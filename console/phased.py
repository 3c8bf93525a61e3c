"""What does a subscription agree, one thing after the other? Its phases, with pauses, trial and what is to come."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from console.filters import by_state
from console.links import link, row_link, row_url
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from plans.models import SubscriptionPhase


def phase_states(now: dt.datetime) -> dict[str, Q]:
    """Where a phase is in its life."""
    replaced = Q(ends_at=F("starts_at"))
    return {
        "in force": Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now)),
        "to come": Q(starts_at__gt=now) & ~replaced,
        "over": Q(ends_at__lte=now) & ~replaced,
        "replaced before it began": replaced,
    }


def state_of_phase(phase: SubscriptionPhase, now: dt.datetime) -> str:
    """The same of one phase."""
    if phase.ends_at == phase.starts_at:
        return "replaced before it began"
    if phase.starts_at > now:
        return "to come"
    return "over" if phase.ends_at is not None and phase.ends_at <= now else "in force"


def fee_of(phase: SubscriptionPhase) -> str:
    """Whether the base fee of a phase's plan is due in it."""
    trial_ends_at = phase.subscription.trial_ends_at
    if phase.paused:
        return "none: paused"
    if trial_ends_at is None or trial_ends_at <= phase.starts_at:
        return "due"
    return f"none until {trial_ends_at:%Y-%m-%d %H:%M} UTC: trial"


class PhaseInline(ReadOnlyInline):
    model = SubscriptionPhase
    fields = ("plan", "state", "starts_at", "ends_at", "fee", "anchor_at", "created_at")
    verbose_name_plural = "phases: what is agreed, one after the other"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("plan_version__plan")

    @admin.display(description="Plan version")
    def plan(self, phase: SubscriptionPhase) -> str:
        return row_link(phase.plan_version)

    @admin.display(description="State")
    def state(self, phase: SubscriptionPhase) -> SafeString:
        return link(row_url(phase), state_of_phase(phase, timezone.now()))

    @admin.display(description="Base fee")
    def fee(self, phase: SubscriptionPhase) -> str:
        return fee_of(phase)


class SubscriptionPhaseAdmin(ReadOnlyAdmin):
    list_display = ("customer", "plan_version", "starts_at", "ends_at", "paused", "state", "created_at")
    list_filter = (by_state(phase_states), "paused", "starts_at")
    search_fields = ("customer__key__exact", "plan_version__plan__code")
    ordering = ("-id",)
    fields = (
        "subscription_page",
        "version_page",
        ("starts_at", "ends_at"),
        "state",
        "fee",
        "anchor_at",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer", "subscription__customer", "plan_version__plan")

    @admin.display(description="Subscription")
    def subscription_page(self, phase: SubscriptionPhase) -> str:
        return row_link(phase.subscription)

    @admin.display(description="Plan version")
    def version_page(self, phase: SubscriptionPhase) -> str:
        return row_link(phase.plan_version)

    @admin.display(description="State")
    def state(self, phase: SubscriptionPhase) -> str:
        return state_of_phase(phase, timezone.now())

    @admin.display(description="Base fee")
    def fee(self, phase: SubscriptionPhase) -> str:
        return fee_of(phase)


def register(site: AdminSite) -> None:
    """Put this table on the desk."""
    site.register(SubscriptionPhase, SubscriptionPhaseAdmin)
