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
from typing import Any, NamedTuple, TypeVar

import psycopg
from django.db import OperationalError, connection, transaction

from metering.catching_up import fold_waiting
from metering.doors.traces import release_waiting
from metering.recutting import recut_changed_schemes
from metering.releasing import release_quarantined
from metering.tallies import WATCHED, forget_settled
from metering.tier_rules import OWN, RULES, RULING, TIER, TOKENS, TURNS
from metering.two_at_a_time import each_done
from metering.usage_lock import SHARE_IN_ORDER, share_usage_lock

BATCH = 30_000
"""Rows settled in one transaction, a few tenths of a second: who has to count a customer's usage waits no longer."""
ATTEMPTS = 5

Result = TypeVar("Result")

DUE = "c.settled_at IS NULL AND c.settles_at <= %(as_of)s"
ALL_DUE = f"SELECT c.ctid FROM metering_conversation c WHERE {DUE}"
OF_THE_BATCH = "c.ctid = ANY(%(places)s::tid[])"
OF_THE_CUSTOMERS = "true"
"""Of rows `c` that are due and of the customers who are locked."""
# As text, as it is: a million objects would cost as much as the batches.
SHARE_BATCH = f"""
SELECT array_agg(id)::text FROM ({
    SHARE_IN_ORDER.format(
        f"SELECT DISTINCT c.customer_id AS id FROM metering_conversation c WHERE {OF_THE_BATCH} AND {DUE}"
    )
}) customer"""
CLASSIFY_OPEN = f"""
SELECT c.customer_id, c.id, c.settles_at, c.outcome, v.id AS version_id, {TIER} AS tier, {TURNS} AS turns,
    {TOKENS} AS tokens
FROM metering_conversation c {OWN} JOIN version v ON v.id = {RULING}
WHERE c.customer_id = ANY(%(customers)s::uuid[]) AND c.settled_at IS NULL"""
"""The open conversations of customers with the tier they would settle in now; after `WITH {RULES}`."""


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


def _due(as_of: dt.datetime) -> Iterator[list[str]]:
    """Where what is due is stored, batch by batch; from a cursor of the database, which outlives their transactions."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(ALL_DUE, {"as_of": as_of})
        while rows := cursor.fetchmany(BATCH):
            yield [place for (place,) in rows]


def _settle_batch(as_of: dt.datetime, places: list[str]) -> Settled:
    # An array as PostgreSQL writes it: a place is "(page,line)".
    params = {"places": '{"' + '","'.join(places) + '"}', "as_of": as_of}
    return _retried(lambda: _settle_places(params))._replace(found=len(places))


def _settle_places(params: dict[str, Any]) -> Settled:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SHARE_BATCH, params)
        (customers,) = cursor.fetchone()
        return _settle(OF_THE_BATCH, {**params, "customers": customers or "{}"})


def _settle_customers(customer_ids: list[uuid.UUID], as_of: dt.datetime) -> int:
    settled, missed = 0, True
    with transaction.atomic():
        share_usage_lock(customer_ids)
        while missed:
            step = _settle(OF_THE_CUSTOMERS, {"customers": customer_ids, "as_of": as_of})
            settled += step.settled
            missed = step.missed > 0
    return settled


def _settle(rows: str, params: dict[str, Any]) -> Settled:
    """Settle what is due of some rows `c` and of customers whose usage lock is held, shared.

    The lock makes a recut wait: a statement that began before the scheme changed would otherwise put the rows that were
    just recut into tiers of the old one. And it keeps tallies from being written meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(WATCHED, [params["customers"]])
        watched = [customer_id for (customer_id,) in cursor.fetchall()]
        if watched:
            forget_settled(rows, watched, params)
        cursor.execute(_settling(rows), params)
        return Settled(*cursor.fetchone())


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
    return settling()
