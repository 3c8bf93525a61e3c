"""What came in and cannot be billed as it is? The quarantine: why, what was sent, and what to do about it.

All staff sees that something waits and why. What was sent may hold personal data: it is shown to those who may handle
it (the permission to change events in quarantine), and so are the forms to replay and to discard.
"""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite, SimpleListFilter
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from django.utils.safestring import SafeString

from console.filters import by_state
from console.forms import Instant
from console.links import row_link, row_url
from console.read_only import ReadOnlyAdmin, pretty_json
from metering import quarantine_review
from metering.ingest import IngestContended
from metering.models import QuarantinedEvent
from metering.quarantine_review import AlreadyHandled
from metering.releasing import USED

REASONS_SHOWN = 20
MOST_AT_ONCE = 1_000


def states(now: dt.datetime) -> dict[str, Q]:
    """Every item is in one of these."""
    return {str(state): condition for state, condition in quarantine_review.STATES.items()}


class Assignment(forms.Form):
    """What an event should say in place of what it says, or does not say; what is left empty stays."""

    customer = forms.CharField(label="Customer key", max_length=512, strip=False, required=False)
    conversation = forms.CharField(max_length=512, strip=False, required=False)
    occurred_at = Instant(label="Occurred at (UTC)", required=False)

    def said(self) -> dict[str, Any]:
        """Fields of the REST contract's event, as JSON."""
        given = {name: value for name, value in self.cleaned_data.items() if value and name in Assignment.base_fields}
        return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in given.items()}


class Dismissal(forms.Form):
    """Why an item is never to be billed."""

    reason = forms.CharField(max_length=500)
    erase_body = forms.BooleanField(label="Erase what was sent", required=False)


class ForAllChosen(ActionForm):
    """What an action says of every item that was chosen."""

    customer = forms.CharField(label="Customer key", max_length=512, strip=False, required=False)
    conversation = forms.CharField(max_length=512, strip=False, required=False)
    reason = forms.CharField(label="Reason to discard", max_length=500, required=False)


class ByReason(SimpleListFilter):
    """The commonest reasons, each with the number of items that are open for it."""

    title, parameter_name = "reason", "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        counted = quarantine_review.count_reasons()[:REASONS_SHOWN]
        return [(reason, f"{reason} ({items:,} open)") for reason, items in counted]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(reason=self.value())


class QuarantinedEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "state", "customer_key", "event_id", "reason")
    list_filter = (by_state(states), ByReason, "door")
    search_fields = ("customer_key__exact", "event_id__exact")
    ordering = ("-id",)
    fields = (
        "state",
        "reason",
        "door",
        "customer_key",
        "event_id",
        "received_at",
        "file",
    )
    at_its_end = ("handled_at", "handled_by", "handled_note")
    private = ("as_sent", "as_read")
    """For those who may handle it."""
    actions = ("replay", "discard")  # type: ignore[assignment]
    action_form = ForAllChosen
    change_form_template = "console/quarantined.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("backfill").defer("body", "event")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        at_its_end = () if obj is None or self.handled_at(obj) is None else self.at_its_end
        return (*self.fields, *at_its_end, *(self.private if self.has_handle_permission(request) else ()))

    def has_handle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("metering.change_quarantinedevent")

    def get_urls(self) -> list[Any]:
        handle = self.admin_site.admin_view(self.handle)
        ours = [
            path(f"<uuid:item_id>/{how}/", handle, {"how": how}, name=f"metering_quarantinedevent_{how}")
            for how in ("replay", "discard")
        ]
        return ours + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST" and not self.has_handle_permission(request):
            raise PermissionDenied
        return self.list_view(request, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        forms_shown = {"replay_form": Assignment(), "discard_form": Dismissal()}
        shown = forms_shown if self.has_handle_permission(request) else {}
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    # --- one item ---------------------------------------------------------------------------------------------------

    def handle(self, request: HttpRequest, item_id: Any, how: str) -> HttpResponse:
        """Replay or discard one item, as its page asks to."""
        if request.method != "POST" or not self.has_handle_permission(request):
            raise PermissionDenied
        form: Assignment | Dismissal = Assignment(request.POST) if how == "replay" else Dismissal(request.POST)
        item = get_object_or_404(QuarantinedEvent.objects.only("id"), pk=item_id)
        if not form.is_valid():
            wrong = "; ".join(f"{name}: {error}" for name, errors in form.errors.items() for error in errors)
            self.message_user(request, wrong, messages.ERROR)
            return HttpResponseRedirect(row_url(item))
        try:
            self._handle(request, item, form)
        except (AlreadyHandled, IngestContended) as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(row_url(item))

    def _handle(self, request: HttpRequest, item: QuarantinedEvent, form: Assignment | Dismissal) -> None:
        now = timezone.now()
        if isinstance(form, Dismissal):
            quarantine_review.discard(item.id, **form.cleaned_data, by=operator(request), now=now)
            self.message_user(request, "Discarded.", messages.SUCCESS)
            return
        verdict = quarantine_review.replay(item.id, form.said(), by=operator(request), now=now)
        used = verdict.status in USED
        place = f"{verdict.pointer}: " if verdict.pointer and not used else ""
        said = f"{verdict.status}: {place}{verdict.detail}" if verdict.detail else verdict.status
        self.message_user(request, said, messages.SUCCESS if used else messages.WARNING)

    # --- many -------------------------------------------------------------------------------------------------------

    @admin.action(description="Replay", permissions=["handle"])
    def replay(self, request: HttpRequest, items: QuerySet[QuarantinedEvent]) -> None:
        said = {name: request.POST[name] for name in ("customer", "conversation") if request.POST.get(name)}
        counts, left, _ = quarantine_review.replay_all(
            items, said, limit=MOST_AT_ONCE, by=operator(request), now=timezone.now()
        )
        told = [f"{number:,} {status}" for status, number in counts.items()] or ["nothing was open"]
        more = [f"{left:,} more were chosen"] if left else []
        self.message_user(request, ", ".join(told + more), messages.SUCCESS if counts else messages.WARNING)

    @admin.action(description="Discard", permissions=["handle"])
    def discard(self, request: HttpRequest, items: QuerySet[QuarantinedEvent]) -> None:
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Say why they are never to be billed.", messages.ERROR)
            return
        discarded = quarantine_review.discard_all(
            items, reason=reason, limit=MOST_AT_ONCE, by=operator(request), now=timezone.now()
        )
        self.message_user(request, f"{discarded:,} discarded", messages.SUCCESS)

    # --- columns ----------------------------------------------------------------------------------------------------

    @admin.display(description="State")
    def state(self, item: QuarantinedEvent) -> str:
        return quarantine_review.state_of(item)

    @admin.display(description="Handled at")
    def handled_at(self, item: QuarantinedEvent) -> dt.datetime | None:
        return item.released_at or item.discarded_at

    @admin.display(description="Came by the file")
    def file(self, item: QuarantinedEvent) -> str:
        return row_link(item.backfill)

    @admin.display(description="As it was sent")
    def as_sent(self, item: QuarantinedEvent) -> SafeString | str:
        return "erased" if item.body is None else pretty_json(item.body)

    @admin.display(description="What could be read of it")
    def as_read(self, item: QuarantinedEvent) -> SafeString | str:
        return "-" if item.event is None else pretty_json(item.event)


def operator(request: HttpRequest) -> str:
    """Who is at the desk, as it is written beside what they did."""
    return f"operator {request.user.get_username()}"


def register(site: AdminSite) -> None:
    """Put the quarantine on the desk."""
    site.register(QuarantinedEvent, QuarantinedEventAdmin)
