"""What may a caller report, and what does it become? The event of the REST contract, checked.

Field rules are those of the contract: ids of 1 to 512 characters, token counts 0..10^9, times with an offset, at most
5 minutes ahead and 35 days back (older needs the `backfill` scope).
"""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from metering.boundaries import EARLIEST
from metering.sittings import CLOSE, MeteredEvent
from metering.usage_normalising import UnreadableUsage, Usage, normalise

MAX_AHEAD = dt.timedelta(minutes=5)
MAX_BACK = dt.timedelta(days=35)
RESERVED = "parley:"
"""How the ids of events begin that are ours, such as closes."""
NOBODY = uuid.UUID(int=0)
"""The customer of an event before ingest has resolved it."""

Reference = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Instant = Annotated[dt.datetime, Meta(tz=True)]
Small = Annotated[int, Meta(ge=1, le=32_767)]
Turn = Annotated[int, Meta(ge=1, le=1_000_000)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]


class UsageIn(Struct, forbid_unknown_fields=True, gc=False):
    """Tokens in our disjoint buckets; `reasoning_tokens` is a part of `output_tokens`."""

    input_tokens: Tokens
    output_tokens: Tokens
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0


class EventIn(Struct, forbid_unknown_fields=True, kw_only=True, gc=False, omit_defaults=True):
    """One model call as the caller reports it."""

    id: Reference
    customer: Reference
    conversation: Reference
    occurred_at: Instant
    provider: Name
    model: Name
    usage: UsageIn | UnsetType = UNSET
    provider_usage: dict[str, Any] | UnsetType = UNSET
    turn: Turn | None = None
    kind: Literal["completion", "tool", "embedding", "other"] = "completion"
    attempt: Small = 1
    status: Literal["ok", "error"] = "ok"
    outcome: Label | None = None
    byok: bool | None = None
    feature: Label | None = None


class CloseIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """An explicit end of a conversation, at `at` or now."""

    customer: Reference
    conversation: Reference
    at: Instant | UnsetType = UNSET
    outcome: Label | None = None


class Report(Struct, gc=False):
    """An event on its way in: `event` lacks its customer until ingest has found one with the key `customer`.

    `index` is its place in the caller's batch, `byok` what the caller said of it, `sent` what it looked like.
    """

    index: int
    customer: str
    event: MeteredEvent
    byok: bool | None
    sent: EventIn | None = None


class UnusableReport(Exception):
    """A well-formed report that cannot be taken: `pointer` names the field, `detail` says why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer, self.detail = pointer, detail


def check_time(occurred_at: dt.datetime, *, now: dt.datetime, backfill: bool, pointer: str = "/occurred_at") -> None:
    """Raise UnusableReport outside the window in which events are taken."""
    if occurred_at > now + MAX_AHEAD:
        raise UnusableReport(pointer, "more than 5 minutes in the future")
    if occurred_at < EARLIEST:
        raise UnusableReport(pointer, f"before {EARLIEST:%Y}")
    if not backfill and occurred_at < now - MAX_BACK:
        raise UnusableReport(pointer, "more than 35 days ago; the backfill scope allows older events")


def read_usage(report: EventIn) -> Usage:
    """The report's usage in our buckets, whichever way it was sent."""
    if report.usage is not UNSET and report.provider_usage is not UNSET:
        raise UnusableReport("/provider_usage", "send usage or provider_usage, not both")
    if report.usage is UNSET and report.provider_usage is UNSET:
        raise UnusableReport("/usage", "required unless provider_usage is sent")
    if report.usage is not UNSET:
        sent = report.usage
        if sent.reasoning_tokens > sent.output_tokens:
            raise UnusableReport("/usage/reasoning_tokens", "reasoning is a part of output and cannot exceed it")
        return Usage(
            sent.input_tokens,
            sent.cache_read_tokens,
            sent.cache_write_tokens,
            sent.output_tokens,
            sent.reasoning_tokens,
        )
    assert isinstance(report.provider_usage, dict)
    try:
        return normalise(report.provider, report.provider_usage)
    except UnreadableUsage as unreadable:
        raise UnusableReport(f"/provider_usage{unreadable.pointer}", unreadable.detail) from unreadable


def read_report(index: int, sent: EventIn, *, now: dt.datetime, backfill: bool) -> Report:
    """The report to ingest for an event as sent. Raises UnusableReport."""
    if sent.id.startswith(RESERVED):
        raise UnusableReport("/id", f"ids that begin with {RESERVED} are reserved")
    check_time(sent.occurred_at, now=now, backfill=backfill)
    usage = read_usage(sent)
    event = MeteredEvent(
        NOBODY,
        sent.id,
        sent.conversation,
        sent.occurred_at.astimezone(dt.UTC),
        now,
        sent.provider,
        sent.model,
        sent.kind,
        sent.status,
        sent.attempt,
        sent.turn,
        *usage,
        sent.outcome,
        sent.feature,
        bool(sent.byok),
    )
    return Report(index, sent.customer, event, sent.byok, sent)


def close_event(sent: CloseIn, *, now: dt.datetime) -> MeteredEvent:
    """A close as an event; its id is made of what it closes and when, so that saying it twice is harmless."""
    at = (now if sent.at is UNSET else sent.at).astimezone(dt.UTC)
    return MeteredEvent(
        NOBODY,
        f"{RESERVED}close:{at.isoformat()}:{sent.conversation}",
        sent.conversation,
        at,
        now,
        provider="",
        model="",
        kind=CLOSE,
        status="ok",
        attempt=1,
        turn=None,
        input_tokens=0,
        cache_read_tokens=0,
        cache_write_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        outcome=sent.outcome,
        feature=None,
        byok=False,
    )
