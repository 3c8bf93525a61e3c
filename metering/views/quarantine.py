"""`/v1/quarantine`: what came in and cannot be billed as it is; read, replayed and discarded."""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

import msgspec
from django.utils import timezone
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body, Instant
from metering import quarantine_review
from metering.ingest import IngestContended, Verdict
from metering.models import QuarantinedEvent
from metering.quarantine_review import AlreadyHandled, NotInQuarantine, State
from metering.reports import Name, Reference, Turn, UsageIn

Open = Literal["waiting", "refused"]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
MOST_AT_ONCE = 1_000
PROBLEMS: dict[type[Exception], int] = {NotInQuarantine: 404, AlreadyHandled: 409, IngestContended: 503}


class QuarantineFilter(PageQuery, kw_only=True):
    """Which items to list: all that fit what is given; `from` (included) and `to` bound when they came in."""

    state: State | None = None
    reason: Reason | None = None
    customer: Reference | None = None
    door: Name | None = None
    from_: Instant | None = msgspec.field(name="from", default=None)
    to: Instant | None = None


class ItemOut(msgspec.Struct, kw_only=True):
    """An item: `waiting` for its customer, `refused` as it is, `released` or `discarded`; why, when and by whom."""

    id: uuid.UUID
    door: str
    state: State
    reason: str
    customer: str
    event_id: str
    received_at: dt.datetime
    handled_at: dt.datetime | None
    handled_by: str
    handled_note: str


class WholeItemOut(ItemOut, kw_only=True):
    """An item with its body as sent, and what of it could be read as an event."""

    body: Any
    event: Any


class Said(Body, kw_only=True):
    """What an event should say, in place of what it says or does not say."""

    id: Reference | UnsetType = UNSET
    customer: Reference | UnsetType = UNSET
    conversation: Reference | UnsetType = UNSET
    occurred_at: Instant | UnsetType = UNSET
    provider: Name | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    usage: UsageIn | UnsetType = UNSET
    turn: Turn | UnsetType = UNSET


class SaidOfAll(Body, kw_only=True):
    """What many events should say that lacked it."""

    customer: Reference | UnsetType = UNSET
    conversation: Reference | UnsetType = UNSET
    occurred_at: Instant | UnsetType = UNSET
    provider: Name | UnsetType = UNSET
    model: Name | UnsetType = UNSET


class OpenFilter(Body, kw_only=True):
    """Which open items to replay."""

    state: Open | None = None
    reason: Reason | None = None
    customer: Reference | None = None
    door: Name | None = None
    from_: Instant | None = msgspec.field(name="from", default=None)
    to: Instant | None = None


class ReplayAllIn(Body, kw_only=True):
    """The open items that fit `filter`, oldest first, up to `limit` of them, from behind `after` on."""

    filter: OpenFilter
    set: SaidOfAll = msgspec.field(default_factory=SaidOfAll)
    limit: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE)] = 100
    after: uuid.UUID | None = None


class ReplayedOut(msgspec.Struct):
    """What became of the items, how many that fit are left behind the last one, and which to go on `after`."""

    accepted: int
    duplicate: int
    updated: int
    conflict: int
    quarantined: int
    rejected: int
    left: int
    after: uuid.UUID | None


class DiscardIn(Body):
    """Why an item is never to be billed; with `erase_body` what was sent is not kept."""

    reason: Reason
    erase_body: bool = False


class VerdictOut(msgspec.Struct):
    """What became of one item: released if accepted, duplicate or updated; else open, with the reason."""

    status: str
    detail: str
    pointer: str
    item: ItemOut


class Quarantine(Endpoint):
    """`/v1/quarantine`"""

    @operation(
        scope="read",
        query=QuarantineFilter,
        returns=Page[ItemOut],
        summary="List what is in quarantine, without bodies",
    )
    def get(self, request: Request, query: QuarantineFilter) -> Page[ItemOut]:
        items = quarantine_review.find_items(**_filters(query)).defer("body", "event")
        return paginated(request, items, to_json=item_out, limit=query.limit, cursor=query.cursor)


class QuarantineItem(Endpoint):
    """`/v1/quarantine/{id}`"""

    @operation(scope="read", returns=WholeItemOut, summary="Read an item of the quarantine with its body")
    def get(self, request: Request, item_id: uuid.UUID) -> WholeItemOut:
        item = QuarantinedEvent.objects.filter(id=item_id).first()
        if item is None:
            raise not_found(f"Nothing in quarantine has the id {item_id}.")
        return WholeItemOut(**msgspec.structs.asdict(item_out(item)), body=item.body, event=item.event)


class ReplayedItem(Endpoint):
    """`/v1/quarantine/{id}/replay`"""

    @operation(
        scope="manage",
        body=Said,
        returns=VerdictOut,
        problems=PROBLEMS,
        summary="Replay an item of the quarantine",
        description="It goes through the same ingest as any event, with what the body says of it anew.",
    )
    def post(self, request: Request, item_id: uuid.UUID, body: Said) -> VerdictOut:
        verdict = quarantine_review.replay(item_id, msgspec.to_builtins(body), by=str(request.auth), now=timezone.now())
        return _verdict_out(verdict, QuarantinedEvent.objects.get(id=item_id))


class ReplayedItems(Endpoint):
    """`/v1/quarantine/replay`"""

    @operation(
        scope="manage",
        body=ReplayAllIn,
        returns=ReplayedOut,
        problems=PROBLEMS,
        summary="Replay many items of the quarantine",
        description="Call again with the `after` of the answer until nothing is left.",
    )
    def post(self, request: Request, body: ReplayAllIn) -> ReplayedOut:
        counts, left, last = quarantine_review.replay_all(
            quarantine_review.find_items(**_filters(body.filter)),
            msgspec.to_builtins(body.set),
            limit=body.limit,
            after=body.after,
            by=str(request.auth),
            now=timezone.now(),
        )
        verdicts = {name: counts[name] for name in ReplayedOut.__struct_fields__ if name not in ("left", "after")}
        return ReplayedOut(**verdicts, left=left, after=last)


class DiscardedItem(Endpoint):
    """`/v1/quarantine/{id}/discard`"""

    @operation(
        scope="manage", body=DiscardIn, returns=ItemOut, problems=PROBLEMS, summary="Discard an item of the quarantine"
    )
    def post(self, request: Request, item_id: uuid.UUID, body: DiscardIn) -> ItemOut:
        item = quarantine_review.discard(
            item_id, reason=body.reason, erase_body=body.erase_body, by=str(request.auth), now=timezone.now()
        )
        return item_out(item)


def item_out(item: QuarantinedEvent) -> ItemOut:
    return ItemOut(
        id=item.id,
        door=item.door,
        state=quarantine_review.state_of(item),
        reason=item.reason,
        customer=item.customer_key,
        event_id=item.event_id,
        received_at=item.received_at,
        handled_at=item.released_at or item.discarded_at,
        handled_by=item.handled_by,
        handled_note=item.handled_note,
    )


def _verdict_out(verdict: Verdict, item: QuarantinedEvent) -> VerdictOut:
    return VerdictOut(verdict.status, verdict.detail, verdict.pointer or "", item_out(item))


def _filters(given: QuarantineFilter | OpenFilter) -> dict[str, Any]:
    named = {name: getattr(given, name) for name in ("state", "reason", "customer", "door")}
    return named | {"since": given.from_, "until": given.to}
