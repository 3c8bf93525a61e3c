"""When is a conversation's tier fixed? At its settling instant, by one statement that joins the tier rows.

The statement (its rules are in metering.tier_rules) takes the conversation's open row away and writes a settled one.
Every fold writes the open row too; so the statement leaves a conversation alone that is just being folded: that is
looked at again, and judged, or left open, as it then is. A sweep settles in batches of rows, in the order in which they
are stored, so that each transaction is short, however much one customer has; batches are settled two at a time.
"""

import datetime as dt
import uuid
from ast import literal_eval
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

import psycopg
from django.db import OperationalError, transaction

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

EVERY_SO_MANY = """
SELECT place FROM (
    SELECT ctid::text AS place, row_number() OVER () AS number
    FROM metering_openconversation WHERE settles_at <= %(as_of)s) due
WHERE number %% %(batch)s = 0"""


class OpenRows(NamedTuple):
    """Open rows `c` to be settled, of which those are meant that are due and of customers who are locked.

    `among` says again, of `o`, where they are: a row is taken by its place, which no plan then looks for everywhere.
    """

    source: str
    among: str


OF_THE_CUSTOMERS = OpenRows("metering_openconversation c", "true")
_PLACES = "o.ctid > %(after)s::tid AND o.ctid <= %(until)s::tid"
# By place and by nothing else (OFFSET 0): the planner would look up whatever the customers of a batch have open.
OF_THE_BATCH = OpenRows(
    f"(SELECT o.ctid, o.xmin, o.* FROM metering_openconversation o WHERE {_PLACES} OFFSET 0) c", _PLACES
)
WHOSE = f"SELECT count(*), array_agg(DISTINCT customer_id) FROM {OF_THE_BATCH.source} WHERE settles_at <= %(as_of)s"
CLASSIFY_OPEN = f"""
SELECT c.customer_id, c.id, c.settles_at, c.outcome, v.id AS version_id, {TIER} AS tier, {TURNS} AS turns,
    {TOKENS} AS tokens
FROM metering_openconversation o JOIN metering_conversation c ON c.id = o.id AND c.customer_id = o.customer_id
{OWN} JOIN version v ON v.id = {RULING}
WHERE o.customer_id = ANY(%(customers)s::uuid[])"""
"""The open conversations of customers with the tier they would settle in now; after `WITH {RULES}`."""

Place = tuple[int, int]
"""Where a row is stored: its page, and which of the page's rows it is."""
FIRST_PLACE, LAST_PLACE = (0, 0), (2**32 - 2, 2**16 - 1)


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
    settled, changing = 0, True
    while changing:  # what was written meanwhile may have gone to where we had already been
        changing = False
        for step in each_done(partial(_settle_batch, as_of), pairwise([FIRST_PLACE, *_places(as_of), LAST_PLACE])):
            settled += step.settled
            changing |= step.settled > 0 or step.missed > 0
            progress(step.settled)
    return settled


def settle_customers(customer_ids: Sequence[uuid.UUID], *, as_of: dt.datetime) -> int:
    """Settle all that is due of these customers, in one transaction (tried again when it deadlocks with an ingest)."""
    return _retried(lambda: _settle_customers(list(customer_ids), as_of))


def _places(as_of: dt.datetime) -> list[Place]:
    """Places with BATCH rows that are due between them, give or take; in order, though a scan may begin elsewhere."""
    with raw_cursor() as cursor:
        cursor.execute(EVERY_SO_MANY, {"as_of": as_of, "batch": BATCH})
        return sorted(literal_eval(place) for (place,) in cursor.fetchall())


def _settle_batch(as_of: dt.datetime, between: tuple[Place, Place]) -> Settled:
    """Settle what is due after one place and up to the other, of whoever had something due when it was looked at."""
    after, until = map(str, between)
    return _retried(lambda: _settle_places(as_of, after=after, until=until))


def _settle_places(as_of: dt.datetime, **places: str) -> Settled:
    with transaction.atomic():
        with raw_cursor() as cursor:
            cursor.execute(WHOSE, {"as_of": as_of, **places})
            found, customer_ids = cursor.fetchone() or (0, None)
        if customer_ids is None:
            return Settled(0, 0, 0)
        share_usage_lock(customer_ids)
        step = _settle(OF_THE_BATCH, customer_ids, as_of, **places)
        return step._replace(found=max(found, step.found))


def _settle_customers(customer_ids: list[uuid.UUID], as_of: dt.datetime) -> int:
    settled, missed = 0, True
    with transaction.atomic():
        share_usage_lock(customer_ids)
        while missed:
            step = _settle(OF_THE_CUSTOMERS, customer_ids, as_of)
            settled += step.settled
            missed = step.missed > 0
    return settled


def _settle(rows: OpenRows, customer_ids: list[uuid.UUID], as_of: dt.datetime, **of_the_rows: str) -> Settled:
    """Settle what is due of open rows `c`, of customers whose usage lock is held, shared.

    The lock makes a recut wait: a statement that began before the scheme changed would otherwise put the rows that were
    just recut into tiers of the old one. And it keeps tallies from being written meanwhile.
    """
    params = {"customers": uuids(customer_ids), "as_of": as_of, **of_the_rows}
    forget_settled(rows.source, customer_ids, params)
    with raw_cursor() as cursor:
        cursor.execute(_settling(rows), params)
        counted = cursor.fetchone()
        assert counted is not None
        return Settled(*counted)


def _settling(rows: OpenRows) -> str:
    """The statement that settles what is due of some open rows, and says how many it found and settled.

    An open row that was written since is another one by now, in another place, and not taken: its conversation is
    folded anew. Who wrote it is compared too, because PostgreSQL's Tid Scan looks at the place of a row that it had to
    wait for only since September 2025 (commit dee21ea, in later minor releases of 13 and on).
    """
    return f"""
        WITH {RULES},
        ruled AS MATERIALIZED (
            SELECT c.ctid AS place, c.xmin AS written_by, c.customer_id, c.id, {RULING} AS version_id
            FROM {rows.source} {OWN}
            WHERE c.customer_id = ANY(%(customers)s::uuid[]) AND c.settles_at <= %(as_of)s
        ),
        taken AS (
            DELETE FROM metering_openconversation o USING ruled
            WHERE o.ctid = ruled.place AND o.xmin = ruled.written_by AND {rows.among}
                AND ruled.version_id IS NOT NULL
            RETURNING ruled.customer_id, ruled.id, ruled.version_id
        ),
        settled AS (
            INSERT INTO metering_settledconversation
                (customer_id, settled_at, id, scheme_version_id, tier, outcome, turns, counted_tokens)
            SELECT c.customer_id, c.settles_at, c.id, v.id, {TIER}, c.outcome, {TURNS}, {TOKENS}
            FROM taken JOIN metering_conversation c ON c.id = taken.id AND c.customer_id = taken.customer_id
            JOIN version v ON v.id = taken.version_id
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
