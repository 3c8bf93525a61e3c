"""How are conversations written? All changes of a fold together, with a note of what had been counted before."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
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
_CHANGED = {
    "customer_id": "uuid",
    "id": "uuid",
    "settled_at": "timestamptz",
    **{name: _FOLDED_TYPES[name] for name in FOLDED_FIELDS},
}
"""`settled_at` is the instant at which the conversation settled, if it has."""
_OPEN = ("customer_id", "id", "settles_at")
_open_row = itemgetter(*map(list(_NEW).index, _OPEN))

COPY_CONVERSATIONS = f"COPY metering_conversation ({', '.join(_NEW)}) FROM STDIN (FORMAT BINARY)"
COPY_OPEN = f"COPY metering_openconversation ({', '.join(_OPEN)}) FROM STDIN (FORMAT BINARY)"
# An open row is updated, never replaced: so a settling and a fold of one conversation notice each other.
UPDATE_CONVERSATIONS = f"""
WITH changed AS MATERIALIZED (
    SELECT * FROM unnest({", ".join(f"%s::{kind}[]" for kind in _CHANGED.values())}) n ({", ".join(_CHANGED)})
),
still_open AS (
    UPDATE metering_openconversation o SET settles_at = n.settles_at FROM changed n
    WHERE o.customer_id = n.customer_id AND o.id = n.id
),
reopened AS (
    DELETE FROM metering_settledconversation s USING changed n
    WHERE s.customer_id = n.customer_id AND s.settled_at = n.settled_at AND s.id = n.id
    RETURNING n.customer_id, n.id, n.settles_at
),
opened AS (
    INSERT INTO metering_openconversation (customer_id, id, settles_at) TABLE reopened
)
UPDATE metering_conversation c
SET {", ".join(f"{name} = n.{name}" for name in FOLDED_FIELDS)}, revision = c.revision + 1, folded_at = %s
FROM changed n WHERE c.customer_id = n.customer_id AND c.id = n.id
"""
DELETE_CONVERSATIONS = """
WITH deleted AS MATERIALIZED (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) d (customer_id, id, settled_at)
),
were_open AS (
    DELETE FROM metering_openconversation o USING deleted d WHERE o.customer_id = d.customer_id AND o.id = d.id
),
were_settled AS (
    DELETE FROM metering_settledconversation s USING deleted d
    WHERE s.customer_id = d.customer_id AND s.settled_at = d.settled_at AND s.id = d.id
)
DELETE FROM metering_conversation c USING deleted d WHERE c.customer_id = d.customer_id AND c.id = d.id
"""


class ConversationWrites:
    """The row changes of one fold, written together at its end."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now
        self._inserted: list[tuple[Any, ...]] = []
        self._updated: list[tuple[Any, ...]] = []
        self._deleted: list[tuple[uuid.UUID, uuid.UUID, dt.datetime]] = []
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

    def update(
        self, reference: Reference, conversation_id: uuid.UUID, sitting: Sitting, *, settled_at: dt.datetime
    ) -> None:
        """Make a stored conversation, which settles or settled at an instant, what the sitting is."""
        self.touch(reference[0], sitting.settles_at)
        self._updated.append((reference[0], conversation_id, settled_at, *folded_values(sitting)))

    def delete(self, reference: Reference, stored: StoredSitting) -> None:
        self.touch(reference[0], stored.sitting.settles_at)
        self._deleted.append((reference[0], stored.id, stored.sitting.settles_at))

    def flush(self) -> None:
        """Write the rows, and note what had been counted before it changed."""
        if self._deleted:
            with connection.cursor() as cursor:
                cursor.execute(DELETE_CONVERSATIONS, [list(column) for column in zip(*self._deleted, strict=True)])
        if self._updated:
            columns = zip(*self._updated, strict=True)
            packed = [PACKERS[kind](column) for kind, column in zip(_CHANGED.values(), columns, strict=True)]
            with raw_cursor() as raw:
                raw.execute(UPDATE_CONVERSATIONS, [*packed, self._now])
        if self._inserted:
            self._insert()
        note_late_changes(self._touched, self._gone, now=self._now)

    def _insert(self) -> None:
        new = [(new_id, *row) for new_id, row in zip(uuid7s(len(self._inserted)), self._inserted, strict=True)]
        _copy(COPY_CONVERSATIONS, _NEW, new)
        _copy(COPY_OPEN, _OPEN, map(_open_row, new))


def _copy(statement: str, names: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_NEW[name] for name in names])
        for row in rows:
            copy.write_row(row)
