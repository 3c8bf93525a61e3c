"""When is a conversation's tier fixed? At its settling instant, by one statement that joins the tier rows.

The statement (its rules are in metering.tier_rules) computes from the row it updates, and leaves a row alone that a
concurrent ingest has just changed: that is looked at again, and judged, or left open, as it then is. A sweep settles in
batches of rows, in the order in which they are stored, so that each transaction is short, however much one customer
has, and each page of the table is written once; batches are settled two at a time.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import psycopg
from django.db import OperationalError, connection, transaction

from metering.catching_up import fold_waiting
from metering.doors.traces import release_waiting
from metering.packed_arrays import raw_cursor, uuids
from metering.recutting import recut_changed_schemes
from metering.releasing import release_quarantined
from metering.tallies import forget_settled
from metering.tier_rules import OWN, RULES, RULING, TIER, TOKENS, TURNS
from metering.two_at_a_time import each_done
from metering.usage_lock import share_usage_lock

BATCH = 30_000
"""Rows settled in one transaction, a few tenths of a second: who has to count a customer's usage waits no longer."""
ATTEMPTS = 5

Result = TypeVar("Result")

DUE = "c.settled_at IS NULL AND c.settles_at <= %(as_of)s"
ALL_DUE = f"SELECT c.ctid, c.customer_id::text FROM metering_conversation c WHERE {DUE}"
OF_THE_BATCH = "c.ctid = ANY(%(places)s::tid[])"
OF_THE_CUSTOMERS = "true"
"""Of rows `c` that are due and of the customers who are locked."""
CLASSIFY_OPEN = f"""
SELECT c.customer_id, c.id, c.settles_at, c.outcome, v.id AS version_id, {TIER} AS tier, {TURNS} AS turns,
    {TOKENS} AS tokens
FROM metering_conversation c {OWN} JOIN version v ON v.id = {RULING}
WHERE c.customer_id = ANY(%(customers)s::uuid[]) AND c.settled_at IS NULL"""
"""The open conversations of customers with the tier they would settle in now; after `WITH {RULES}`."""


class Batch(NamedTuple):
    """Where rows that are due are stored, and whose they are; as text, which costs less than a million objects."""

    places: list[str]
    customer_ids: set[str]


class Settled(NamedTuple):
    """How many conversations were found due, how many of them no version rules, and how many were settled."""

    found: int
    unruled: int
    settled: int

    @property
    def missed(self) -> int:
        """Those that changed while we were coming to them."""
        return self.found - self.unruled - self.settled


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
    settled, missed = 0, True
    while missed:
        missed = False
        for step in each_done(partial(_settle_batch, as_of), _due(as_of)):
            settled += step.settled
            missed |= step.missed > 0
            progress(step.settled)
    return settled


def settle_customers(customer_ids: Sequence[uuid.UUID], *, as_of: dt.datetime) -> int:
    """Settle all that is due of these customers, in one transaction (tried again when it deadlocks with an ingest)."""
    return _retried(lambda: _settle_customers(list(customer_ids), as_of))


def _due(as_of: dt.datetime) -> Iterator[Batch]:
    """What is due, batch by batch as it is stored; from a cursor of the database, which outlives their transactions."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(ALL_DUE, {"as_of": as_of})
        while rows := cursor.fetchmany(BATCH):
            yield Batch([place for place, _ in rows], {customer_id for _, customer_id in rows})


def _settle_batch(as_of: dt.datetime, batch: Batch) -> Settled:
    customer_ids = list(map(uuid.UUID, batch.customer_ids))
    # An array as PostgreSQL writes it: a place is "(page,line)".
    places = '{"' + '","'.join(batch.places) + '"}'
    return _retried(lambda: _settle_places(places, customer_ids, as_of))._replace(found=len(batch.places))


def _settle_places(places: str, customer_ids: list[uuid.UUID], as_of: dt.datetime) -> Settled:
    with transaction.atomic():
        share_usage_lock(customer_ids)
        return _settle(OF_THE_BATCH, customer_ids, as_of, places=places)


def _settle_customers(customer_ids: list[uuid.UUID], as_of: dt.datetime) -> int:
    settled, missed = 0, True
    with transaction.atomic():
        share_usage_lock(customer_ids)
        while missed:
            step = _settle(OF_THE_CUSTOMERS, customer_ids, as_of)
            settled += step.settled
            missed = step.missed > 0
    return settled


def _settle(rows: str, customer_ids: list[uuid.UUID], as_of: dt.datetime, **of_the_rows: str) -> Settled:
    """Settle what is due of some rows `c` and of customers whose usage lock is held, shared.

    The lock makes a recut wait: a statement that began before the scheme changed would otherwise put the rows that were
    just recut into tiers of the old one. And it keeps tallies from being written meanwhile.
    """
    params = {"customers": uuids(customer_ids), "as_of": as_of, **of_the_rows}
    forget_settled(rows, customer_ids, params)
    with raw_cursor() as cursor:
        cursor.execute(_settling(rows), params)
        counted = cursor.fetchone()
        assert counted is not None
        return Settled(*counted)


def _settling(rows: str) -> str:
    """The statement that settles what is due of some rows `c`, and says how many it found and settled.

    What rules them is looked up first, row by row: joined straight to the rules of its customers, the table would be
    searched for all that each of them ever had open. A row that has changed since is in another place.
    """
    return f"""
        WITH {RULES},
        ruled AS MATERIALIZED (
            SELECT c.ctid AS place, c.settles_at, {RULING} AS version_id
            FROM metering_conversation c {OWN}
            WHERE {rows} AND c.customer_id = ANY(%(customers)s::uuid[]) AND {DUE}
        ),
        settled AS (
            UPDATE metering_conversation c
            SET settled_at = c.settles_at, scheme_version_id = v.id, tier = {TIER}, turns = {TURNS},
                counted_tokens = {TOKENS}
            FROM ruled, version v
            WHERE c.ctid = ruled.place AND v.id = ruled.version_id
                AND c.settled_at IS NULL AND c.settles_at = ruled.settles_at
            RETURNING 1
        )
        SELECT count(*), count(*) - count(version_id), (SELECT count(*) FROM settled) FROM ruled"""


def _retried(settling: Callable[[], Result]) -> Result:
    """What it returns, in the end: a transaction that deadlocks with an ingest is tried again."""
    for _ in range(ATTEMPTS - 1):
        try:
            return settling()
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                raise
        except psycopg.errors.DeadlockDetected:  # out of a cursor of the driver itself
            pass
    return settling()
