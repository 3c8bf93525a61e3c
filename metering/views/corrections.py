"""`/v1/events/{id}/void`, `/amend`, `/corrections`: an event is put right, and what was ever put right is read back."""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

import msgspec
from django.utils import timezone
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.strict_json import Body, Instant
from metering.corrections import AlreadyVoided, EventNotFound, UnusableAmendment, amend_event, void_event
from metering.models import Correction, Event
from metering.reports import Label, Name, Reference, Small, Turn, UsageIn
from metering.views.events import EventOut, event_out
from plans.views.customers import get_customer

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
PROBLEMS: dict[type[Exception], int] = {EventNotFound: 404, AlreadyVoided: 409, UnusableAmendment: 400}


class VoidIn(Body):
    """Why an event is to count as never having happened."""

    customer: Reference
    reason: Reason


class AmendIn(Body, kw_only=True):
    """What an event should have said; fields left out stay, null takes back what it said."""

    customer: Reference
    reason: Reason
    conversation: Reference | UnsetType = UNSET
    occurred_at: Instant | UnsetType = UNSET
    provider: Name | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    usage: UsageIn | UnsetType = UNSET
    turn: Turn | None | UnsetType = UNSET
    kind: Literal["completion", "tool", "embedding", "other"] | UnsetType = UNSET
    attempt: Small | UnsetType = UNSET
    status: Literal["ok", "error"] | UnsetType = UNSET
    outcome: Label | None | UnsetType = UNSET
    byok: bool | UnsetType = UNSET
    feature: Label | None | UnsetType = UNSET


class CorrectionFilter(PageQuery, kw_only=True):
    """Whose event it is."""

    customer: Reference


class CorrectionOut(msgspec.Struct):
    """One correction: the event before it, and after it unless it was voided."""

    id: uuid.UUID
    action: str
    reason: str
    created_at: dt.datetime
    before: dict[str, Any]
    after: dict[str, Any] | None


class VoidedEvent(Endpoint):
    """`/v1/events/{id}/void`"""

    @operation(
        scope="manage",
        body=VoidIn,
        returns=EventOut,
        problems=PROBLEMS,
        summary="Void an event",
        description="It counts as never having happened, for good: its id takes no report any more.",
    )
    def post(self, request: Request, event_id: str, body: VoidIn) -> EventOut:
        customer = get_customer(body.customer)
        void_event(customer, event_id, reason=body.reason, now=timezone.now())
        return event_out(Event.objects.get(customer=customer, event_id=event_id), customer.key)


class AmendedEvent(Endpoint):
    """`/v1/events/{id}/amend`"""

    @operation(
        scope="manage",
        body=AmendIn,
        returns=EventOut,
        problems=PROBLEMS,
        summary="Amend an event",
        description="It says what it should have said; later reports under its id no longer change it.",
    )
    def post(self, request: Request, event_id: str, body: AmendIn) -> EventOut:
        customer = get_customer(body.customer)
        changes = {
            name: value
            for name, value in msgspec.structs.asdict(body).items()
            if value is not UNSET and name not in ("customer", "reason", "usage")
        }
        if isinstance(body.usage, UsageIn):
            changes |= msgspec.structs.asdict(body.usage)
        amend_event(customer, event_id, changes, reason=body.reason, now=timezone.now())
        return event_out(Event.objects.get(customer=customer, event_id=event_id), customer.key)


class CorrectionsOfEvent(Endpoint):
    """`/v1/events/{id}/corrections`"""

    @operation(scope="read", query=CorrectionFilter, returns=Page[CorrectionOut], summary="List an event's corrections")
    def get(self, request: Request, event_id: str, query: CorrectionFilter) -> Page[CorrectionOut]:
        return paginated(
            request,
            Correction.objects.filter(customer=get_customer(query.customer), event_id=event_id),
            to_json=correction_out,
            limit=query.limit,
            cursor=query.cursor,
        )


def correction_out(correction: Correction) -> CorrectionOut:
    return CorrectionOut(
        correction.id,
        correction.action,
        correction.reason,
        correction.created_at,
        _event_said(correction.before),
        correction.after and _event_said(correction.after),
    )


def _event_said(state: dict[str, Any]) -> dict[str, Any]:
    """What an event said, in the words of the contract; not what we made of it (its rate and cost)."""
    usage = {name: state[name] for name in UsageIn.__struct_fields__}
    names = ("conversation", "occurred_at", "provider", "model", "kind", "status", "attempt", "turn")
    return {name: state[name] for name in (*names, "outcome", "feature", "byok")} | {"usage": usage}
