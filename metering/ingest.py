"""How is a batch of reports stored, each event exactly once?

One transaction a batch: share the customers' usage lock, merge each report with what is stored under its id (or came
earlier in the batch), COPY the new events, overwrite the grown ones, fold both into conversations. The first try
assumes that every event is new, which it mostly is; when the unique key says otherwise, the next try reads what is
stored first. Sorting by key makes overlapping batches queue instead of deadlock.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import psycopg
from django.db import DatabaseError, transaction

from metering import event_rows
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

QUARANTINED = "quarantined"
"""The status of a report whose customer does not exist yet."""

Key = tuple[uuid.UUID, str]


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
    # A close goes alone too. It may come together with the first event of its conversation; neither would see the other
    # before it commits, and there is no conversation row yet on which they would meet.
    if alone or any(report.event.kind == CLOSE for report in reports):
        take_usage_lock(*customer_ids)
    else:
        share_usage_lock(customer_ids)
    known = [report for report in reports if report.customer in payers]
    strangers = [report for report in reports if report.customer not in payers]
    if gone := next((report for report in strangers if report.sent is None), None):
        raise UnknownCustomer(gone.customer)  # a close, of a customer erased since: there is no body to keep
    quarantine(strangers, reason="unknown customer", now=now)
    verdicts = [Verdict(r.index, r.event.event_id, QUARANTINED, "unknown customer", "/customer") for r in strangers]
    for report in known:
        payer = payers[report.customer]
        report.event.customer_id = payer.id
        report.event.byok = payer.byok if report.byok is None else report.byok
    verdicts += _store(known, now, look_first=look_first)
    return sorted(verdicts, key=lambda verdict: verdict.index)


def _store(reports: Sequence[Report], now: dt.datetime, *, look_first: bool) -> list[Verdict]:
    keys = sorted({(report.event.customer_id, report.event.event_id) for report in reports})
    stored = {_key(event): event for event in event_rows.read_stored(keys)} if look_first else {}
    current = dict(stored)
    verdicts = []
    for report in reports:
        key = _key(report.event)
        if key not in current:
            current[key] = report.event
            verdicts.append(Verdict(report.index, key[1], "accepted"))
            continue
        merged = merge(current[key], report.event)
        if merged.changed:
            current[key] = merged.event
        verdicts.append(Verdict(report.index, key[1], merged.status, merged.detail))
    new = [current[key] for key in keys if key not in stored]
    grown = [current[key] for key in keys if key in stored and current[key] is not stored[key]]
    write(new, grown, [stored[_key(event)] for event in grown], now=now)
    return verdicts


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
    disturbed: dict[tuple[uuid.UUID, str], dt.datetime] = {}
    for event in (*changed, *before, *(event for event in new if event.kind == CLOSE)):
        reference = (event.customer_id, event.conversation)
        disturbed[reference] = min(event.occurred_at, disturbed.get(reference, event.occurred_at))
    fold((event for event in new if event.kind != CLOSE), disturbed, now=now)


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


def _key(event: MeteredEvent) -> Key:
    return event.customer_id, event.event_id
