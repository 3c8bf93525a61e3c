"""Between storing and folding: events that are stored and wait in the queue, and what they have to become."""

import itertools
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Sum

from metering import event_rows
from metering.catching_up import fold_waiting
from metering.conversation_rows import sittings
from metering.folding import load_boundaries
from metering.ingest import ingest, write
from metering.models import Conversation, Event, UnfoldedEvents
from metering.reports import CloseIn, Report, close_event
from metering.sittings import cut
from metering.unfolded import Entries
from metering.usage_lock import share_usage_lock
from plans.customers import create_customer
from plans.models import Customer
from tests.cast import LATER, NOON, at

_numbers = itertools.count()

IN_ONE_LOOK = """
SELECT (SELECT count(*) FROM metering_event WHERE kind <> 'close'),
    (SELECT coalesce(sum(calls), 0) FROM metering_conversation),
    (SELECT array_agg(entries) FROM metering_unfoldedevents)"""


def new_customer() -> Customer:
    """One whom no other example knows."""
    key = f"customer-{next(_numbers)}"
    return create_customer(key=key, name=key, currency="USD", now=NOON)


def copies(reports: Iterable[Report]) -> list[Report]:
    """The reports as one batch; ingest writes into what it is given."""
    return [
        msgspec.structs.replace(one, index=index, event=msgspec.structs.replace(one.event))
        for index, one in enumerate(reports)
    ]


def store(*reports: Report) -> list[str]:
    """Ingest reports as one batch and leave them to the fold; what became of each."""
    return [verdict.status for verdict in ingest(copies(reports), now=LATER)]


def an_end(hours: float) -> Report:
    """Acme's chat is closed, as a report."""
    sent = CloseIn(customer="acme", conversation="chat", at=at(hours))
    return Report(0, "acme", close_event(sent, now=LATER), byok=False)


def change_stored(customer: Customer, *event_ids: str, **changes: Any) -> None:
    """Correct stored events and leave them to the fold."""
    with transaction.atomic():
        share_usage_lock([customer.id])
        before = event_rows.read_stored(sorted((customer.id, event_id) for event_id in event_ids))
        after = [msgspec.structs.replace(event, corrected=True, **changes) for event in before]
        write([], after, before, now=LATER)


def fold() -> int:
    """Fold what waits; of how many customers that was."""
    return fold_waiting(now=LATER)


def calls_stored_folded_and_waiting() -> tuple[int, int, int]:
    """Seen at one instant."""
    with connection.cursor() as cursor:
        cursor.execute(IN_ONE_LOOK)
        stored, folded, packed = cursor.fetchone()
    waiting = [msgspec.msgpack.decode(bytes(entries), type=Entries) for entries in packed or ()]
    return stored, int(folded), sum(len(entries.calls) for entries in waiting)


def cut_from_scratch(customer: Customer) -> dict[str, list[Any]]:
    """Every reference cut from all its stored events at once; without those that come to nothing."""
    boundaries = load_boundaries([customer.id])[customer.id]
    names = sorted(set(Event.objects.filter(customer=customer).values_list("conversation", flat=True)))
    references = [(customer.id, name) for name in names]
    events = event_rows.of_conversations(references, [at(-99999)] * len(names))
    whole = {name: cut(own, boundaries) for name, own in zip(names, events, strict=True)}
    return {name: sittings for name, sittings in whole.items() if sittings}


def folded(customer: Customer) -> dict[str, list[Any]]:
    """The sittings of every reference as they are stored."""
    names = sorted(set(Conversation.objects.filter(customer=customer).values_list("reference", flat=True)))
    references: list[tuple[uuid.UUID, str]] = [(customer.id, name) for name in names]
    stored = sittings(references, load_boundaries([customer.id]))
    for rows in stored:
        assert [row.ordinal for row in rows] == list(range(1, len(rows) + 1))
    return {name: [row.sitting for row in rows] for name, rows in zip(names, stored, strict=True)}


def assert_all_is_folded_once(customer: Customer) -> None:
    """Nothing of the customer waits, its conversations are those of its stored events, and each call is in one."""
    assert not UnfoldedEvents.objects.filter(customer=customer).exists()
    assert folded(customer) == cut_from_scratch(customer)
    counted = Conversation.objects.filter(customer=customer).aggregate(calls=Sum("calls"))["calls"]
    counting = Event.objects.filter(customer=customer, voided=False).exclude(kind="close")
    assert (counted or 0) == counting.count()
