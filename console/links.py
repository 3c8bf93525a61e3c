"""Where is the page about something? The ways from a customer to its conversations, invoices and accounts and back."""

import datetime as dt
import uuid
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString


def link(url: str, text: object) -> SafeString:
    """An anchor; the text is escaped."""
    return format_html('<a href="{}">{}</a>', url, text)


def row_link(row: Model | None, text: object = None) -> str:
    """To the page of a row, under its own name unless another text is given; "-" for no row."""
    return "-" if row is None else link(row_url(row), row if text is None else text)


def row_url(row: Model) -> str:
    """The page of one row."""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def rows_url(model: type[Model], **lookups: Any) -> str:
    """The list of a table, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{url}?{urlencode(lookups)}" if lookups else url


def conversation_url(conversation_id: uuid.UUID) -> str:
    """The page of one conversation."""
    return reverse("conversation", args=[conversation_id])


def conversations_url(customer_key: str, start: dt.datetime, end: dt.datetime, tier: str = "") -> str:
    """The conversations of a customer that settled in [start, end), of one tier or all."""
    query = {"customer": customer_key, "tier": tier, "settled_from": start.isoformat(), "settled_to": end.isoformat()}
    return _query("conversations", query)


def customer_conversations_url(customer_key: str) -> str:
    """All conversations of a customer."""
    return _query("conversations", {"customer": customer_key})


def events_url(customer_key: str, conversation: str = "") -> str:
    """The events of a customer, or of one of its conversation references."""
    return _query("events", {"customer": customer_key, "conversation": conversation})


def event_url(customer_key: str, event_id: str) -> str:
    """The page of one event; its id may hold anything, so it stands in the query and not in the path."""
    return _query("event", {"customer": customer_key, "id": event_id})


def _query(name: str, query: dict[str, str]) -> str:
    return f"{reverse(name)}?{urlencode({key: value for key, value in query.items() if value})}"
