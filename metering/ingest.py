"""How is a batch of reports stored, each event exactly once?

One transaction a batch: share the customers' usage lock, merge each report with what is stored under its id (or came
earlier in the batch), COPY the new events, overwrite the grown ones, fold both into conversations. The first try
assumes that every event is new, which it mostly is; when the unique key says otherwise, the next try reads what is
stored first. Sorting by key makes overlapping batches queue instead of deadlock.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
import psycopg
from django.db import DatabaseError, transaction

from metering import event_rows
from metering.conversation_rows import Reference
from metering.costing import cost_nanos
from metering.folding import fold
from metering.merging import merge
from metering.quarantine import quarantine
from metering.reports import CloseIn, Report, close_event
from metering.sittings import CLOSE, MeteredEvent
from metering.supplier_rates import RateBook, current_book
from metering.usage_lock import share_usage_lock, take_usage_lock
from plans.models import Customer

SHARED_TRIES = 3
ATTEMPTS = 6
"""Tries against concurrent batches of the same ids before a caller is asked to come again. After the first few a batch
takes the usage lock alone: then nobody is left who could get in between looking and storing."""

UNKNOWN = "unknown customer"
QUARANTINED = "quarantined"
"""The status of a report whose customer does not exist yet."""

Key = tuple[str, str]
"""A customer's key and an event id."""


class IngestContended(Exception):
    """Concurrent batches kept changing the same events; nothing of this one was stored."""


class UnknownCustomer(Exception):
    """No customer has this key."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What became of one report: accepted, duplicate, updated, conflict, quarantined or rejected, and why.

    `pointer` is the JSON pointer of what is wrong, where something is.
    """

    index: int
    id: str
    status: str
    detail: str = ""
    pointer: str | msgspec.UnsetType = msgspec.UNSET


class Payer(NamedTuple):
    """The customer an event belongs to."""

    id: uuid.UUID
    byok: bool


def ingest(reports: Sequence[Report], *, now: dt.datetime) -> list[Verdict]:
    """Store reports and fold them; one verdict each, in the order of their index.

    Outside an enclosing transaction it returns after the commit. Raises IngestContended, then nothing is stored.
    """
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic():
                return _ingest_once(reports, now, look_first=attempt > 0, alone=attempt >= SHARED_TRIES)
        except (DatabaseError, psycopg.Error) as error:
            if not _lost_a_race(error):
                raise
    raise IngestContended(f"gave up after {ATTEMPTS} tries against concurrent batches")


def close_conversation(report: CloseIn, *, now: dt.datetime) -> Verdict:
    """Store an explicit end of a conversation. Raises UnknownCustomer and IngestContended."""
    if report.customer not in find_payers([report.customer]):
        raise UnknownCustomer(report.customer)
    return ingest([Report(0, report.customer, close_event(report, now=now), byok=False)], now=now)[0]


def find_payers(keys: Iterable[str]) -> dict[str, Payer]:
    """The customers among these keys."""
    rows = Customer.objects.filter(key__in=set(keys), erased_at=None).values_list("key", "id", "byok")
    return {key: Payer(customer_id, byok) for key, customer_id, byok in rows}


def _lost_a_race(error: BaseException) -> bool:
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return isinstance(
        cause, (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    )


def _ingest_once(reports: Sequence[Report], now: dt.datetime, *, look_first: bool, alone: bool) -> list[Verdict]:
    payers = find_payers(report.customer for report in reports)
    customer_ids = [payer.id for payer in payers.values()]
    if alone:
        take_usage_lock(*customer_ids)
    else:
        share_usage_lock(customer_ids)
    known = [report for report in reports if report.customer in payers]
    strangers = [report for report in reports if report.customer not in payers]
    if gone := next((report for report in strangers if report.sent is None), None):
        raise UnknownCustomer(gone.customer)  # a close, of a customer erased since: there is no body to keep
    quarantine(strangers, reason=UNKNOWN, now=now)
    verdicts = [
        Verdict(r.index, r.event.event_id, QUARANTINED, "unknown customer", f"/events/{r.index}/customer")
        for r in strangers
    ]
    for report in known:
        payer = payers[report.customer]
        report.event.customer_id = payer.id
        report.event.byok = payer.byok if report.byok is None else report.byok
    verdicts += _store(known, payers, now, look_first=look_first)
    return sorted(verdicts, key=lambda verdict: verdict.index)


def _store(
    reports: Sequence[Report], payers: Mapping[str, Payer], now: dt.datetime, *, look_first: bool
) -> list[Verdict]:
    """Merge reports with what is stored and with each other, and write the outcome.

    Keys are of the customer's own key, not its id: strings compare and hash much faster.
    """
    keys = [(report.customer, report.event.event_id) for report in reports]
    stored = _stored(set(keys), payers) if look_first else {}
    current = dict(stored)
    verdicts = []
    for key, report in zip(keys, reports, strict=True):
        known = current.get(key)
        if known is None:
            current[key] = report.event
            verdicts.append(Verdict(report.index, key[1], "accepted"))
            continue
        merged = merge(known, report.event)
        if merged.changed:
            current[key] = merged.event
        verdicts.append(Verdict(report.index, key[1], merged.status, merged.detail))
    new = [event for key, event in sorted(current.items(), key=itemgetter(0)) if key not in stored]
    grown = [key for key, event in stored.items() if current[key] is not event]
    write(new, [current[key] for key in grown], [stored[key] for key in grown], now=now)
    return verdicts


def _stored(keys: Iterable[Key], payers: Mapping[str, Payer]) -> dict[Key, MeteredEvent]:
    """The events stored under these keys, locked."""
    named = {payer.id: key for key, payer in payers.items()}
    events = event_rows.read_stored([(payers[customer].id, event_id) for customer, event_id in keys])
    return {(named[event.customer_id], event.event_id): event for event in events}


def write(
    new: Sequence[MeteredEvent], changed: Sequence[MeteredEvent], before: Sequence[MeteredEvent], *, now: dt.datetime
) -> None:
    """Cost and store events in key order and fold them; `before` is what `changed` was.

    For whoever holds the customers' usage lock and the locks of the changed events.
    """
    book = current_book()
    for event in (*new, *changed):
        set_cost(event, book)
    if new:
        event_rows.insert(new)
    if changed:
        event_rows.update(changed)
    closes = [event for event in new if event.kind == CLOSE]
    disturbed: dict[Reference, dt.datetime] = {}
    for event in (*changed, *before, *closes):
        reference = (event.customer_id, event.conversation)
        disturbed[reference] = min(event.occurred_at, disturbed.get(reference, event.occurred_at))
    calls = (event for event in new if event.kind != CLOSE)
    fold(calls, disturbed, closed=((event.customer_id, event.conversation) for event in closes), now=now)


def set_cost(event: MeteredEvent, book: RateBook) -> None:
    """Cost an event at the supplier rate of its instant; without one it is unpriced (NULL), not free."""
    context = event.input_tokens + event.cache_read_tokens + event.cache_write_tokens
    rate = None if event.kind == CLOSE else book.find(event.provider, event.model, event.occurred_at, context)
    if rate is None:
        event.rate_id, event.cost_nanos = None, 0 if event.kind == CLOSE else None
        return
    event.rate_id = rate.id
    event.cost_nanos = cost_nanos(
        rate, event.input_tokens, event.cache_read_tokens, event.cache_write_tokens, event.output_tokens
    )
