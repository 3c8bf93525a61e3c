"""The operator's pages for what has a key of two columns: conversations, events and late changes.

They are reached through `site.admin_view`, so only staff sees them, and they only look.
"""

import uuid
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import BadRequest
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe
from rest_framework.request import Request

from api.pagination import paginated
from api.problems import Problem
from console.admin_site import human_name, site
from console.following import follow_conversation, follow_event
from console.forms import ConversationFilter, EventFilter
from metering.models import Conversation, Event, LateChange

ROWS_A_PAGE = 50

Row = TypeVar("Row", bound=Model)


@require_safe
def conversations(request: HttpRequest) -> HttpResponse:
    """The sittings that fit the filters, newest first."""
    form = ConversationFilter(request.GET)
    rows = form.rows().select_related("customer", "settled") if form.is_valid() else None
    # Of one customer those settled are read along their index; all others in the order they came into being.
    settled = form.is_valid() and form.cleaned_data["customer"] and form.cleaned_data["settled_from"]
    page = _page(request, rows, order=("settled__settled_at", "settled__id") if settled else ("id",))
    return _answer(request, "conversations", {"title": human_name("metering", "conversations"), "form": form} | page)


@require_safe
def one_conversation(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """One sitting from its events to its invoice lines."""
    conversation = Conversation.objects.select_related("customer", "settled").filter(id=conversation_id).first()
    if conversation is None:
        raise Http404("There is no such conversation.")
    followed = follow_conversation(conversation, now=timezone.now())
    return _answer(request, "conversation", {"title": f"Conversation {conversation}", **followed})


@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """One customer's events: those of a conversation by time, all of them by their id, as there is no other index."""
    form = EventFilter(request.GET if "customer" in request.GET else None)
    rows: QuerySet[Event] | None = None
    order: tuple[str, ...] = ("event_id",)
    if form.is_valid():
        rows = Event.objects.select_related("customer").filter(customer=form.cleaned_data["customer"])
        if conversation := form.cleaned_data["conversation"]:
            rows, order = rows.filter(conversation=conversation), ("occurred_at", "event_id")
    page = _page(request, rows, order=order, newest_first=False)
    return _answer(request, "events", {"title": human_name("metering", "events"), "form": form} | page)


@require_safe
def one_event(request: HttpRequest) -> HttpResponse:
    """One event with the sitting it belongs to, its rate and its corrections."""
    key, event_id = (request.GET.get(name, "") for name in ("customer", "id"))
    event = Event.objects.select_related("customer", "rate").filter(customer__key=key, event_id=event_id).first()
    if event is None:
        raise Http404("There is no such event.")
    return _answer(request, "event", {"title": f"Event {event}", **follow_event(event)})


@require_safe
def late_changes(request: HttpRequest) -> HttpResponse:
    """The days whose usage changed after it was counted; gone once billing has counted them again."""
    rows = LateChange.objects.select_related("customer")
    page = _page(request, rows, order=("day", "customer_id"))
    return _answer(request, "late_changes", {"title": human_name("metering", "late_changes")} | page)


def _page(
    request: HttpRequest, rows: QuerySet[Row] | None, *, order: tuple[str, ...], newest_first: bool = True
) -> dict[str, Any]:
    """One page of rows and where the next one is; no rows where there is nothing to ask for."""
    if rows is None:
        return {"rows": None, "next": None}
    try:
        page = paginated(
            Request(request),
            rows,
            to_json=lambda row: row,
            limit=ROWS_A_PAGE,
            cursor=request.GET.get("cursor"),
            order=order,
            newest_first=newest_first,
        )
    except Problem as problem:  # a cursor that somebody has changed
        raise BadRequest(problem.detail) from problem
    return {"rows": page.data, "next": page.next and f"?{urlsplit(page.next).query}"}


def _answer(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    return render(request, f"console/{name}.html", {**site.each_context(request), **context})
