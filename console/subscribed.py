"""Who is on which plan, since when and until when? Subscriptions with their phases and discounts."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Exists, F, OuterRef, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.models import BillingSchedule, Invoice, Redemption
from console.filters import by_state
from console.links import conversations_url, link, row_link, rows_url
from console.phased import PhaseInline
from console.promised import periods_in_words, taken_off, takes_off, with_taken_off
from console.read_only import ReadOnlyAdmin, ReadOnlyInline
from plans.models import SchemeChange, Subscription, SubscriptionPhase
from plans.periods import LAST_INSTANT, WITH_PHASES, BillingPeriod, period_holding
from plans.views.subscriptions import subscription_out


def subscription_states(now: dt.datetime) -> dict[str, Q]:
    """The status of `/v1/subscriptions`, for the database; one withdrawn before it began has ended."""
    phases = SubscriptionPhase.objects.filter(subscription=OuterRef("pk"))
    in_force = phases.filter(Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)
    going_on = Q(starts_at__lte=now, ends_at=None)
    paused, trial = Q(Exists(in_force.filter(paused=True))), Q(trial_ends_at__gt=now)
    ended = Q(ends_at__lte=now) | Q(ends_at=F("starts_at"))
    return {
        "active": going_on & ~paused & (Q(trial_ends_at=None) | Q(trial_ends_at__lte=now)),
        "trialing": going_on & ~paused & trial,
        "paused": going_on & paused,
        "scheduled": Q(starts_at__gt=now) & (Q(ends_at=None) | Q(ends_at__gt=F("starts_at"))),
        "ending": Q(starts_at__lte=now, ends_at__gt=now),
        "ended": ended,
    }


def changes(now: dt.datetime) -> dict[str, Q]:
    """Whether something is agreed for later."""
    later = SubscriptionPhase.objects.filter(subscription=OuterRef("pk"), starts_at__gt=now)
    coming = later.filter(Q(ends_at=None) | Q(ends_at__gt=F("starts_at")), starts_at__gt=OuterRef("starts_at"))
    return {"scheduled": Q(Exists(coming)), "none": ~Q(Exists(coming))}


class DiscountInline(ReadOnlyInline):
    model = Redemption
    fields = ("coupon_page", "reduction", "periods", "discounted", "redeemed_at")
    verbose_name_plural = "discounts"
    ordering = ("redeemed_at",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return with_taken_off(super().get_queryset(request))

    @admin.display(description="Coupon")
    def coupon_page(self, redemption: Redemption) -> str:
        return row_link(redemption, redemption.coupon)

    @admin.display(description="Takes off a period")
    def reduction(self, redemption: Redemption) -> str:
        return takes_off(redemption.coupon)

    @admin.display(description="Periods")
    def periods(self, redemption: Redemption) -> str:
        return periods_in_words(redemption)

    @admin.display(description="Taken off so far")
    def discounted(self, redemption: Redemption) -> str:
        return taken_off(redemption)


class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("customer", "plan", "status", "starts_at", "trial_ends_at", "change", "ends_at")
    list_filter = (
        by_state(subscription_states, of="status"),
        by_state(changes, of="change"),
        "starts_at",
    )
    search_fields = ("customer__key__exact",)
    ordering = ("-id",)
    fields = (
        "customer_page",
        ("status", "plan", "change"),
        "starts_at",
        "trial_ends_at",
        "ends_at",
        "canceled_at",
        "timezone",
        "period",
        "billing",
        "created_at",
        "more",
    )
    inlines = (PhaseInline, DiscountInline)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer").prefetch_related(WITH_PHASES)

    @admin.display(description="Customer")
    def customer_page(self, subscription: Subscription) -> str:
        return row_link(subscription.customer)

    @admin.display(description="Plan")
    def plan(self, subscription: Subscription) -> str:
        said = subscription_out(subscription)
        return f"{said.plan} v{said.plan_version}"

    @admin.display(description="Status")
    def status(self, subscription: Subscription) -> str:
        return subscription_out(subscription).status

    @admin.display(description="Scheduled change (UTC)")
    def change(self, subscription: Subscription) -> str:
        coming = subscription_out(subscription).scheduled_change
        return "-" if coming is None else f"{coming.plan} v{coming.plan_version} at {coming.at:%Y-%m-%d %H:%M}"

    @admin.display(description="Period")
    def period(self, subscription: Subscription) -> SafeString | str:
        running = current_period(subscription, timezone.now())
        if running is None:
            return "none"
        url = conversations_url(subscription.customer.key, running.start, running.end)
        words = f"{running.start:%Y-%m-%d %H:%M} to {running.end:%Y-%m-%d %H:%M} UTC"
        return format_html("{}: {} ({})", running.index, words, link(url, "conversations settled in it"))

    @admin.display(description="Billed next")
    def billing(self, subscription: Subscription) -> str:
        schedule = BillingSchedule.objects.filter(subscription=subscription).first()
        if schedule is None:
            return "-"
        words = "never: billed to its end" if schedule.due_at is None else f"{schedule.due_at:%Y-%m-%d %H:%M} UTC"
        failed = f" (failed: {schedule.last_error})" if schedule.last_error else ""
        return row_link(schedule, words + failed)

    @admin.display(description="See also")
    def more(self, subscription: Subscription) -> SafeString:
        links = (
            (rows_url(Invoice, subscription__id__exact=subscription.pk), "invoices of this subscription"),
            (rows_url(Redemption, subscription__id__exact=subscription.pk), "its discounts"),
        )
        return format_html_join(" · ", '<a href="{}">{}</a>', links)


def current_period(subscription: Subscription, now: dt.datetime) -> BillingPeriod | None:
    """The running period; the first before it begins, the last after it has ended, none where it was withdrawn."""
    if subscription.ends_at == subscription.starts_at:
        return None
    instant = max(now, subscription.starts_at)
    last = subscription.ends_at and subscription.ends_at - LAST_INSTANT
    return period_holding(subscription, min(instant, last) if last else instant)


class SchemeChangeAdmin(ReadOnlyAdmin):
    list_display = ("customer", "since")
    list_select_related = ("customer",)
    search_fields = ("customer__key__exact",)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Subscription, SubscriptionAdmin)
    site.register(SchemeChange, SchemeChangeAdmin)
