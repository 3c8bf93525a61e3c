"""How do CloudEvents come in, whose identity is source and id? Under the id alone, each source by itself.

An event of ours is known by customer and id, and ids of calls are unique of themselves: a call told here and by
another door is to be counted once. Where two sources use one id for two calls of a customer, the second is not taken
for a repetition: it is kept in quarantine, which names the source that was first. So that there is a first one, the
requests for a customer take turns.
"""

import datetime as dt
from collections.abc import Sequence

from django.db import transaction

from metering.doors.admitting import DoorSender, admit, name_customer
from metering.doors.cloud_events import read_call
from metering.doors.foreign_calls import ForeignCall
from metering.doors.turns import SOURCES, take_turn
from metering.ingest import Verdict
from metering.models import Event

DOOR = "openmeter"


def receive(events: Sequence[object], *, sender: DoorSender, now: dt.datetime) -> list[Verdict]:
    """Take in CloudEvents; one verdict each, in order. Raises IngestContended."""
    calls = [read_call(event) for event in events]
    for call in calls:
        name_customer(call, sender)
    with transaction.atomic():
        take_turn(SOURCES, {customer for customer, _ in map(_key, calls)})
        first = _sources_of_ids(calls)
        for call in calls:
            feature = call.fields.get("feature")
            if call.id and feature and not call.fault and first.setdefault(_key(call), feature) != feature:
                call.fault = f"id: the source {first[_key(call)]!r} has used it for another event"
        return admit(calls, door=DOOR, sender=sender, now=now)


def _sources_of_ids(calls: Sequence[ForeignCall]) -> dict[tuple[str, str], str]:
    """Which source's event is stored under an id of a customer."""
    keys = {_key(call) for call in calls}
    stored = Event.objects.filter(
        customer__key__in={customer for customer, _ in keys},
        event_id__in={event_id for _, event_id in keys},
        feature__isnull=False,
    )
    found = stored.values_list("customer__key", "event_id", "feature")
    return {(customer, event_id): feature for customer, event_id, feature in found if feature}


def _key(call: ForeignCall) -> tuple[str, str]:
    return call.fields.get("customer", ""), call.id
