"""How events are written to and read from their table: the SQL of the event store."""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

import msgspec
from django.db import connection

from api.exchanging import Statement, Step
from metering.packed_arrays import PACKERS, PackedArray, instants, raw_cursor, texts, uuids, words
from metering.sittings import MeteredEvent, chronological

COLUMNS = MeteredEvent.__struct_fields__
_TYPES = (
    *("uuid", "text", "text", "timestamptz", "timestamptz", "text", "text", "text", "text", "int2", "int4"),
    *("int4", "int4", "int4", "int4", "int4", "text", "text", "bool", "int8", "int8", "bool", "bool"),
)
_LIST = ", ".join(COLUMNS)
_SENT_AS = {"int2": "int4"}
_OF_FEW_WORDS = {"provider", "model", "kind", "status", "outcome", "feature"}
_PACKERS = [words if name in _OF_FEW_WORDS else PACKERS[kind] for name, kind in zip(COLUMNS, _TYPES, strict=True)]

_PARAMETERS = ", ".join(f"${place}::{_SENT_AS.get(kind, kind)}[]" for place, kind in enumerate(_TYPES, 1))
INSERT = Statement(f"INSERT INTO metering_event ({_LIST}) SELECT * FROM unnest({_PARAMETERS})")
COPY_EVENTS = f"COPY metering_event ({_LIST}) FROM STDIN (FORMAT BINARY)"
LOOK_UP = f"""
SELECT {", ".join(f"e.{name}" for name in COLUMNS)}
FROM metering_event e JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
  ON e.customer_id = k.customer_id AND e.event_id = k.event_id
"""
SELECT_STORED = f"{LOOK_UP} ORDER BY e.customer_id, e.event_id FOR UPDATE OF e"
DELETE_EVENTS = """
DELETE FROM metering_event e USING unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
WHERE e.customer_id = k.customer_id AND e.event_id = k.event_id
"""
UPDATE_EVENTS = f"""
UPDATE metering_event e SET {", ".join(f"{name} = n.{name}" for name in COLUMNS[2:])}
FROM unnest({", ".join(f"%s::{kind}[]" for kind in _TYPES)}) n ({_LIST})
WHERE e.customer_id = n.customer_id AND e.event_id = n.event_id
"""
SELECT_CONVERSATIONS = f"""
SELECT r.place, {", ".join(f"e.{name}" for name in COLUMNS)}
FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
  r (customer_id, reference, since, until, place)
JOIN metering_event e ON e.customer_id = r.customer_id AND e.conversation = r.reference
  AND e.occurred_at >= r.since AND e.occurred_at <= coalesce(r.until, 'infinity')
"""


def read_stored(keys: Sequence[tuple[uuid.UUID, str]]) -> list[MeteredEvent]:
    """The events already stored under these (customer, event id) keys, locked in key order."""
    return _read(SELECT_STORED, keys)


def look_up(keys: Sequence[tuple[uuid.UUID, str]]) -> list[MeteredEvent]:
    """The same without locks, for whoever only looks."""
    return _read(LOOK_UP, keys)


def _read(query: str, keys: Sequence[tuple[uuid.UUID, str]]) -> list[MeteredEvent]:
    with raw_cursor() as cursor:
        cursor.execute(query, _packed(keys))
        return [MeteredEvent(*row) for row in cursor.fetchall()]


def delete(keys: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Let events be as if never sent; the caller has their references cut anew."""
    with raw_cursor() as cursor:
        cursor.execute(DELETE_EVENTS, _packed(keys))


def _packed(keys: Sequence[tuple[uuid.UUID, str]]) -> list[PackedArray]:
    return [uuids([key[0] for key in keys]), texts([key[1] for key in keys])]


def inserting(events: Sequence[MeteredEvent]) -> Step:
    """`insert` as a step of an exchange, for a few events."""
    columns = zip(*map(msgspec.structs.astuple, events), strict=True)
    return Step(INSERT, [pack(column) for pack, column in zip(_PACKERS, columns, strict=True)])


def insert(events: Sequence[MeteredEvent]) -> None:
    """Add new events; the caller gives them in key order, so that overlapping batches queue and not deadlock."""
    with connection.cursor() as cursor, cursor.copy(COPY_EVENTS) as copy:
        copy.set_types(_TYPES)
        for event in events:
            copy.write_row(msgspec.structs.astuple(event))


def update(events: Iterable[MeteredEvent]) -> None:
    """Overwrite stored events with their merged or corrected state."""
    columns = zip(*map(msgspec.structs.astuple, events), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(UPDATE_EVENTS, [list(column) for column in columns])


def of_conversations(
    references: Sequence[tuple[uuid.UUID, str]],
    since: Sequence[dt.datetime],
    until: Sequence[dt.datetime | None] | None = None,
) -> list[list[MeteredEvent]]:
    """The events of each (customer, reference), from its `since` to its `until`, both included, in time's order."""
    found: list[list[MeteredEvent]] = [[] for _ in references]
    with raw_cursor() as cursor:
        cursor.execute(
            SELECT_CONVERSATIONS,
            [
                uuids([customer_id for customer_id, _ in references]),
                texts([reference for _, reference in references]),
                instants(since),
                instants(until or [None] * len(references)),
            ],
        )
        for place, *row in cursor.fetchall():
            found[place - 1].append(MeteredEvent(*row))
    return [sorted(events, key=chronological) for events in found]
