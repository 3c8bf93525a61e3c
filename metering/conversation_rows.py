"""How conversations are read from and written to their table: the SQL of the fold."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connection

from api.ids import uuid7
from metering.late_changes import note_late_changes
from metering.sittings import FOLDED_FIELDS, Sitting, folded_values

Reference = tuple[uuid.UUID, str]
"""A customer and one of its conversation references."""


class StoredSitting(NamedTuple):
    """A conversation row: its identity and its fold."""

    id: uuid.UUID
    ordinal: int
    sitting: Sitting


_COLUMNS = ", ".join(f"c.{name}" for name in FOLDED_FIELDS)
_SITTING = f"c.id, c.ordinal, {_COLUMNS}, v.idle_timeout, v.max_age"

LOCK_REFERENCES = """
SELECT c.customer_id, c.reference
FROM metering_conversation c JOIN unnest(%s::uuid[], %s::text[]) r (customer_id, reference)
  ON c.customer_id = r.customer_id AND c.reference = r.reference AND c.ordinal = 1
ORDER BY c.customer_id, c.reference FOR UPDATE OF c
"""
LAST_SITTINGS = f"""
SELECT c.customer_id, c.reference, {_SITTING}
FROM unnest(%s::uuid[], %s::text[]) r (customer_id, reference)
CROSS JOIN LATERAL (SELECT * FROM metering_conversation last
    WHERE last.customer_id = r.customer_id AND last.reference = r.reference ORDER BY last.ordinal DESC LIMIT 1) c
JOIN plans_tierschemeversion v ON v.id = c.boundary_id
"""
ALL_SITTINGS = f"""
SELECT {_SITTING} FROM metering_conversation c JOIN plans_tierschemeversion v ON v.id = c.boundary_id
WHERE c.customer_id = %s AND c.reference = %s ORDER BY c.ordinal
"""
REFERENCES_WITH_CLOSES = """
SELECT DISTINCT e.customer_id, e.conversation
FROM unnest(%s::uuid[], %s::text[]) r (customer_id, reference) JOIN metering_event e
  ON e.customer_id = r.customer_id AND e.conversation = r.reference AND e.kind = 'close'
"""


def _unzipped(references: Iterable[Reference]) -> tuple[list[uuid.UUID], list[str]]:
    pairs = list(references)
    return [customer_id for customer_id, _ in pairs], [reference for _, reference in pairs]


def _stored_sitting(row: tuple[Any, ...]) -> StoredSitting:
    *folded, idle_timeout, max_age = row[2:]
    named = dict(zip(FOLDED_FIELDS, folded, strict=True))
    return StoredSitting(row[0], row[1], Sitting(idle_timeout=idle_timeout, max_age=max_age, **named))


def lock(references: list[Reference]) -> set[Reference]:
    """Lock the references that exist, in their order (the row of the first sitting stands for the reference).

    Returns those that are locked now. Any other is new to the caller, also where somebody else commits its first
    sitting a moment later.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK_REFERENCES, _unzipped(references))
        return set(cursor.fetchall())


def last_sittings(references: list[Reference]) -> dict[Reference, StoredSitting]:
    """The newest sitting of each reference that has one."""
    with connection.cursor() as cursor:
        cursor.execute(LAST_SITTINGS, _unzipped(references))
        return {(row[0], row[1]): _stored_sitting(row[2:]) for row in cursor.fetchall()}


def sittings(reference: Reference) -> list[StoredSitting]:
    """All sittings of a reference, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(ALL_SITTINGS, reference)
        return [_stored_sitting(row) for row in cursor.fetchall()]


def references_with_closes(references: list[Reference]) -> set[Reference]:
    """Those of the references that somebody has ever closed."""
    with connection.cursor() as cursor:
        cursor.execute(REFERENCES_WITH_CLOSES, _unzipped(references))
        return {(row[0], row[1]) for row in cursor.fetchall()}


_FOLDED_TYPES = {
    **dict.fromkeys(FOLDED_FIELDS, "int8"),
    **dict.fromkeys(("calls", "retry_calls", "first_completions", "min_turn", "max_turn", "unpriced_calls"), "int4"),
    **dict.fromkeys(("opened_at", "last_event_at", "settles_at", "closed_at", "outcome_at"), "timestamptz"),
    "boundary_id": "uuid",
    "outcome": "text",
}
_INSERTED = ("customer_id", "id", "reference", "ordinal", "revision", "folded_at", *FOLDED_FIELDS)
_INSERTED_TYPES = (
    "uuid",
    "uuid",
    "text",
    "int4",
    "int4",
    "timestamptz",
    *map(_FOLDED_TYPES.__getitem__, FOLDED_FIELDS),
)
_UPDATED = ("customer_id", "id", *FOLDED_FIELDS)

COPY_CONVERSATIONS = f"COPY metering_conversation ({', '.join(_INSERTED)}) FROM STDIN (FORMAT BINARY)"
UPDATE_CONVERSATIONS = f"""
UPDATE metering_conversation c
SET {", ".join(f"{name} = n.{name}" for name in FOLDED_FIELDS)}, revision = c.revision + 1, folded_at = %s,
    settled_at = NULL, scheme_version_id = NULL, tier = NULL, turns = NULL, counted_tokens = NULL
FROM unnest(%s::uuid[], %s::uuid[], {", ".join(f"%s::{_FOLDED_TYPES[name]}[]" for name in FOLDED_FIELDS)})
  n ({", ".join(_UPDATED)})
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

    def touch(self, customer_id: uuid.UUID, settles_at: dt.datetime) -> None:
        """Something that settles, or settled, at this instant is not as it was."""
        self._touched[customer_id].add(settles_at)

    def insert(self, reference: Reference, ordinal: int, sitting: Sitting) -> None:
        self.touch(reference[0], sitting.settles_at)
        self._inserted.append((reference[0], uuid7(), reference[1], ordinal, 1, self._now, *folded_values(sitting)))

    def update(self, reference: Reference, conversation_id: uuid.UUID, sitting: Sitting) -> None:
        self.touch(reference[0], sitting.settles_at)
        self._updated.append((reference[0], conversation_id, *folded_values(sitting)))

    def delete(self, reference: Reference, stored: StoredSitting) -> None:
        self.touch(reference[0], stored.sitting.settles_at)
        self._deleted.append((reference[0], stored.id))

    def flush(self) -> None:
        """Write the rows, and note what had been counted before it changed."""
        with connection.cursor() as cursor:
            if self._deleted:
                cursor.execute(DELETE_CONVERSATIONS, _columns(self._deleted))
            if self._updated:
                cursor.execute(UPDATE_CONVERSATIONS, [self._now, *_columns(self._updated)])
            if self._inserted:
                with cursor.copy(COPY_CONVERSATIONS) as copy:
                    copy.set_types(_INSERTED_TYPES)
                    for row in self._inserted:
                        copy.write_row(row)
        note_late_changes(self._touched, now=self._now)


def _columns(rows: list[Any]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
