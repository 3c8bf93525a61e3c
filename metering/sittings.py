"""Where does one conversation end and the next begin, and what does each hold? Pure.

`cut` is the boundary rule of a tier scheme: a sitting settles at the earliest of an explicit close, its last event
plus the idle timeout, its first event plus the maximum age, and the last microsecond of the subscription it opened
under. An event strictly after that instant opens the next sitting. The result depends on the set of events and on what
was agreed, not on the order in which either became known.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from metering.boundaries import NEVER_ENDING, Boundaries, Boundary

CLOSE = "close"


class MeteredEvent(msgspec.Struct, gc=False):
    """An event as stored: the columns of the event table, in its order. Tokens are disjoint buckets."""

    customer_id: uuid.UUID
    event_id: str
    conversation: str
    occurred_at: dt.datetime
    received_at: dt.datetime
    provider: str
    model: str
    kind: str
    status: str
    attempt: int
    turn: int | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    outcome: str | None
    feature: str | None
    byok: bool
    rate_id: int | None = None
    cost_nanos: int | None = None
    corrected: bool = False
    voided: bool = False


class Call(msgspec.Struct, array_like=True, gc=False):
    """The part of a new event that its conversation is folded from."""

    conversation: str
    occurred_at: dt.datetime
    kind: str
    status: str
    attempt: int
    turn: int | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    outcome: str | None
    byok: bool
    cost_nanos: int | None

    @property
    def voided(self) -> bool:
        """Nothing is void that has only just come."""
        return False


class Sitting(msgspec.Struct, gc=False):
    """The fold of one sitting's events; see metering.models.Conversation for what each column means."""

    boundary_id: uuid.UUID
    idle_timeout: dt.timedelta
    max_age: dt.timedelta
    settles_by: dt.datetime
    opened_at: dt.datetime
    last_event_at: dt.datetime
    settles_at: dt.datetime
    closed_at: dt.datetime | None = None
    calls: int = 0
    retry_calls: int = 0
    first_completions: int = 0
    min_turn: int | None = None
    max_turn: int | None = None
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    retry_input_tokens: int = 0
    retry_cache_read_tokens: int = 0
    retry_cache_write_tokens: int = 0
    retry_output_tokens: int = 0
    peak_context: int = 0
    peak_context_first: int = 0
    cost_nanos: int = 0
    retry_cost_nanos: int = 0
    byok_cost_nanos: int = 0
    unpriced_calls: int = 0
    outcome: str | None = None
    outcome_at: dt.datetime | None = None


AGREED_FIELDS = ("idle_timeout", "max_age", "settles_by")
"""The fields of a sitting that follow from its boundary, and are stored nowhere else."""
FOLDED_FIELDS = tuple(name for name in Sitting.__struct_fields__ if name not in AGREED_FIELDS)
"""The fields of a sitting that are columns of the conversation table."""


def chronological(event: MeteredEvent | Call) -> tuple[dt.datetime, bool]:
    """Sort key: by time, and at one instant a close after the calls it closes."""
    return event.occurred_at, event.kind == CLOSE


def cut(events: Iterable[MeteredEvent | Call], boundaries: Boundaries, current: Sitting | None = None) -> list[Sitting]:
    """Cut chronologically sorted events into sittings.

    `current` is the reference's last sitting so far, extended in place and returned first; an event may be earlier than
    its opening only where `reaches_back` says so. Without it, every event of the reference (from an opening on) has to
    be given. A close outside any sitting closes nothing; voided events do not count.
    """
    sittings = [] if current is None else [current]
    for event in events:
        if event.voided:
            continue
        if current is None or event.occurred_at > current.settles_at:
            if event.kind == CLOSE:
                continue
            current = _open(event, boundaries.at(event.occurred_at))
            sittings.append(current)
        _add(current, event)
    return sittings


def reaches_back(first: Sitting, earlier: dt.datetime, boundaries: Boundaries) -> bool:
    """Whether a reference's first sitting simply opens at an earlier instant, all of its events still in it.

    So it is with calls that overtake each other on their way. `first` must never have been closed.
    """
    boundary = boundaries.at(earlier)
    return (
        boundary.version_id == first.boundary_id
        and boundary.settles_by == first.settles_by
        and first.opened_at <= earlier + first.idle_timeout
        and first.last_event_at <= earlier + first.max_age
    )


def replayed(events: Iterable[MeteredEvent]) -> Iterator[tuple[MeteredEvent, Sitting]]:
    """Each event of one sitting with the fold up to and including it; the fold is one object that grows."""
    so_far: Sitting | None = None
    for event in events:
        so_far = so_far or _open(event, NEVER_ENDING)
        _add(so_far, event)
        yield event, so_far


def _open(event: MeteredEvent | Call, boundary: Boundary) -> Sitting:
    return Sitting(
        boundary_id=boundary.version_id,
        idle_timeout=boundary.idle_timeout,
        max_age=boundary.max_age,
        settles_by=boundary.settles_by,
        opened_at=event.occurred_at,
        last_event_at=event.occurred_at,
        settles_at=event.occurred_at,
    )


def _add(sitting: Sitting, event: MeteredEvent | Call) -> None:
    if event.outcome is not None and (
        sitting.outcome_at is None
        or sitting.outcome is None
        or ((event.occurred_at, event.outcome) > (sitting.outcome_at, sitting.outcome))
    ):
        sitting.outcome, sitting.outcome_at = event.outcome, event.occurred_at
    if event.kind == CLOSE:
        sitting.closed_at = min(sitting.closed_at or event.occurred_at, event.occurred_at)
    else:
        sitting.opened_at = min(sitting.opened_at, event.occurred_at)
        sitting.last_event_at = max(sitting.last_event_at, event.occurred_at)
        _count(sitting, event)
    settles_at = min(
        sitting.last_event_at + sitting.idle_timeout, sitting.opened_at + sitting.max_age, sitting.settles_by
    )
    sitting.settles_at = min(settles_at, sitting.closed_at) if sitting.closed_at else settles_at


def _count(sitting: Sitting, event: MeteredEvent | Call) -> None:
    context = event.input_tokens + event.cache_read_tokens + event.cache_write_tokens + event.output_tokens
    sitting.calls += 1
    sitting.input_tokens += event.input_tokens
    sitting.cache_read_tokens += event.cache_read_tokens
    sitting.cache_write_tokens += event.cache_write_tokens
    sitting.output_tokens += event.output_tokens
    sitting.reasoning_tokens += event.reasoning_tokens
    if context > sitting.peak_context:
        sitting.peak_context = context
    if event.turn is not None:
        sitting.min_turn = event.turn if sitting.min_turn is None else min(sitting.min_turn, event.turn)
        sitting.max_turn = event.turn if sitting.max_turn is None else max(sitting.max_turn, event.turn)
    retry = event.attempt > 1 or event.status == "error"
    if retry:
        sitting.retry_calls += 1
        sitting.retry_input_tokens += event.input_tokens
        sitting.retry_cache_read_tokens += event.cache_read_tokens
        sitting.retry_cache_write_tokens += event.cache_write_tokens
        sitting.retry_output_tokens += event.output_tokens
    else:
        if context > sitting.peak_context_first:
            sitting.peak_context_first = context
        if event.kind == "completion":
            sitting.first_completions += 1
    _cost(sitting, event, retry)


def _cost(sitting: Sitting, event: MeteredEvent | Call, retry: bool) -> None:
    if event.byok:
        sitting.byok_cost_nanos += event.cost_nanos or 0
    elif event.cost_nanos is None:
        sitting.unpriced_calls += 1
    else:
        sitting.cost_nanos += event.cost_nanos
        if retry:
            sitting.retry_cost_nanos += event.cost_nanos


def folded_values(sitting: Sitting) -> tuple[Any, ...]:
    """The sitting's values in the order of FOLDED_FIELDS."""
    boundary_id, _, _, _, *values = msgspec.structs.astuple(sitting)
    return boundary_id, *values
