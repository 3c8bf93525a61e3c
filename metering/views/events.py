"""`/v1/events`: usage comes in and is read back."""

import datetime as dt
from decimal import Decimal
from typing import Annotated

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
from metering.ingest import EVENTS, IngestContended, UnknownCustomer, close_conversation
from metering.intake import Sender
from metering.models import Event
from metering.receiving import IngestAnswer, Sent, receive
from metering.reports import CloseIn, EventIn, Reference, UnusableReport, UsageIn, check_time
from plans.views.customers import get_customer


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
        door=EVENTS,
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
            framed=True,
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
