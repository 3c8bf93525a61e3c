"""How is a file taken back? What it made is removed, what it changed is as before: as if it had never been sent.

Unlike a void, which keeps an id for ever, an undo frees the ids, so that a corrected file may use them. It takes back
only what nobody else has touched since: an event that was reported with more, corrected, or is in a later file too
stays, with the reason. Undoing again tries these again, and changes nothing else.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from django.db import connection, transaction

from metering import event_rows
from metering.backfill_provenance import CREATED, GROWN, SAME, EventKey, Note, digest, from_json
from metering.catching_up import catch_up
from metering.ingest import write
from metering.models import Backfill, QuarantinedEvent
from metering.sittings import MeteredEvent
from metering.usage_lock import take_usage_lock

EVENTS_A_STEP = 1_000

STANDING = """
SELECT customer_id, event_id, effect, before::text, after_digest, shared FROM metering_backfilledevent
WHERE backfill_id = %s AND undone_at IS NULL AND (customer_id, event_id) > (%s, %s)
ORDER BY customer_id, event_id LIMIT %s
"""
# Of the same state of the event: whoever reported it before this file is contained in the state before, and whoever
# changed it after it has left another one.
CLAIMS = """
SELECT b.customer_id, b.event_id, b.after_digest, file.name
FROM metering_backfilledevent b JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
  ON b.customer_id = k.customer_id AND b.event_id = k.event_id
JOIN metering_backfill file ON file.id = b.backfill_id
WHERE b.backfill_id <> %s AND b.undone_at IS NULL
"""
RELEASED = """
SELECT customer.id, q.event_id
FROM metering_quarantinedevent q JOIN plans_customer customer ON customer.key = q.customer_key
JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id) ON customer.id = k.customer_id AND q.event_id = k.event_id
WHERE q.released_at IS NOT NULL AND q.backfill_id IS DISTINCT FROM %s
"""
MARK = """
UPDATE metering_backfilledevent b SET undone_at = CASE WHEN k.because = '' THEN %s::timestamptz END,
    kept_because = k.because
FROM unnest(%s::uuid[], %s::text[], %s::text[]) k (customer_id, event_id, because)
WHERE b.backfill_id = %s AND b.customer_id = k.customer_id AND b.event_id = k.event_id
"""
FORGET_RELEASED = """
DELETE FROM metering_quarantinedevent q WHERE q.backfill_id = %s AND NOT EXISTS (
    SELECT FROM metering_event e JOIN plans_customer customer ON customer.id = e.customer_id
    WHERE customer.key = q.customer_key AND e.event_id = q.event_id)
"""


class BackfillNotFound(Exception):
    """No file was stored under this id."""


class NothingToUndo(Exception):
    """It was a dry run, which changed nothing."""


def undo_backfill(
    backfill_id: uuid.UUID, *, clock: Callable[[], dt.datetime], progress: Callable[[int], object] = lambda events: None
) -> Backfill:
    """Take a file back, as far as nobody else has touched what it did; its report. Not inside a transaction.

    A run of it that is still under way ends. Raises BackfillNotFound, NothingToUndo.
    """
    _begin(backfill_id, now=clock())
    after: EventKey | None = (uuid.UUID(int=0), "")
    while after is not None:
        with transaction.atomic():
            record = Backfill.objects.select_for_update().get(pk=backfill_id)
            after, events = _step(record, after, now=clock())
        progress(events)
    with transaction.atomic():
        record = Backfill.objects.select_for_update().get(pk=backfill_id)
        with connection.cursor() as cursor:
            cursor.execute(FORGET_RELEASED, [backfill_id])
        record.undone_at = clock()
        record.save(update_fields=["undone_at"])
        return record


def _begin(backfill_id: uuid.UUID, *, now: dt.datetime) -> None:
    """Let nothing more of the file come in."""
    with transaction.atomic():
        record = Backfill.objects.select_for_update().filter(pk=backfill_id).first()
        if record is None:
            raise BackfillNotFound(f"there is no backfill {backfill_id}")
        if record.dry_run:
            raise NothingToUndo(f"{record.name} was a dry run and stored nothing")
        record.finished_at = record.finished_at or now
        record.kept = 0
        record.save(update_fields=["finished_at", "kept"])
        QuarantinedEvent.objects.filter(backfill=record, released_at=None).delete()


def _step(record: Backfill, after: EventKey, *, now: dt.datetime) -> tuple[EventKey | None, int]:
    """Take back up to EVENTS_A_STEP events after a key; the last of them (None: there are no more), and how many."""
    rows = _standing(record.id, after)
    if not rows:
        return None, 0
    take_usage_lock(*{row.customer_id for row in rows})
    stored = {(event.customer_id, event.event_id): event for event in event_rows.read_stored([r.key for r in rows])}
    because = _reasons(record.id, rows, stored)
    undone = [row for row in rows if not because[row.key] and row.key in stored]
    removed = [stored[row.key] for row in undone if row.effect == CREATED]
    restored = [from_json(row.before) for row in undone if row.effect == GROWN and row.before is not None]
    grown = [stored[event.customer_id, event.event_id] for event in restored]
    if removed or restored:
        event_rows.delete([(event.customer_id, event.event_id) for event in removed])
        write([], restored, grown, removed=removed, now=now)
        catch_up({event.customer_id for event in chain(removed, restored)}, now=now)
    _mark(record.id, because, now)
    record.removed += len(removed)
    record.restored += len(restored)
    record.kept += sum(reason != "" for reason in because.values())
    record.save(update_fields=["removed", "restored", "kept"])
    return rows[-1].key, len(rows)


def _reasons(
    backfill_id: uuid.UUID, rows: Sequence[Note], stored: Mapping[EventKey, MeteredEvent]
) -> dict[EventKey, str]:
    """Why each event has to stay as it is; "" where it has not."""
    claims = _claims(backfill_id, rows)
    released = _released(backfill_id, rows)
    return {row.key: _reason(row, stored.get(row.key), claims.get(row.key, ()), row.key in released) for row in rows}


def _reason(row: Note, stored: MeteredEvent | None, claims: Iterable[tuple[bytes, str]], released: bool) -> str:
    if row.effect == SAME or stored is None:
        return ""
    if row.shared:
        return "others reported it too while the file came in"
    if digest(stored) != row.after_digest:
        return "voided or amended since" if stored.corrected else "reported again since, with something new"
    for left, name in claims:
        if left == row.after_digest:
            return f"also in {name}, which came after it"
    return "also let out of quarantine" if released and row.effect == CREATED else ""


# --- rows -----------------------------------------------------------------------------------------------------------


def _standing(backfill_id: uuid.UUID, after: EventKey) -> list[Note]:
    with connection.cursor() as cursor:
        cursor.execute(STANDING, [backfill_id, *after, EVENTS_A_STEP])
        rows = [Note(*row) for row in cursor.fetchall()]
    return [row._replace(after_digest=bytes(row.after_digest)) for row in rows]


def _claims(backfill_id: uuid.UUID, rows: Sequence[Note]) -> dict[EventKey, list[tuple[bytes, str]]]:
    found: dict[EventKey, list[tuple[bytes, str]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(CLAIMS, [*_keys(rows), backfill_id])
        for customer_id, event_id, left, name in cursor.fetchall():
            found.setdefault((customer_id, event_id), []).append((bytes(left), name))
    return found


def _released(backfill_id: uuid.UUID, rows: Sequence[Note]) -> set[EventKey]:
    with connection.cursor() as cursor:
        cursor.execute(RELEASED, [*_keys(rows), backfill_id])
        return set(cursor.fetchall())


def _mark(backfill_id: uuid.UUID, because: Mapping[EventKey, str], now: dt.datetime) -> None:
    customer_ids, event_ids = [key[0] for key in because], [key[1] for key in because]
    with connection.cursor() as cursor:
        cursor.execute(MARK, [now, customer_ids, event_ids, [*because.values()], backfill_id])


def _keys(rows: Sequence[Note]) -> tuple[list[uuid.UUID], list[str]]:
    return [row.customer_id for row in rows], [row.event_id for row in rows]
