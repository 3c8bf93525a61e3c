"""What did a file do to each event, so that it can be taken back? Noted beside the events, in their transaction.

An event that a file touched is as it was before, or new, or unchanged; a digest says how the file left it. Whoever
changes it later leaves another digest, and whoever takes back compares. Two files that report the same event each have
a note of it.
"""

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db import connection

from metering import event_rows
from metering.ingest import Verdict, ingest_together
from metering.payers import take_payers
from metering.reports import Report
from metering.sittings import MeteredEvent

EventKey = tuple[uuid.UUID, str]
"""A customer and an event id."""

CREATED, GROWN, SAME = "created", "grown", "same"
OUR_OWN = ("received_at", "rate_id", "cost_nanos")
"""What we add to an event; no report of it says so."""
_REPORTED = tuple(name for name in MeteredEvent.__struct_fields__ if name not in OUR_OWN)

NOTES = """
SELECT b.customer_id, b.event_id, b.effect, b.before::text, b.after_digest, b.shared
FROM metering_backfilledevent b JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
  ON b.customer_id = k.customer_id AND b.event_id = k.event_id
WHERE b.backfill_id = %s
"""
NOTE = """
INSERT INTO metering_backfilledevent AS known
  (backfill_id, customer_id, event_id, effect, before, after_digest, shared, kept_because)
SELECT %s, customer_id, event_id, effect, before::jsonb, after_digest, shared, ''
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bool[])
  n (customer_id, event_id, effect, before, after_digest, shared)
ON CONFLICT (customer_id, event_id, backfill_id) DO UPDATE SET
  effect = excluded.effect, before = excluded.before, after_digest = excluded.after_digest, shared = excluded.shared
"""


class Note(NamedTuple):
    """What a file did to one event: `before` is the event as JSON (None if it was new or is unchanged).

    `shared` says that somebody else changed it between two rows of the file: nobody can tell their parts apart.
    """

    customer_id: uuid.UUID
    event_id: str
    effect: str
    before: str | None
    after_digest: bytes
    shared: bool

    @property
    def key(self) -> EventKey:
        return self.customer_id, self.event_id


def ingest_noted(reports: Sequence[Report], backfill_id: uuid.UUID, *, now: dt.datetime) -> list[Verdict]:
    """Ingest what a file reports of known customers, and note what it did to each event. Inside a transaction.

    Takes the customers' usage lock alone: between looking, storing and looking again nobody may come.
    """
    payers = take_payers({report.customer for report in reports})
    keys = sorted(
        {(payers[one.customer].id, one.event.event_id) for one in reports if one.customer in payers},
        key=lambda key: (key[0].int, key[1]),
    )
    before = {_key(event): event for event in event_rows.read_stored(keys)}
    (verdicts,) = ingest_together([reports], now=now, look_first=bool(before))
    after = {_key(event): event for event in event_rows.read_stored(keys)}
    _write(backfill_id, noted(before, after, _notes(backfill_id, keys)))
    return verdicts


def noted(
    before: Mapping[EventKey, MeteredEvent], after: Mapping[EventKey, MeteredEvent], known: Mapping[EventKey, Note]
) -> list[Note]:
    """Notes of what led from `before` to `after`, added to what is `known` of the file's earlier rows. Pure."""
    return [_noted(before.get(key), event, known.get(key)) for key, event in after.items()]


def _noted(before: MeteredEvent | None, after: MeteredEvent, known: Note | None) -> Note:
    left = digest(after)
    found = None if before is None else digest(before)
    effect = CREATED if found is None else SAME if found == left else GROWN
    if known is None or known.effect == SAME:
        was = as_json(before) if before is not None and effect == GROWN else None
        return Note(after.customer_id, after.event_id, effect, was, left, shared=False)
    return known._replace(after_digest=left, shared=known.shared or known.after_digest != found)


def digest(event: MeteredEvent) -> bytes:
    """Sixteen bytes that say whether two states of an event are the same, but for what we added to them."""
    reported = [(name, getattr(event, name)) for name in _REPORTED]
    return hashlib.blake2b(msgspec.msgpack.encode(reported), digest_size=16).digest()


def as_json(event: MeteredEvent) -> str:
    return msgspec.json.encode(event).decode()


def from_json(text: str | bytes) -> MeteredEvent:
    return msgspec.json.decode(text, type=MeteredEvent)


def _key(event: MeteredEvent) -> EventKey:
    return event.customer_id, event.event_id


def _notes(backfill_id: uuid.UUID, keys: Iterable[EventKey]) -> dict[EventKey, Note]:
    customer_ids, event_ids = _unzipped(keys)
    with connection.cursor() as cursor:
        cursor.execute(NOTES, [customer_ids, event_ids, backfill_id])
        notes = [Note(who, event_id, *rest) for who, event_id, *rest in cursor.fetchall()]
    return {note.key: note._replace(after_digest=bytes(note.after_digest)) for note in notes}


def _write(backfill_id: uuid.UUID, notes: Sequence[Note]) -> None:
    if notes:
        with connection.cursor() as cursor:
            cursor.execute(NOTE, [backfill_id, *map(list, zip(*notes, strict=True))])


def _unzipped(keys: Iterable[EventKey]) -> tuple[list[uuid.UUID], list[str]]:
    pairs = list(keys)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
