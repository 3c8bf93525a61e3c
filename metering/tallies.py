"""How is a million conversations counted in milliseconds? By the hour and the day, ahead, for who is watched.

A tally says what settled in one hour (or day) of one customer, and is right or not there. It is written by whoever
holds the customer's usage lock alone and has folded what waits, so that nobody is just changing anything; whoever
changes what settled in an hour (a fold, a settling, a recut) holds the lock shared and deletes the tallies of the hour
and its day in the same transaction. A count takes the tallies it finds and counts everything else, in one statement, so
that both are of one state. Who is watched, and when tallies are written: metering.watching.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection

from metering.packed_arrays import raw_cursor, uuids

HOUR, DAY = 1, 24
"""What is tallied, in hours. A day's tally is the sum of those of its hours, and saves most of them to a count."""

# A tally's start stands for the instants in it: where peak hours are counted apart, one that they cut is not used.
UNCUT = """
AND (tstzrange(start, start + hours * interval '1 hour') <@ %(peak)s::tstzmultirange
  OR NOT tstzrange(start, start + hours * interval '1 hour') && %(peak)s::tstzmultirange)"""
# Arrays are unnested among the columns: as a table, each tally's would be written down before they are read.
# Each stretch that no day, or no tally at all, covers is looked up in the index by itself (OFFSET 0 keeps it from being
# joined): a plan that is made for any customer would read all that a large one has.
COUNT_SETTLED = """
WITH day AS (
    SELECT start, tiers, outcomes, counts FROM metering_tally
    WHERE customer_id = %(customer)s AND hours = 24 AND start >= %(start)s
        AND start <= %(end)s::timestamptz - interval '1 day' {uncut}
),
around_days AS (
    SELECT unnest(tstzmultirange(tstzrange(%(start)s, %(end)s))
        - coalesce(range_agg(tstzrange(start, start + interval '1 day')), '{{}}')) AS during FROM day
),
hour AS (
    SELECT tally.* FROM around_days CROSS JOIN LATERAL (
        SELECT start, tiers, outcomes, counts FROM metering_tally
        WHERE customer_id = %(customer)s AND hours = 1 AND start >= lower(during)
            AND start <= upper(during) - interval '1 hour' {uncut} OFFSET 0) tally
),
around_hours AS (
    SELECT unnest((SELECT range_agg(during) FROM around_days)
        - coalesce(range_agg(tstzrange(start, start + interval '1 hour')), '{{}}')) AS during FROM hour
)
SELECT counted, sum(count)::bigint FROM (
    SELECT {by} AS counted, count FROM (
        SELECT unnest(tiers) AS tier, unnest(outcomes) AS outcome, start AS settles_at, unnest(counts) AS count
        FROM (TABLE day UNION ALL TABLE hour) tallied) c
    WHERE {which}
    UNION ALL
    SELECT {by} AS counted, count(*) FROM around_hours CROSS JOIN LATERAL (
        SELECT tier, outcome, settled_at AS settles_at FROM metering_settledconversation
        WHERE customer_id = %(customer)s AND settled_at >= lower(during) AND settled_at < upper(during) OFFSET 0) c
    WHERE {which} GROUP BY 1) counts
GROUP BY 1"""
"""What settled in [start, end), by something (`by`, of tier, outcome and settles_at), of those `which` are meant.

With `uncut` given as UNCUT or nothing.
"""
WATCHED = "SELECT customer_id FROM metering_watchedusage WHERE customer_id = ANY(%s::uuid[])"
# In one order, so that two who delete the same ones wait for each other in turn.
FORGET = """
WITH touched AS (
    SELECT t.customer_id, t.hours, t.start FROM metering_tally t JOIN ({changed}) changed
        ON t.customer_id = changed.customer_id AND (t.hours, t.start) IN (
            (1, date_trunc('hour', changed.settles_at, 'UTC')), (24, date_trunc('day', changed.settles_at, 'UTC')))
    ORDER BY 1, 2, 3 FOR UPDATE OF t)
DELETE FROM metering_tally t USING touched
WHERE (t.customer_id, t.hours, t.start) = (touched.customer_id, touched.hours, touched.start)"""
FORGET_HOURS = FORGET.format(changed="SELECT * FROM unnest(%s::uuid[], %s::timestamptz[]) h (customer_id, settles_at)")
FORGET_DUE = FORGET.format(
    changed="""
    SELECT DISTINCT c.customer_id, date_trunc('hour', c.settles_at, 'UTC') AS settles_at FROM {rows}
    WHERE c.customer_id = ANY(%(watched)s::uuid[]) AND c.settles_at <= %(as_of)s"""
)


def hour_of(instant: dt.datetime) -> dt.datetime:
    """The beginning of the hour (UTC) that holds an instant."""
    return instant.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def forget_tallies(touched: Mapping[uuid.UUID, Iterable[dt.datetime]]) -> None:
    """Something that settles, or settled, at these instants of these customers is not as it was.

    For whoever changes it, in the same transaction, with the customers' usage lock at least shared.
    """
    watched = _watched_among(touched)
    hours = [(customer, hour) for customer in watched for hour in {hour_of(instant) for instant in touched[customer]}]
    if hours:
        with connection.cursor() as cursor:
            cursor.execute(FORGET_HOURS, [list(column) for column in zip(*hours, strict=True)])


def forget_settled(rows: str, customer_ids: Iterable[uuid.UUID], params: Mapping[str, Any]) -> None:
    """The same for open conversations `c` that are about to be settled; `rows` is SQL of where they come from."""
    watched = _watched_among(customer_ids)
    if watched:
        with raw_cursor() as cursor:
            cursor.execute(FORGET_DUE.format(rows=rows), {**params, "watched": uuids(watched)})


def _watched_among(customer_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    with raw_cursor() as cursor:
        cursor.execute(WATCHED, [uuids(customer_ids)])
        return [customer_id for (customer_id,) in cursor.fetchall()]
