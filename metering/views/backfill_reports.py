"""What is told of a backfill? How many rows came to what, what needs a person, and what an undo did."""

import datetime as dt
import uuid
from typing import Any, Literal

import msgspec

from metering.models import Backfill, BackfilledEvent, BackfillReject

SHOWN = 100
"""Rows that need a person and events that were kept, on the page of a backfill."""


class Effect(msgspec.Struct):
    """Conversations with an event made or changed, and events of time that had been counted for a bill before."""

    conversations: int
    counted_before: int


class Undone(msgspec.Struct):
    """Events that an undo took away, put back as they were, and had to leave."""

    removed: int
    restored: int
    kept: int


class RowProblem(msgspec.Struct):
    """A row that needs a person: where it begins in the file, and what is wrong where."""

    line: int
    id: str
    status: str
    pointer: str
    reason: str


class Kept(msgspec.Struct):
    """An event that an undo had to leave, and why."""

    customer: str
    id: str
    reason: str


class BackfillOut(msgspec.Struct, kw_only=True):
    """What became of a file: how many rows came to what. `unfinished`: under way, or killed; send it again."""

    id: uuid.UUID
    name: str
    format: str
    state: Literal["unfinished", "finished", "undone"]
    dry_run: bool
    customer: str | None
    mapping: dict[str, str]
    started_by: str
    started_at: dt.datetime
    finished_at: dt.datetime | None
    undone_at: dt.datetime | None
    rows: int
    accepted: int
    duplicate: int
    updated: int
    conflict: int
    quarantined: int
    rejected: int
    effect: Effect
    undone: Undone


class BackfillReport(BackfillOut, kw_only=True):
    """With the first rows that need a person, and the first events that an undo had to leave."""

    problems: list[RowProblem]
    kept: list[Kept]


def backfill_out(record: Backfill) -> BackfillOut:
    return BackfillOut(**_plain(record))


def report_of(record: Backfill) -> BackfillReport:
    """The report on a file, with the first of what needs a person."""
    rejects = BackfillReject.objects.filter(backfill=record).defer("row").order_by("line")
    kept = BackfilledEvent.objects.filter(backfill=record).exclude(kept_because="").select_related("customer")
    return BackfillReport(
        **_plain(record),
        problems=[RowProblem(row.line, row.event_id, row.status, row.pointer, row.reason) for row in rejects[:SHOWN]],
        kept=[
            Kept(row.customer.key, row.event_id, row.kept_because)
            for row in kept.order_by("customer_id", "event_id")[:SHOWN]
        ],
    )


def _plain(record: Backfill) -> dict[str, Any]:
    """What stands on both the list and the page of a backfill."""
    made = ("state", "customer", "effect", "undone")
    plain = {name: getattr(record, name) for name in BackfillOut.__struct_fields__ if name not in made}
    ended = "undone" if record.undone_at else "finished"
    return plain | {
        "state": ended if record.finished_at else "unfinished",
        "customer": record.customer_key or None,
        "effect": Effect(record.conversations, record.counted_before),
        "undone": Undone(record.removed, record.restored, record.kept),
    }
