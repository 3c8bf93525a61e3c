"""How is a batch of reports stored, each event exactly once?

One transaction: share the customers' usage lock, merge each report with what is stored under its id (or came earlier
in the batch), COPY the new events, overwrite the grown ones, and leave both to be folded into conversations. The first
try assumes that every event is new, which it mostly is; when the unique key says otherwise, the next try reads what
is stored first. A few events of customers we know are sent in one exchange with the database on that first try.
Sorting by key makes overlapping batches queue instead of deadlock. Batches of several senders may be stored together,
which is one commit for all of them.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import msgspec
import psycopg
from django.db import DatabaseError, connection, transaction

from api.metrics import count_unpriced
from api.prepared import NOT_AS_REMEMBERED
from metering import event_rows
from metering.costing import cost_nanos
from metering.merging import merge
from metering.one_exchange import commit_in_one_exchange
from metering.payers import Payer, confirming, find_payers, remembered_payers, share_payers, take_payers
from metering.quarantine import quarantine
from metering.reports import CloseIn, Report, close_event
from metering.sittings import CLOSE, MeteredEvent
from metering.supplier_rates import RateBook, current_book
from metering.unfolded import leave, leaving
from metering.usage_lock import sharing

SHARED_TRIES = 3
ATTEMPTS = 6
"""Tries against concurrent batches of the same ids before a caller is asked to come again. After the first few a batch
takes the usage lock alone: then nobody is left who could get in between looking and storing."""

MOST_AT_ONCE = 200
"""Up to so many events are sent to the database in one exchange; with more, what that spares is lost in the rest."""

NOT_AT_ONCE = (
    psycopg.errors.RaiseException,  # a customer is not as we remember it
    *NOT_AS_REMEMBERED,
)

EVENTS = "events"
"""The door of `POST /v1/events`; the others have names of their own."""
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


def ingest(reports: Sequence[Report], *, now: dt.datetime, door: str = EVENTS) -> list[Verdict]:
    """Store reports that came in by a door; one verdict each, in the order of their index.

    Outside an enclosing transaction it returns after the commit. Raises IngestContended, then nothing is stored.
    """
    return ingest_together([reports], now=now, door=door)[0]


def ingest_together(
    batches: Sequence[Sequence[Report]], *, now: dt.datetime, look_first: bool = False, door: str = EVENTS
) -> list[list[Verdict]]:
    """Store several batches in one transaction; the verdicts of each, as `ingest` gives them.

    `look_first` spares the try that assumes that every event is new, where some are known not to be.
    """
    if not any(batches):
        return [[] for _ in batches]
    if not look_first and sum(map(len, batches)) <= MOST_AT_ONCE and not connection.in_atomic_block:
        verdicts = _ingest_at_once(batches, now)
        if verdicts is not None:
            return verdicts
        look_first = True  # the likeliest reason is that some of it is stored already
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic():
                return _ingest_once(
                    batches, now, door, look_first=look_first or attempt > 0, alone=attempt >= SHARED_TRIES
                )
        except (DatabaseError, psycopg.Error) as error:
            if not _lost_a_race(error):
                raise
    raise IngestContended(f"gave up after {ATTEMPTS} tries against concurrent batches")


def close_conversation(report: CloseIn, *, now: dt.datetime) -> Verdict:
    """Store an explicit end of a conversation. Raises UnknownCustomer and IngestContended."""
    if report.customer not in find_payers([report.customer]):
        raise UnknownCustomer(report.customer)
    return ingest([Report(0, report.customer, close_event(report, now=now), byok=False)], now=now)[0]


def _lost_a_race(error: BaseException) -> bool:
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return isinstance(
        cause, (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    )


def _ingest_at_once(batches: Sequence[Sequence[Report]], now: dt.datetime) -> list[list[Verdict]] | None:
    """Store what is as it mostly is, all of it new and of customers we know; None if it is not, and nothing is stored.

    The same transaction as `_ingest_once`, sent whole; the database confirms what is assumed, or refuses.
    """
    keys = {report.customer for reports in batches for report in reports}
    payers = remembered_payers(keys)
    if payers is None:
        return None
    current: dict[Key, MeteredEvent] = {}
    verdicts = [[judge(report, payers, current) for report in reports] for reports in batches]
    new = _in_key_order(current)
    _set_costs(new)
    customer_ids = [payer.id for payer in payers.values()]
    try:
        commit_in_one_exchange(
            [sharing(customer_ids), confirming(payers), event_rows.inserting(new), leaving(new, now=now)]
        )
    except DatabaseError as error:
        if isinstance(error.__cause__, NOT_AT_ONCE) or _lost_a_race(error):
            return None
        raise
    count_unpriced(_unpriced(new))
    return verdicts


def _ingest_once(
    batches: Sequence[Sequence[Report]], now: dt.datetime, door: str, *, look_first: bool, alone: bool
) -> list[list[Verdict]]:
    keys = {report.customer for reports in batches for report in reports}
    payers = take_payers(keys) if alone else share_payers(keys)
    if len(payers) < len(keys):
        _quarantine_strangers(batches, payers, door, now)
    return _store(batches, payers, now, look_first=look_first)


def _quarantine_strangers(
    batches: Sequence[Sequence[Report]], payers: Mapping[str, Payer], door: str, now: dt.datetime
) -> None:
    strangers = [report for reports in batches for report in reports if report.customer not in payers]
    if gone := next((report for report in strangers if report.sent is None), None):
        raise UnknownCustomer(gone.customer)  # a close, of a customer erased since: there is no body to keep
    quarantine(strangers, reason=UNKNOWN, now=now, door=door)


def _store(
    batches: Sequence[Sequence[Report]], payers: Mapping[str, Payer], now: dt.datetime, *, look_first: bool
) -> list[list[Verdict]]:
    """Merge reports with what is stored and with each other, and write the outcome.

    Keys are of the customer's own key, not its id: strings compare and hash much faster.
    """
    stored: dict[Key, MeteredEvent] = {}
    if look_first:
        sent = {(report.customer, report.event.event_id) for reports in batches for report in reports}
        stored = _stored((key for key in sent if key[0] in payers), payers)
    current = dict(stored)
    verdicts = [[judge(report, payers, current) for report in reports] for reports in batches]
    new = _in_key_order({key: event for key, event in current.items() if key not in stored})
    grown = [key for key, event in stored.items() if current[key] is not event]
    write(new, [current[key] for key in grown], [stored[key] for key in grown], now=now)
    return verdicts


def _in_key_order(events: Mapping[Key, MeteredEvent]) -> list[MeteredEvent]:
    return [events[key] for key in sorted(events)]


def judge(report: Report, payers: Mapping[str, Payer], current: dict[Key, MeteredEvent]) -> Verdict:
    """What becomes of one report; `current` is what is known of the events so far, and changes with it."""
    event = report.event
    payer = payers.get(report.customer)
    if payer is None:
        return Verdict(
            report.index, event.event_id, QUARANTINED, "unknown customer", f"/events/{report.index}/customer"
        )
    event.customer_id = payer.id
    event.byok = payer.byok if report.byok is None else report.byok
    key = (report.customer, event.event_id)
    known = current.get(key)
    if known is None:
        current[key] = event
        return Verdict(report.index, event.event_id, "accepted")
    merged = merge(known, event)
    if merged.changed:
        current[key] = merged.event
    return Verdict(report.index, event.event_id, merged.status, merged.detail)


def _stored(keys: Iterable[Key], payers: Mapping[str, Payer]) -> dict[Key, MeteredEvent]:
    """The events stored under these keys, locked."""
    named = {payer.id: key for key, payer in payers.items()}
    events = event_rows.read_stored([(payers[customer].id, event_id) for customer, event_id in keys])
    return {(named[event.customer_id], event.event_id): event for event in events}


def write(
    new: Sequence[MeteredEvent],
    changed: Sequence[MeteredEvent],
    before: Sequence[MeteredEvent],
    *,
    removed: Sequence[MeteredEvent] = (),
    now: dt.datetime,
) -> None:
    """Cost and store events in key order and leave them to the fold; `before` is what `changed` was.

    `removed` are events that are no longer stored. For whoever holds the customers' usage lock and the locks of the
    changed events.
    """
    _set_costs(new)
    _set_costs(changed)
    if new:
        event_rows.insert(new)
    if changed:
        event_rows.update(changed)
    leave(new, (*changed, *before, *removed), now=now)
    if unpriced := _unpriced(new):
        transaction.on_commit(partial(count_unpriced, unpriced), robust=True)  # a try that loses a race stores nothing


def _set_costs(events: Sequence[MeteredEvent]) -> None:
    book = current_book()
    for event in events:
        set_cost(event, book)


def _unpriced(new: Sequence[MeteredEvent]) -> int:
    return sum(event.cost_nanos is None for event in new)


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
