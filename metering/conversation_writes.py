"""How are conversations written? All changes of a fold together, with a note of what had been counted before."""

import datetime as dt
import uuid
from collections import defaultdict
from typing import Any

from django.db import connection

from api.ids import uuid7s
from metering.conversation_rows import StoredSitting
from metering.late_changes import Departure, note_late_changes
from metering.packed_arrays import PACKERS, raw_cursor
from metering.sittings import FOLDED_FIELDS, Sitting, folded_values
from metering.unfolded import Reference

_FOLDED_TYPES = {
    **dict.fromkeys(FOLDED_FIELDS, "int8"),
    **dict.fromkeys(("calls", "retry_calls", "first_completions", "min_turn", "max_turn", "unpriced_calls"), "int4"),
    **dict.fromkeys(("opened_at", "last_event_at", "settles_at", "closed_at", "outcome_at"), "timestamptz"),
    "boundary_id": "uuid",
    "outcome": "text",
}
_NEW = {
    "id": "uuid",
    "customer_id": "uuid",
    "reference": "text",
    "ordinal": "int4",
    "revision": "int4",
    "folded_at": "timestamptz",
    **{name: _FOLDED_TYPES[name] for name in FOLDED_FIELDS},
}
_CHANGED = {"customer_id": "uuid", "id": "uuid", **{name: _FOLDED_TYPES[name] for name in FOLDED_FIELDS}}

COPY_CONVERSATIONS = f"COPY metering_conversation ({', '.join(_NEW)}) FROM STDIN (FORMAT BINARY)"
UPDATE_CONVERSATIONS = f"""
UPDATE metering_conversation c
SET {", ".join(f"{name} = n.{name}" for name in FOLDED_FIELDS)}, revision = c.revision + 1, folded_at = %s,
    settled_at = NULL, scheme_version_id = NULL, tier = NULL, turns = NULL, counted_tokens = NULL
FROM unnest({", ".join(f"%s::{kind}[]" for kind in _CHANGED.values())}) n ({", ".join(_CHANGED)})
WHERE c.customer_id = n.customer_id AND c.id = n.id
"""
DELETE_CONVERSATIONS = """
DELETE FROM metering_conversation c USING unnest(%s::uuid[], %s::uuid[]) d (customer_id, id)
WHERE c.customer_id = d.customer_id AND c.id = d.id
"""


class ConversationWrites:
    """The row changes of one fold, written together at its end."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now
        self._inserted: list[tuple[Any, ...]] = []
        self._updated: list[tuple[Any, ...]] = []
        self._deleted: list[tuple[uuid.UUID, uuid.UUID]] = []
        self._touched: dict[uuid.UUID, set[dt.datetime]] = defaultdict(set)
        self._gone: list[Departure] = []

    def touch(self, customer_id: uuid.UUID, settles_at: dt.datetime) -> None:
        """Something that settles, or settled, at this instant is not as it was."""
        self._touched[customer_id].add(settles_at)

    def leave(self, reference: Reference, settles_at: dt.datetime) -> None:
        """A sitting of the reference settles, or settled, at this instant no longer."""
        self.touch(reference[0], settles_at)
        self._gone.append((reference[0], settles_at, reference[1]))

    def insert(self, reference: Reference, ordinal: int, sitting: Sitting) -> None:
        self.touch(reference[0], sitting.settles_at)
        self._inserted.append((reference[0], reference[1], ordinal, 1, self._now, *folded_values(sitting)))

    def update(self, reference: Reference, conversation_id: uuid.UUID, sitting: Sitting) -> None:
        self.touch(reference[0], sitting.settles_at)
        self._updated.append((reference[0], conversation_id, *folded_values(sitting)))

    def delete(self, reference: Reference, stored: StoredSitting) -> None:
        self.touch(reference[0], stored.sitting.settles_at)
        self._deleted.append((reference[0], stored.id))

    def flush(self) -> None:
        """Write the rows, and note what had been counted before it changed."""
        if self._deleted:
            with connection.cursor() as cursor:
                cursor.execute(DELETE_CONVERSATIONS, [list(column) for column in zip(*self._deleted, strict=True)])
        if self._updated:
            columns = zip(*self._updated, strict=True)
            packed = [PACKERS[kind](column) for kind, column in zip(_CHANGED.values(), columns, strict=True)]
            with raw_cursor() as raw:
                raw.execute(UPDATE_CONVERSATIONS, [self._now, *packed])
        if self._inserted:
            with connection.cursor() as cursor, cursor.copy(COPY_CONVERSATIONS) as copy:
                copy.set_types(list(_NEW.values()))
                for conversation_id, row in zip(uuid7s(len(self._inserted)), self._inserted, strict=True):
                    copy.write_row((conversation_id, *row))
        note_late_changes(self._touched, self._gone, now=self._now)
