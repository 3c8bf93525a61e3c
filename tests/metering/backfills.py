"""Files of events for the tests of backfills, and everything that a file may not leave behind."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from django.db import connection

from metering.backfill_columns import FIELDS
from metering.backfill_reading import EventFile
from metering.backfill_undo import undo_backfill
from metering.backfilling import backfill
from metering.catching_up import fold_waiting
from metering.models import Backfill
from metering.reports import EventIn, Report
from tests.cast import LATER, settled

TABLES = {
    "metering_event": ("received_at",),
    "metering_conversation": ("id", "revision", "folded_at"),
    "metering_openconversation": ("id",),
    "metering_settledconversation": ("id",),
    "metering_quarantinedevent": ("id",),
    "metering_unfoldedevents": (),
}
"""What an undo has to leave as it was, and the columns of each that may tell that something happened meanwhile."""


def sent(reports: Iterable[Report]) -> list[EventIn]:
    """The events as their senders reported them."""
    return [one.sent for one in reports if one.sent is not None]


def ndjson(events: Iterable[EventIn]) -> bytes:
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def as_csv(events: Iterable[EventIn]) -> bytes:
    """The events with a column for every field, as a spreadsheet would write them."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(FIELDS)
    for event in events:
        plain = msgspec.to_builtins(event)
        flat = plain | plain.pop("usage", {})
        rows.writerow([_cell(flat.get(field)) for field in FIELDS])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool | dict):
        return json.dumps(value)
    return "" if value is None else value


def a_file(content: bytes, format: str = "ndjson", name: str = "events", **options: Any) -> EventFile:
    return EventFile(name, format, lambda: io.BytesIO(content), **options)


def store(file: EventFile, *, dry_run: bool = False, now: Callable[[], Any] = lambda: LATER) -> Backfill:
    """Store a file (or try to), and let its events be folded."""
    record = backfill(file, dry_run=dry_run, by="the tests", clock=now)
    fold_waiting(now=LATER)
    return record


def undo(record: Backfill) -> Backfill:
    return undo_backfill(record.pk, clock=lambda: LATER)


def counts(record: Backfill) -> dict[str, int]:
    """How many rows became what."""
    statuses = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")
    return {status: getattr(record, status) for status in statuses if getattr(record, status)}


def everything() -> dict[str, Sequence[Any]]:
    """All rows of TABLES, once everything is folded and settled."""
    settled()
    return {table: rows_of(table, passed_over) for table, passed_over in TABLES.items()}


def rows_of(table: str, passed_over: Sequence[str] = ()) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t) FROM {table} t")
        rows = [json.loads(row) for (row,) in cursor.fetchall()]
    kept = [{name: value for name, value in row.items() if name not in passed_over} for row in rows]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True))
