"""How do counting and ingestion of one customer's usage stay out of each other's way?

Every transaction that changes a customer's events or conversations holds the customer's usage lock shared; whoever
counts usage (or cuts all of it anew) takes it alone. So a count sees whole ingest transactions or nothing of them,
and whatever commits after it knows that it came late. Advisory, transaction-long, and taken in one order: what is
agreed (the customer's row, its schedule), which no ingest locks, then the usage lock, then events, what waits to be
folded, conversations, invoices, ledger accounts, and the invoice number last. Turns at a front door
(metering.doors.turns) come before all of these.
"""

import uuid
from collections.abc import Iterable

from django.db import connection

from api.exchanging import Statement, Step
from metering.packed_arrays import int4s

LOCK_SPACE = 7041
"""First half of the advisory lock keys used here; the second half is a slot."""
SLOTS = 256
"""Customers share slots, so that a batch of a thousand customers does not fill the server's lock table: waiting now and
then for a stranger's count costs milliseconds, a full lock table stops everybody."""

_SHARE = "pg_advisory_xact_lock_shared"
LOCK = f"SELECT {{}}({LOCK_SPACE}, slot) FROM unnest({{}}::int[]) slot"
SHARING = Statement(LOCK.format(_SHARE, "$1"))


def share_usage_lock(customer_ids: Iterable[uuid.UUID]) -> None:
    """Hold, until the transaction ends, off anybody who wants to count these customers' usage."""
    _lock(_SHARE, customer_ids)


def sharing(customer_ids: Iterable[uuid.UUID]) -> Step:
    """`share_usage_lock` as a step of an exchange."""
    return Step(SHARING, [int4s(_slots(customer_ids))])


def take_usage_lock(*customer_ids: uuid.UUID) -> None:
    """Wait for the transactions that change these customers' usage, and keep new ones out until this one ends."""
    _lock("pg_advisory_xact_lock", customer_ids)


def slot_of(customer_id: uuid.UUID) -> int:
    """Which of the locks is the customer's."""
    return customer_id.int % SLOTS


def _lock(function: str, customer_ids: Iterable[uuid.UUID]) -> None:
    """Lock in one order, so that those who take several wait for each other in turn."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK.format(function, "%s"), [_slots(customer_ids)])


def _slots(customer_ids: Iterable[uuid.UUID]) -> list[int]:
    return sorted({slot_of(customer_id) for customer_id in customer_ids})
