"""`/v1/events`: usage comes in, is read back, voided and amended."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.bodies import read_body
from api.endpoints import Answer, Endpoint, operation, require_scope
from api.pagination import Page, PageQuery, paginated
from api.problems import bad_request, not_found
from api.strict_json import Body, Instant
from metering.corrections import (
    AlreadyVoided,
    EventNotFound,
    UnusableAmendment,
    amend_event,
    void_event,
)
from metering.ingest import IngestContended, UnknownCustomer, close_conversation
from metering.intake import Sender
from metering.models import Event
from metering.receiving import IngestAnswer, Sent, receive
from metering.reports import CloseIn, EventIn, Reference, UnusableReport, UsageIn, check_time
from plans.views.customers import get_customer

Reason = Annotated[str, Meta(min_length=1, max_length=500)]


class Batch(Body):
    """Up to 1,000 events; one event may also be sent by itself, without `events`."""

    events: Annotated[list[EventIn], Meta(min_length=1, max_length=1000)]


class EventFilter(PageQuery, kw_only=True):
    """Which events to list: one customer's, by conversation and time (from included, to not)."""

    customer: Reference
    conversation: Reference | None = None
    from_: Instant | None = msgspec.field(name="from", default=None)
    to: Instant | None = None


class EventCost(msgspec.Struct):
    """What a call cost at the supplier; null where no rate is known."""

    amount: Decimal | None
    currency: str = "USD"


class EventOut(msgspec.Struct):
    """An event as it stands, with its supplier cost."""

    id: str
    customer: str
    conversation: str
    occurred_at: dt.datetime
    received_at: dt.datetime
    provider: str
    model: str
    kind: str
    status: str
    attempt: int
    turn: int | None
    usage: UsageIn
    outcome: str | None
    feature: str | None
    byok: bool
    cost: EventCost
    voided: bool
    corrected: bool


class VoidIn(Body):
    """Why an event is to count as never having happened."""

    customer: Reference
    reason: Reason


class AmendIn(Body):
    """What an event should have said; fields left out stay."""

    customer: Reference
    reason: Reason
    usage: UsageIn | None = None
    conversation: Reference | None = None
    occurred_at: Instant | None = None
    turn: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


def event_out(event: Event, customer_key: str) -> EventOut:
    usage = UsageIn(**{name: getattr(event, name) for name in UsageIn.__struct_fields__})
    cost = EventCost(None if event.cost_nanos is None else Decimal(event.cost_nanos).scaleb(-9))
    made = ("id", "customer", "usage", "cost")
    plain = {name: getattr(event, name) for name in EventOut.__struct_fields__ if name not in made}
    return EventOut(id=event.event_id, customer=customer_key, usage=usage, cost=cost, **plain)


def _sender(request: Request) -> Sender:
    key = require_scope(request, "ingest")
    return Sender("backfill" in key.scopes, key.customer_key)


class Events(Endpoint):
    """`/v1/events`"""

    @operation(
        scope="ingest",
        body=Batch,
        returns=IngestAnswer,
        idempotent=False,
        atomic=False,
        reads_body=False,
        summary="Report events",
        description="Answers after the commit. Every event is stored once under its customer and id, for ever; "
        "sending one again is harmless, and with larger usage it grows.",
    )
    def post(self, request: Request) -> HttpResponse:
        headers = request.META
        sent = Sent(
            headers.get("HTTP_AUTHORIZATION"),
            headers.get("QUERY_STRING", ""),
            headers.get("CONTENT_TYPE"),
            None,  # unpacked on the way
            read_body(request),
            admitted=True,
        )
        [reply] = receive([sent], now=timezone.now())
        return HttpResponse(reply.body, status=reply.status, headers=reply.headers)

    @operation(scope="read", query=EventFilter, returns=Page[EventOut], summary="List a customer's events")
    def get(self, request: Request, query: EventFilter) -> Page[EventOut]:
        customer = get_customer(query.customer)
        events = Event.objects.filter(customer=customer)
        if query.conversation is not None:
            events = events.filter(conversation=query.conversation)
        if query.from_ is not None:
            events = events.filter(occurred_at__gte=query.from_)
        if query.to is not None:
            events = events.filter(occurred_at__lt=query.to)
        return paginated(
            request,
            events,
            to_json=lambda event: event_out(event, customer.key),
            limit=query.limit,
            cursor=query.cursor,
            order=("occurred_at", "event_id"),
        )


CORRECTION_PROBLEMS: dict[type[Exception], int] = {
    EventNotFound: 404,
    AlreadyVoided: 409,
    UnusableAmendment: 400,
    IngestContended: 503,
}


class VoidedEvent(Endpoint):
    """`/v1/events/{id}/void`"""

    @operation(scope="manage", body=VoidIn, returns=EventOut, problems=CORRECTION_PROBLEMS, summary="Void an event")
    def post(self, request: Request, event_id: str, body: VoidIn) -> EventOut:
        customer = get_customer(body.customer)
        void_event(customer, event_id, reason=body.reason, now=timezone.now())
        return event_out(Event.objects.get(customer=customer, event_id=event_id), customer.key)


class AmendedEvent(Endpoint):
    """`/v1/events/{id}/amend`"""

    @operation(scope="manage", body=AmendIn, returns=EventOut, problems=CORRECTION_PROBLEMS, summary="Amend an event")
    def post(self, request: Request, event_id: str, body: AmendIn) -> EventOut:
        customer = get_customer(body.customer)
        changes: dict[str, Any] = {
            name: getattr(body, name)
            for name in ("conversation", "occurred_at", "turn")
            if getattr(body, name) is not None
        }
        if body.usage is not None:
            changes |= msgspec.structs.asdict(body.usage)
        amend_event(customer, event_id, changes, reason=body.reason, now=timezone.now())
        return event_out(Event.objects.get(customer=customer, event_id=event_id), customer.key)


class CloseAnswer(msgspec.Struct):
    """Whether the close was new."""

    status: str


class ClosedConversation(Endpoint):
    """`/v1/conversations/close`"""

    @operation(
        scope="ingest",
        body=CloseIn,
        returns=CloseAnswer,
        atomic=False,
        problems={IngestContended: 503},
        summary="Close a conversation",
        description="It settles at that instant; an event after it opens the next sitting.",
    )
    def post(self, request: Request, body: CloseIn) -> Answer:
        now, sender = timezone.now(), _sender(request)
        try:
            if sender.bound_to not in (None, body.customer):
                raise UnusableReport("/customer", f"this key reports for {sender.bound_to} only")
            if body.at is not msgspec.UNSET:
                check_time(body.at, now=now, backfill=sender.backfill, pointer="/at")
            return Answer(CloseAnswer(close_conversation(body, now=now).status))
        except UnusableReport as error:
            raise bad_request(
                "The conversation cannot be closed then.", errors=[(error.pointer, error.detail)]
            ) from error
        except UnknownCustomer as error:
            raise not_found(f"There is no customer {body.customer!r}.") from error
