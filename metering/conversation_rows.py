"""How are conversations read from their table to be folded on? The SQL of the fold."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from metering.boundaries import Boundaries
from metering.packed_arrays import raw_cursor, texts, uuids
from metering.sittings import FOLDED_FIELDS, Sitting
from metering.unfolded import Reference
from plans.models import TierSchemeVersion


class StoredSitting(NamedTuple):
    """A conversation row: its identity and its fold."""

    id: uuid.UUID
    ordinal: int
    sitting: Sitting


class Head(NamedTuple):
    """What is known of a reference: whether anybody ever closed it, and its newest sitting."""

    closed: bool
    last: StoredSitting | None


_COLUMNS = ", ".join(f"c.{name}" for name in FOLDED_FIELDS)

HEADS = f"""
SELECT r.place, EXISTS (SELECT FROM metering_event e
    WHERE e.customer_id = r.customer_id AND e.conversation = r.reference AND e.kind = 'close'),
    c.id, c.ordinal, {_COLUMNS}
FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY r (customer_id, reference, place)
LEFT JOIN LATERAL (SELECT * FROM metering_conversation last
    WHERE last.customer_id = r.customer_id AND last.reference = r.reference ORDER BY last.ordinal DESC LIMIT 1) c
  ON true
"""
ALL_SITTINGS = f"""
SELECT r.place, c.id, c.ordinal, {_COLUMNS}
FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY r (customer_id, reference, place)
JOIN metering_conversation c ON c.customer_id = r.customer_id AND c.reference = r.reference
ORDER BY r.place, c.ordinal
"""


def heads(references: Sequence[Reference], boundaries: Mapping[uuid.UUID, Boundaries]) -> list[Head]:
    """What is known of each reference, in their order; `boundaries` are the rules of their customers."""
    found = [Head(False, None)] * len(references)
    with raw_cursor() as cursor:
        cursor.execute(HEADS, _unzipped(references))
        for place, was_closed, *row in cursor.fetchall():
            rules = boundaries[references[place - 1][0]]
            found[place - 1] = Head(was_closed, None if row[0] is None else _stored_sitting(row, rules))
    return found


def sittings(references: Sequence[Reference], boundaries: Mapping[uuid.UUID, Boundaries]) -> list[list[StoredSitting]]:
    """All sittings of each reference, oldest first, in the order of the references."""
    found: list[list[StoredSitting]] = [[] for _ in references]
    with raw_cursor() as cursor:
        cursor.execute(ALL_SITTINGS, _unzipped(references))
        for place, *row in cursor.fetchall():
            found[place - 1].append(_stored_sitting(row, boundaries[references[place - 1][0]]))
    return found


def _unzipped(references: Sequence[Reference]) -> list[Any]:
    return [uuids([customer_id for customer_id, _ in references]), texts([name for _, name in references])]


def _stored_sitting(row: list[Any], boundaries: Boundaries) -> StoredSitting:
    """A row is id, ordinal, and the folded fields, of which the first are the boundary and the opening.

    When its subscription ends is read anew, and may have changed since the sitting was cut.
    """
    conversation_id, ordinal, boundary_id, opened_at, *rest = row
    idle_timeout, max_age = _timeouts(boundary_id)
    settles_by = boundaries.settles_by(opened_at)
    return StoredSitting(
        conversation_id, ordinal, Sitting(boundary_id, idle_timeout, max_age, settles_by, opened_at, *rest)
    )


@lru_cache(maxsize=1024)
def _timeouts(version_id: uuid.UUID) -> tuple[dt.timedelta, dt.timedelta]:
    """Of a published scheme version, which is frozen and so may be kept."""
    return TierSchemeVersion.objects.values_list("idle_timeout", "max_age").get(pk=version_id)
