"""What does a person do about what is in quarantine? Look at it, replay it with what was missing, or discard it.

An item waits for its customer, or was refused as it is and waits for a person; it ends released or discarded. Bodies
are kept as sent and may hold personal data: they are shown one by one, and discarding can erase them.
"""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from metering.ingest import Verdict
from metering.models import QuarantinedEvent
from metering.releasing import let_in

OPEN = Q(released_at=None, discarded_at=None)
State = Literal["waiting", "refused", "released", "discarded"]
STATES: dict[State, Q] = {
    "waiting": OPEN & Q(refused_at=None),
    "refused": OPEN & Q(refused_at__isnull=False),
    "released": Q(released_at__isnull=False),
    "discarded": Q(discarded_at__isnull=False),
}
"""What has to hold of an item in each state: every item is in one."""


class NotInQuarantine(Exception):
    """No item of the quarantine has this id."""


class AlreadyHandled(Exception):
    """The item was released or discarded; nothing more can be done to it."""


class Replayed(NamedTuple):
    """What became of many items: how many got which verdict, how many are beyond the last one, and which that is."""

    counts: Counter[str]
    left: int
    last: uuid.UUID | None


def state_of(item: QuarantinedEvent) -> State:
    """The only one of STATES that it is in."""
    if item.released_at is not None:
        return "released"
    if item.discarded_at is not None:
        return "discarded"
    return "waiting" if item.refused_at is None else "refused"


def find_items(
    *,
    state: State | None = None,
    reason: str | None = None,
    customer: str | None = None,
    door: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> QuerySet[QuarantinedEvent]:
    """The items that fit all filters given; `since` (included) and `until` (not) bound when they came in."""
    looked_up = {
        "reason": reason,
        "customer_key": customer,
        "door": door,
        "received_at__gte": since,
        "received_at__lt": until,
    }
    items = QuarantinedEvent.objects.filter(**{name: value for name, value in looked_up.items() if value is not None})
    return items if state is None else items.filter(STATES[state])


def count_reasons() -> list[tuple[str, int]]:
    """How many items are open for each reason, most first."""
    counted = QuarantinedEvent.objects.filter(OPEN).values_list("reason").annotate(items=Count("id"))
    return [(reason, items) for reason, items in counted.order_by("-items", "reason")]


def replay(item_id: uuid.UUID, said: Mapping[str, Any], *, by: str, now: dt.datetime) -> Verdict:
    """Send one item through ingest, with what is `said` of it anew (fields of EventIn, as JSON).

    Raises NotInQuarantine, AlreadyHandled. A verdict that is no success leaves the item open.
    """
    with transaction.atomic():
        return let_in([_open_item(item_id)], said, by=by, now=now)[0]


def replay_all(
    items: QuerySet[QuarantinedEvent],
    said: Mapping[str, Any],
    *,
    limit: int,
    after: uuid.UUID | None = None,
    by: str,
    now: dt.datetime,
) -> Replayed:
    """Replay up to `limit` of the open items, oldest first, beginning `after` one of them.

    Whatever stays open is passed over when the next call begins after `last`.
    """
    todo = items.filter(OPEN).defer(None).order_by("id")
    with transaction.atomic():
        ahead = todo if after is None else todo.filter(id__gt=after)
        rows = list(ahead.select_for_update(of=("self",), skip_locked=True)[:limit])
        verdicts = let_in(rows, said, by=by, now=now) if rows else []
        last = rows[-1].id if rows else after
        left = todo.filter(id__gt=last).count() if last else 0
    return Replayed(Counter(verdict.status for verdict in verdicts), left, last)


def discard(
    item_id: uuid.UUID, *, reason: str, erase_body: bool = False, by: str, now: dt.datetime
) -> QuarantinedEvent:
    """Decide that an item is never to be billed. Raises NotInQuarantine, AlreadyHandled."""
    with transaction.atomic():
        item = _open_item(item_id)
        item.discarded_at, item.handled_by, item.handled_note = now, by, reason
        if erase_body:
            item.body = item.event = None
        item.save(update_fields=["discarded_at", "handled_by", "handled_note", "body", "event"])
        return item


def discard_all(items: QuerySet[QuarantinedEvent], *, reason: str, limit: int, by: str, now: dt.datetime) -> int:
    """Discard up to `limit` of the open items, oldest first; returns how many."""
    with transaction.atomic():
        chosen = items.filter(OPEN).order_by("id").select_for_update(of=("self",), skip_locked=True)
        ids = list(chosen.values_list("id", flat=True)[:limit])
        return QuarantinedEvent.objects.filter(id__in=ids).update(discarded_at=now, handled_by=by, handled_note=reason)


def _open_item(item_id: uuid.UUID) -> QuarantinedEvent:
    item = QuarantinedEvent.objects.select_for_update().filter(id=item_id).first()
    if item is None:
        raise NotInQuarantine(f"nothing in quarantine has the id {item_id}")
    if state_of(item) in ("released", "discarded"):
        raise AlreadyHandled(f"it was {state_of(item)} already")
    return item
