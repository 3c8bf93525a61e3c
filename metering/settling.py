"""When is a conversation's tier fixed? At its settling instant, by one statement that joins the tier rows.

The statement (its rules are in metering.tier_rules) computes from the row it updates, so a conversation that a
concurrent ingest has just extended is judged, or left open, as it then is. A sweep settles in batches of rows, in the
order in which they are stored, so that each transaction is short, however much one customer has, and each page of the
table is written once; batches are settled two at a time.
"""

import datetime as dt
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, NamedTuple

import psycopg
from django.db import OperationalError, connection, transaction

from metering.catching_up import fold_waiting
from metering.doors.traces import release_waiting
from metering.recutting import recut_changed_schemes
from metering.releasing import release_quarantined
from metering.tallies import forget_settled
from metering.tier_rules import IN_FORCE, RULES, TIER, TOKENS, TURNS
from metering.usage_lock import share_usage_lock

BATCH = 30_000
"""Rows settled in one transaction, a few tenths of a second: who has to count a customer's usage waits no longer."""
AT_ONCE = 2
"""Batches being settled: one keeps a processor of the database busy."""
ATTEMPTS = 5

# Ids travel as text, as they are: a million objects would cost more than the batches.
DUE = """
SELECT array_agg(DISTINCT customer_id), array_agg(id)::text FROM (
    SELECT customer_id, id, (row_number() OVER () - 1) / %s AS batch
    FROM metering_conversation WHERE settled_at IS NULL AND settles_at <= %s) due
GROUP BY batch ORDER BY batch"""
OF_THE_BATCH = "c.id = ANY(%(ids)s::uuid[])"
OF_THE_CUSTOMERS = "c.customer_id = ANY(%(customers)s::uuid[])"
CLASSIFY_OPEN = f"""
SELECT c.customer_id, c.id, c.settles_at, c.outcome, v.id AS version_id, {TIER} AS tier, {TURNS} AS turns,
    {TOKENS} AS tokens
FROM metering_conversation c, rule, version v
WHERE c.customer_id = ANY(%(customers)s::uuid[]) AND c.settled_at IS NULL AND v.id = rule.version_id AND {IN_FORCE}"""
"""The open conversations of customers with the tier they would settle in now; after `WITH {RULES}`."""


class Batch(NamedTuple):
    """Conversations to settle in one transaction (an array of ids as text), and their customers."""

    customer_ids: list[uuid.UUID]
    ids: str


def settle(*, as_of: dt.datetime, now: dt.datetime, progress: Callable[[int], object] = lambda settled: None) -> int:
    """Settle every conversation that is due at `as_of`, of all customers; returns how many.

    First lets in calls that have waited long enough for their trace, and quarantined events whose customer exists by
    now, folds what waits, and cuts anew what another scheme rules by now. `progress` is called with the number settled
    in each step. Stopped at any moment, it has settled whole batches, and the next run goes on.
    """
    release_waiting(now=now)
    release_quarantined(now=now)
    fold_waiting(now=now)
    recut_changed_schemes(now=now)
    settled = 0
    for step in _each_settled(_due(as_of), as_of):
        settled += step
        progress(step)
    return settled


def settle_customers(customer_ids: Sequence[uuid.UUID], *, as_of: dt.datetime) -> int:
    """Settle all that is due of these customers, in one transaction (tried again when it deadlocks with an ingest)."""
    return _settle(OF_THE_CUSTOMERS, list(customer_ids), {"as_of": as_of})


def _due(as_of: dt.datetime) -> Iterator[Batch]:
    """What is due, read through a cursor of the database, which outlives the transactions that settle it."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(DUE, [BATCH, as_of])
        while row := cursor.fetchone():
            yield Batch(*row)


def _each_settled(batches: Iterator[Batch], as_of: dt.datetime) -> Iterator[int]:
    """Settle batches, each by the next of AT_ONCE connections; how many rows that were.

    Within a transaction of the caller, whose rows no other connection sees, all is done in that.
    """
    first_two = list(islice(batches, 2))
    if len(first_two) < 2 or connection.in_atomic_block:
        for batch in chain(first_two, batches):
            yield _settle_batch(batch, as_of)
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="settling") as pool:
        running: deque[Future[int]] = deque()
        for batch in chain(first_two, batches):
            running.append(pool.submit(_settle_batch_apart, batch, as_of))
            if len(running) > AT_ONCE:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _settle_batch_apart(batch: Batch, as_of: dt.datetime) -> int:
    """On the connection of a thread; closed at once, since nobody does it when the thread ends."""
    try:
        return _settle_batch(batch, as_of)
    finally:
        connection.close()


def _settle_batch(batch: Batch, as_of: dt.datetime) -> int:
    return _settle(OF_THE_BATCH, batch.customer_ids, {"ids": batch.ids, "as_of": as_of})


def _settle(rows: str, customer_ids: list[uuid.UUID], params: dict[str, Any], attempts: int = ATTEMPTS) -> int:
    """The shared usage lock makes a recut wait: a statement that began before the scheme changed would otherwise put
    the rows that were just recut into tiers of the old one.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            share_usage_lock(customer_ids)
            forget_settled(rows, customer_ids, params)
            cursor.execute(_settling(rows), {**params, "customers": customer_ids})
            return int(cursor.rowcount)
    except OperationalError as error:
        if attempts == 1 or not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
            raise
    return _settle(rows, customer_ids, params, attempts - 1)


def _settling(rows: str) -> str:
    """The statement that settles what is due of some rows `c`.

    Which those are and what rules them is looked up first, row by row: joined straight to the rules of its customers,
    the table would be searched for all that each of them ever had open.
    """
    return f"""
        WITH {RULES},
        due AS MATERIALIZED (
            SELECT c.customer_id, c.id, c.settles_at FROM metering_conversation c
            WHERE {rows} AND c.settled_at IS NULL AND c.settles_at <= %(as_of)s
        ),
        ruled AS MATERIALIZED (
            SELECT c.customer_id, c.id, rule.version_id, rule.starts_at, rule.ends_at
            FROM due c JOIN rule ON {IN_FORCE}
        )
        UPDATE metering_conversation c
        SET settled_at = c.settles_at, scheme_version_id = v.id, tier = {TIER}, turns = {TURNS},
            counted_tokens = {TOKENS}
        FROM ruled rule, version v
        WHERE c.id = rule.id AND v.id = rule.version_id
            AND c.settled_at IS NULL AND c.settles_at <= %(as_of)s AND {IN_FORCE}"""
