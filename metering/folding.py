"""How do new and changed events alter the conversations? Runs inside the ingest transaction.

Events that come in order extend the reference's last sitting or open the next one, from counters alone. Whatever
disturbs the past of a reference (an event before its last sitting, a changed or voided event, a close) makes it be cut
anew from its stored events, beginning with the sitting that was disturbed. Both ways are the same `cut`.

The row of a reference's first sitting is its lock: whoever folds a reference holds it. Who found no such row takes the
reference for new, even if a look later would show one: so two transactions that both open a reference always collide on
the unique (customer, reference, ordinal), and one of them is run again.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping

from metering import conversation_rows, event_rows
from metering.conversation_rows import ConversationWrites, Reference, StoredSitting
from metering.sittings import Boundaries, Boundary, MeteredEvent, chronological, cut
from plans.schemes import scheme_spans


def load_boundaries(customer_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Boundaries]:
    """The boundary rules of these customers; read under the usage lock."""
    own: dict[uuid.UUID, list[Boundary]] = {customer_id: [] for customer_id in customer_ids}
    default: list[Boundary] = []
    for customer_id, starts_at, ends_at, version_id, idle_timeout, max_age in scheme_spans(own):
        spans = default if customer_id is None else own[customer_id]
        spans.append(Boundary(starts_at, ends_at, version_id, idle_timeout, max_age))
    return {customer_id: Boundaries(spans, default) for customer_id, spans in own.items()}


def fold(new: Iterable[MeteredEvent], disturbed: Mapping[Reference, dt.datetime], *, now: dt.datetime) -> None:
    """Fold stored events into their conversations.

    `new` are events just stored for the first time; `disturbed` names references of which something else changed, with
    the earliest instant concerned. The caller holds the customers' usage lock.
    """
    arrived: dict[Reference, list[MeteredEvent]] = defaultdict(list)
    for event in new:
        arrived[event.customer_id, event.conversation].append(event)
    references = sorted({*arrived, *disturbed})
    if not references:
        return
    boundaries = load_boundaries({customer_id for customer_id, _ in references})
    locked = conversation_rows.lock(references)
    last = conversation_rows.last_sittings(sorted(locked))
    closing = conversation_rows.references_with_closes(references)
    writes = ConversationWrites(now)
    for reference in references:
        events = sorted(arrived.get(reference, ()), key=chronological)
        stored = last.get(reference)
        since = min([*(event.occurred_at for event in events[:1]), *_instants(disturbed.get(reference))])
        if reference in disturbed or reference in closing or (stored and since < stored.sitting.opened_at):
            sittings = conversation_rows.sittings(reference) if reference in locked else []
            _cut_anew(reference, since, sittings, boundaries[reference[0]], writes)
        else:
            _extend(reference, events, stored, boundaries[reference[0]], writes)
    writes.flush()


def _instants(instant: dt.datetime | None) -> list[dt.datetime]:
    return [] if instant is None else [instant]


def _extend(
    reference: Reference,
    events: list[MeteredEvent],
    stored: StoredSitting | None,
    boundaries: Boundaries,
    writes: ConversationWrites,
) -> None:
    ordinal = stored.ordinal if stored else 0
    if stored and events[0].occurred_at <= stored.sitting.settles_at:
        writes.touch(reference[0], stored.sitting.settles_at)
        sittings = cut(events, boundaries, stored.sitting)
        writes.update(reference, stored.id, sittings.pop(0))
    else:  # the last sitting is over, and stays as it is
        sittings = cut(events, boundaries)
    for sitting in sittings:
        ordinal += 1
        writes.insert(reference, ordinal, sitting)


def _cut_anew(
    reference: Reference,
    since: dt.datetime,
    stored: list[StoredSitting],
    boundaries: Boundaries,
    writes: ConversationWrites,
) -> None:
    kept = max((index for index, row in enumerate(stored) if row.sitting.opened_at <= since), default=0)
    stored = stored[kept:]
    if stored:
        since = min(since, stored[0].sitting.opened_at)
    sittings = cut(event_rows.of_conversation(*reference, since=since), boundaries)
    first = stored[0].ordinal if stored else 1
    for index, sitting in enumerate(sittings):
        if index >= len(stored):
            writes.insert(reference, first + index, sitting)
        elif sitting != stored[index].sitting:
            writes.touch(reference[0], stored[index].sitting.settles_at)
            writes.update(reference, stored[index].id, sitting)
    for row in stored[len(sittings) :]:
        writes.delete(reference, row)
