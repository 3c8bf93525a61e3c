"""How events are written to and read from their table: the SQL of the event store."""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from metering.sittings import MeteredEvent, chronological

COLUMNS = MeteredEvent.__struct_fields__
_TYPES = (
    *("uuid", "text", "text", "timestamptz", "timestamptz", "text", "text", "text", "text", "int2", "int4"),
    *("int4", "int4", "int4", "int4", "int4", "text", "text", "bool", "int8", "int8", "bool", "bool"),
)
_LIST = ", ".join(COLUMNS)

COPY_EVENTS = f"COPY metering_event ({_LIST}) FROM STDIN (FORMAT BINARY)"
SELECT_STORED = f"""
SELECT {", ".join(f"e.{name}" for name in COLUMNS)}
FROM metering_event e JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
  ON e.customer_id = k.customer_id AND e.event_id = k.event_id
ORDER BY e.customer_id, e.event_id FOR UPDATE OF e
"""
UPDATE_EVENTS = f"""
UPDATE metering_event e SET {", ".join(f"{name} = n.{name}" for name in COLUMNS[2:])}
FROM unnest({", ".join(f"%s::{kind}[]" for kind in _TYPES)}) n ({_LIST})
WHERE e.customer_id = n.customer_id AND e.event_id = n.event_id
"""
SELECT_CONVERSATION = f"""
SELECT {_LIST} FROM metering_event
WHERE customer_id = %s AND conversation = %s
  AND occurred_at >= %s AND occurred_at <= coalesce(%s::timestamptz, 'infinity')
"""


def read_stored(keys: Sequence[tuple[uuid.UUID, str]]) -> list[MeteredEvent]:
    """The events already stored under these (customer, event id) keys, locked in key order."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_STORED, [[key[0] for key in keys], [key[1] for key in keys]])
        return [MeteredEvent(*row) for row in cursor.fetchall()]


def insert(events: Iterable[MeteredEvent]) -> None:
    """COPY new events in; the caller gives them in key order, so that overlapping batches queue and not deadlock."""
    with connection.cursor() as cursor, cursor.copy(COPY_EVENTS) as copy:
        copy.set_types(_TYPES)
        for event in events:
            copy.write_row(_values(event))


def update(events: Sequence[MeteredEvent]) -> None:
    """Overwrite stored events with their merged or corrected state."""
    with connection.cursor() as cursor:
        cursor.execute(UPDATE_EVENTS, [list(column) for column in zip(*map(_values, events), strict=True)])


def of_conversation(
    customer_id: uuid.UUID, conversation: str, *, since: dt.datetime, until: dt.datetime | None = None
) -> list[MeteredEvent]:
    """A reference's events from `since` to `until`, both included, in chronological order."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_CONVERSATION, [customer_id, conversation, since, until])
        return sorted((MeteredEvent(*row) for row in cursor.fetchall()), key=chronological)


def _values(event: MeteredEvent) -> tuple[Any, ...]:
    return tuple([getattr(event, name) for name in COLUMNS])
