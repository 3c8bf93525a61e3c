"""When are stored events in their conversations? A moment later, and at once for whoever is about to look.

Intake leaves what is to be folded in a queue (metering.unfolded). `fold_waiting` empties it, over and over, in a
program of its own; the larger its windows, the less each event costs. Reads, settling and counting do not wait for
it: they `catch_up` with their customers first, so that no answer depends on how far the background has come.

A fold works on one state of a customer's events. By itself it is a REPEATABLE READ transaction: whatever anybody else
changes meanwhile in the rows it writes makes it fail, and start again. Within a transaction that goes on, it takes the
usage lock alone, which nobody who stores events then holds; so does a fold that has lost too often, for among many that
fold the same customer at once one may lose for ever.
"""

import datetime as dt
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from metering.folding import fold
from metering.unfolded import take, waiting_customers
from metering.usage_lock import share_usage_lock, take_usage_lock

logger = logging.getLogger(__name__)

WINDOW_BYTES = 8 * 1024 * 1024
"""Of queued entries in one transaction, some 70,000 calls, unless one customer alone has more."""
ATTEMPTS = 10
ATTEMPTS_BESIDE_OTHERS = 5
"""After which it is tried alone."""
RACES = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation)
LOST = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
"""What the database raises that is not there: through Django, or out of a cursor of the driver itself."""


def fold_waiting(*, now: dt.datetime) -> int:
    """Fold what waits of all customers; returns of how many.

    Whose events cannot be folded keeps nobody else waiting: that is logged, and tried again the next time.
    """
    waiting = waiting_customers()
    if connection.in_atomic_block:
        _fold_in_this_transaction(waiting, now=now)
    else:
        for window in _windows(waiting):
            _fold_whom_one_can(window, now=now)
    return len(waiting)


def catch_up(customer_ids: Iterable[uuid.UUID], *, now: dt.datetime) -> None:
    """Have everything that was stored of these customers by now in their conversations.

    Inside a transaction it holds their usage lock alone from then on, if there is anything to fold.
    """
    waiting = waiting_customers(sorted(set(customer_ids)))
    if connection.in_atomic_block:
        _fold_in_this_transaction(waiting, now=now)
    else:
        for window in _windows(waiting):
            _fold_in_own_transaction(window, now=now)


def _fold_in_this_transaction(waiting: Mapping[uuid.UUID, int], *, now: dt.datetime) -> None:
    if waiting:
        take_usage_lock(*waiting)  # all at once: window by window would be another order than everybody's
    for window in _windows(waiting):
        _fold(window, now=now)


def _fold_whom_one_can(customer_ids: Sequence[uuid.UUID], *, now: dt.datetime) -> None:
    try:
        _fold_in_own_transaction(customer_ids, now=now)
    except LOST:
        raise
    except Exception:
        if len(customer_ids) == 1:
            logger.exception("the events of customer %s cannot be folded", customer_ids[0])
            return
    else:
        return
    for customer_id in customer_ids:
        _fold_whom_one_can([customer_id], now=now)


def _windows(waiting: Mapping[uuid.UUID, int]) -> Iterable[list[uuid.UUID]]:
    """The customers in groups of about WINDOW_BYTES."""
    window: list[uuid.UUID] = []
    size = 0
    for customer_id, waiting_bytes in waiting.items():
        if window and size + waiting_bytes > WINDOW_BYTES:
            yield window
            window, size = [], 0
        window.append(customer_id)
        size += waiting_bytes
    if window:
        yield window


def _fold_in_own_transaction(customer_ids: Sequence[uuid.UUID], *, now: dt.datetime) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                if attempt > ATTEMPTS_BESIDE_OTHERS:
                    take_usage_lock(*customer_ids)
                else:
                    _hold_still_beside_others(customer_ids)
                _fold(customer_ids, now=now)
                return
        except DatabaseError as error:
            if attempt == ATTEMPTS or not isinstance(error.__cause__, RACES):
                raise
        except RACES:  # out of a cursor of the driver itself
            if attempt == ATTEMPTS:
                raise


def _hold_still_beside_others(customer_ids: Sequence[uuid.UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    share_usage_lock(customer_ids)


def _fold(customer_ids: Sequence[uuid.UUID], *, now: dt.datetime) -> None:
    calls, disturbed = take(customer_ids)
    fold(calls, disturbed, now=now)
