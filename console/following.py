"""What became of a conversation, or of an event? Everything about one of them, from event to invoice line."""

import datetime as dt
from typing import Any

from django.db.models import Q

from billing.models import InvoiceLine, LineKind
from console.amounts import charge_in_words, money, supplier_cost
from metering.explaining import TierPrice, explain_conversation, price_of_tier
from metering.models import Conversation, Correction, Event

SHOWN_EVENTS = 500
"""Events shown on the page of a conversation; a longer one is read page by page in the list of events."""


def follow_conversation(conversation: Conversation, *, now: dt.datetime) -> dict[str, Any]:
    """A sitting's fold, tier, price, events and invoice lines, for its page."""
    explanation = explain_conversation(conversation, now=now)
    settles_at, outcome = conversation.settles_at, conversation.outcome
    price = price_of_tier(conversation.customer, explanation.tier, at=settles_at, outcome=outcome)
    events = events_of(conversation)
    return {
        "conversation": conversation,
        "explanation": explanation,
        "crossing_id": explanation.crossed and explanation.crossed.event_id,
        "price_in_words": charge_in_words(price),
        "buckets": buckets_of(conversation),
        "byok_cost": supplier_cost(conversation.byok_cost_nanos) if conversation.byok_cost_nanos else None,
        "events": events[:SHOWN_EVENTS],
        "more_events": len(events) > SHOWN_EVENTS,
        "lines": [(line, money(line.amount, line.invoice.currency)) for line in lines_about(conversation, price)],
    }


def events_of(conversation: Conversation) -> list[Event]:
    """A sitting's events in order, and with them the voided ones of its time; one more than are shown, if there are."""
    events = Event.objects.filter(
        customer=conversation.customer_id,
        conversation=conversation.reference,
        occurred_at__gte=conversation.opened_at,
        occurred_at__lte=conversation.settles_at,
    )
    return list(events.order_by("occurred_at", "event_id")[: SHOWN_EVENTS + 1])


def lines_about(conversation: Conversation, price: TierPrice | None) -> list[InvoiceLine]:
    """The invoice lines for the settling instant: the usage that it was counted with, and what adjusted its period."""
    if conversation.settled is None:
        return []
    adjusted = Q(kind=LineKind.ADJUSTMENT)
    lines = InvoiceLine.objects.filter(
        adjusted | Q(kind=LineKind.USAGE, details__tier=price.meter) if price and price.billable else adjusted,
        invoice__customer=conversation.customer_id,
        period_start__lte=conversation.settles_at,
        period_end__gt=conversation.settles_at,
    )
    return list(lines.select_related("invoice").order_by("invoice__id", "position"))


def buckets_of(conversation: Conversation) -> list[tuple[str, int, int]]:
    """Each bucket of tokens: its name, all of it, and the part of retries and failed calls."""
    names = ("input", "cache_read", "cache_write", "output")
    return [
        (
            name.replace("_", " "),
            getattr(conversation, f"{name}_tokens"),
            getattr(conversation, f"retry_{name}_tokens"),
        )
        for name in names
    ]


def follow_event(event: Event) -> dict[str, Any]:
    """An event's sitting, rate and corrections, for its page."""
    sittings = Conversation.objects.filter(
        customer=event.customer_id,
        reference=event.conversation,
        opened_at__lte=event.occurred_at,
        settles_at__gte=event.occurred_at,
    )
    corrections = Correction.objects.filter(customer=event.customer_id, event_id=event.event_id)
    return {
        "event": event,
        "sitting": None if event.voided else sittings.order_by("-ordinal").first(),
        "rate": event.rate,
        "corrections": [(row, changes_of(row)) for row in corrections.order_by("created_at", "id")],
    }


def changes_of(correction: Correction) -> list[tuple[str, object, object]]:
    """What a correction changed: field, before, after; nothing for a void, which changes no field."""
    if correction.after is None:
        return []
    return [
        (name, value, correction.after.get(name))
        for name, value in correction.before.items()
        if name != "corrected" and correction.after.get(name) != value
    ]
