"""What has been stored and is not in the conversations yet? A queue of rows, written with the events themselves.

A row holds what the events of one customer in one transaction mean to its conversations: new calls as they fold, and
from which instant on a reference is to be cut anew. Taking rows and folding them is one transaction, so that each is
folded exactly once; what is cut anew is read from the stored events and may be so any number of times.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from api.asking import Question, ask
from api.exchanging import Statement, Step
from api.ids import uuid7s
from metering.packed_arrays import PackedArray, bytestrings, instants, raw_cursor, uuids
from metering.sittings import CLOSE, Call, MeteredEvent

Reference = tuple[uuid.UUID, str]
"""A customer and one of its conversation references."""

LEAVE = """
INSERT INTO metering_unfoldedevents (id, customer_id, received_at, entries)
SELECT * FROM unnest({}::uuid[], {}::uuid[], {}::timestamptz[], {}::bytea[])"""
LEAVING = Statement(LEAVE.format("$1", "$2", "$3", "$4"))
_WAITING = "SELECT customer_id, sum(octet_length(entries)) FROM metering_unfoldedevents {} GROUP BY 1 ORDER BY 1"
WAITING = Question(_WAITING.format(""))
WAITING_AMONG = Question(_WAITING.format("WHERE customer_id = ANY(%(customers)s::uuid[])"))
TAKE = "DELETE FROM metering_unfoldedevents WHERE customer_id = ANY(%s) RETURNING customer_id, entries"


class Entries(msgspec.Struct, array_like=True):
    """What one row holds: calls stored for the first time, and references disturbed from an instant on."""

    calls: list[Call]
    disturbed: dict[str, dt.datetime]


class Unfolded(NamedTuple):
    """What was taken from the queue, by reference."""

    calls: dict[Reference, list[Call]]
    disturbed: dict[Reference, dt.datetime]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entries).decode
_as_call = attrgetter(*Call.__struct_fields__)


def leave(new: Iterable[MeteredEvent], disturbing: Iterable[MeteredEvent], *, now: dt.datetime) -> None:
    """Queue what the fold has to do about `new` events, just stored, and about those `disturbing` a conversation.

    Those are events that have changed, as they were and as they are. A close that is new disturbs too.
    """
    if rows := _rows(new, disturbing, now):
        with raw_cursor() as cursor:
            cursor.execute(LEAVE.format("%s", "%s", "%s", "%s"), rows)


def leaving(new: Iterable[MeteredEvent], *, now: dt.datetime) -> Step:
    """`leave` as a step of an exchange, for one new event at least."""
    return Step(LEAVING, _rows(new, (), now))


def _rows(new: Iterable[MeteredEvent], disturbing: Iterable[MeteredEvent], now: dt.datetime) -> list[PackedArray]:
    """The columns of the rows to be queued; none if there is no row."""
    calls: dict[uuid.UUID, list[Any]] = defaultdict(list)
    disturbed: dict[uuid.UUID, dict[str, dt.datetime]] = defaultdict(dict)
    closes = []
    for event in new:
        if event.kind == CLOSE:
            closes.append(event)
        else:
            calls[event.customer_id].append(_as_call(event))
    for event in (*closes, *disturbing):
        since = disturbed[event.customer_id]
        since[event.conversation] = min(event.occurred_at, since.get(event.conversation, event.occurred_at))
    customers = sorted({*calls, *disturbed})
    if not customers:
        return []
    entries = [_encode((calls.get(customer, ()), disturbed.get(customer, {}))) for customer in customers]
    times = [now] * len(customers)
    return [uuids(uuid7s(len(customers))), uuids(customers), instants(times), bytestrings(entries)]


def waiting_customers(among: Sequence[uuid.UUID] | None = None) -> dict[uuid.UUID, int]:
    """The customers (of those given) with something to fold, and how many bytes of it."""
    rows = ask(WAITING, {}) if among is None else ask(WAITING_AMONG, {"customers": list(among)})
    return {customer_id: int(size) for customer_id, size in rows}


def take(customer_ids: Sequence[uuid.UUID]) -> Unfolded:
    """Take everything that waits of these customers from the queue.

    Everything, because what is cut anew is read from all events stored, and none of them may then be folded again.
    """
    calls: dict[Reference, list[Call]] = defaultdict(list)
    disturbed: dict[Reference, dt.datetime] = {}
    with raw_cursor() as cursor:
        cursor.execute(TAKE, [uuids(customer_ids)])
        for customer_id, packed in cursor:
            entries = _decode(packed)
            for call in entries.calls:
                calls[customer_id, call.conversation].append(call)
            for conversation, since in entries.disturbed.items():
                reference = (customer_id, conversation)
                disturbed[reference] = min(since, disturbed.get(reference, since))
    return Unfolded(calls, disturbed)
