"""How do new and changed events alter the conversations?

Calls that come in order extend the reference's last sitting or open the next one, from counters alone. Whatever
disturbs the past of a reference (a call before its last sitting, a changed or voided event, a close) makes it be cut
anew from its stored events, beginning with the sitting that was disturbed: what lies before that cannot change. Both
ways are the same `cut`. When this is done, and by whom: metering.catching_up.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

from metering import conversation_rows, event_rows
from metering.boundaries import LATEST, Boundaries, Boundary, last_instant_before
from metering.conversation_rows import StoredSitting
from metering.conversation_writes import ConversationWrites
from metering.sittings import Call, Sitting, chronological, cut, reaches_back
from metering.unfolded import Reference
from plans.schemes import scheme_spans


def load_boundaries(customer_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Boundaries]:
    """The boundary rules of these customers; read under the usage lock."""
    own: dict[uuid.UUID, list[Boundary]] = {customer_id: [] for customer_id in customer_ids}
    default: list[Boundary] = []
    for customer_id, starts_at, ends_at, version_id, idle_timeout, max_age, service_ends_at in scheme_spans(own):
        spans = default if customer_id is None else own[customer_id]
        settles_by = last_instant_before(service_ends_at)
        spans.append(Boundary(starts_at, ends_at, version_id, idle_timeout, max_age, settles_by))
    return {customer_id: Boundaries(spans, default) for customer_id, spans in own.items()}


def fold(
    arrived: Mapping[Reference, list[Call]], disturbed: Mapping[Reference, dt.datetime], *, now: dt.datetime
) -> None:
    """Fold stored events into their conversations.

    `arrived` are calls that are in no conversation yet; `disturbed` names references of which something else changed,
    with the earliest instant concerned. The caller sees one state of these customers' events throughout, with which
    both agree: it holds their usage lock alone, or its transaction works on one snapshot.
    """
    references = sorted({*arrived, *disturbed}, key=_in_order)
    if not references:
        return
    boundaries = load_boundaries({customer_id for customer_id, _ in references})
    heads = conversation_rows.heads(references, boundaries)
    writes = ConversationWrites(now)
    to_cut_anew: dict[Reference, dt.datetime] = {}
    for reference, head in zip(references, heads, strict=True):
        calls = sorted(arrived.get(reference, ()), key=chronological)
        since = min(calls[0].occurred_at if calls else LATEST, disturbed.get(reference, LATEST))
        if reference in disturbed or head.closed or _is_past(since, head.last, boundaries[reference[0]]):
            to_cut_anew[reference] = since
        else:
            _extend(reference, calls, head.last, boundaries[reference[0]], writes)
    _cut_anew(to_cut_anew, boundaries, writes)
    writes.flush()


def _in_order(reference: Reference) -> tuple[int, str]:
    return reference[0].int, reference[1]


def _is_past(instant: dt.datetime, last: StoredSitting | None, boundaries: Boundaries) -> bool:
    """Whether an event at this instant disturbs what is before the reference's last sitting, or where that begins.

    Or that sitting itself is of the past: cut before it was said that its subscription ends.
    """
    if last is None:
        return False
    if last.sitting.settles_at > last.sitting.settles_by:
        return True
    if instant >= last.sitting.opened_at:
        return False
    return last.ordinal > 1 or not reaches_back(last.sitting, instant, boundaries)


def _extend(
    reference: Reference,
    calls: list[Call],
    last: StoredSitting | None,
    boundaries: Boundaries,
    writes: ConversationWrites,
) -> None:
    ordinal = last.ordinal if last else 0
    if last and calls[0].occurred_at <= last.sitting.settles_at:
        before = last.sitting.settles_at
        sittings = cut(calls, boundaries, last.sitting)
        if last.sitting.settles_at != before:
            writes.leave(reference, before)
        writes.update(reference, last.id, sittings.pop(0), settled_at=before)
    else:  # the last sitting is over, and stays as it is
        sittings = cut(calls, boundaries)
    for sitting in sittings:
        ordinal += 1
        writes.insert(reference, ordinal, sitting)


def _cut_anew(
    since: Mapping[Reference, dt.datetime], boundaries: Mapping[uuid.UUID, Boundaries], writes: ConversationWrites
) -> None:
    """Cut references from their stored events, each from the sitting that an instant disturbs on."""
    if not since:
        return
    references = list(since)
    stored = [
        _from_the_disturbed(rows, since[reference])
        for reference, rows in zip(references, conversation_rows.sittings(references, boundaries), strict=True)
    ]
    begins = [
        min(since[reference], rows[0].sitting.opened_at) if rows else since[reference]
        for reference, rows in zip(references, stored, strict=True)
    ]
    events = event_rows.of_conversations(references, begins)
    for reference, rows, own_events in zip(references, stored, events, strict=True):
        _replace(reference, rows, cut(own_events, boundaries[reference[0]]), writes)


def _from_the_disturbed(rows: list[StoredSitting], since: dt.datetime) -> list[StoredSitting]:
    """The sitting that holds or precedes the instant, and those after it."""
    first = max((index for index, row in enumerate(rows) if row.sitting.opened_at <= since), default=0)
    return rows[first:]


def _replace(
    reference: Reference, rows: list[StoredSitting], sittings: list[Sitting], writes: ConversationWrites
) -> None:
    first = rows[0].ordinal if rows else 1
    for instant in {row.sitting.settles_at for row in rows} - {sitting.settles_at for sitting in sittings}:
        writes.leave(reference, instant)
    for index, sitting in enumerate(sittings):
        if index >= len(rows):
            writes.insert(reference, first + index, sitting)
        elif sitting != rows[index].sitting:
            before = rows[index].sitting.settles_at
            writes.touch(reference[0], before)
            writes.update(reference, rows[index].id, sitting, settled_at=before)
    for row in rows[len(sittings) :]:
        writes.delete(reference, row)
