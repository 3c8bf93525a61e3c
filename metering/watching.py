"""Whose running usage is too much to be counted when it is asked for? It is counted ahead, while somebody asks.

Most customers' usage is counted from their conversations at the moment of the question. A customer that turns out to
have very many is watched from then on: a sweep tallies its hours (metering.tallies: exact), and counts the
conversations it has going on once a minute. These alone are told as of a moment ago, and that moment with them;
what is billed never comes from here.
"""

import datetime as dt
import logging
import uuid
from itertools import groupby
from typing import NamedTuple

import msgspec
from django.db import connection, transaction

from api.asking import Question, ask, columns, instance
from metering.catching_up import catch_up
from metering.models import Tally, WatchedUsage
from metering.reading import count_open
from metering.settling import settle_customers
from metering.tallies import hour_of
from metering.usage_lock import take_usage_lock
from plans.meters import Meters

log = logging.getLogger(__name__)

MANY_OPEN = 1_000
"""Conversations going on: up to so many are looked through in a millisecond or two, at every question."""
MANY_SETTLED = 20_000
"""Conversations settled in the period: up to so many are counted as fast."""
RENEWED_AFTER = dt.timedelta(minutes=1)
"""What is going on is counted that often: a tenth of a second of work for thirty thousand conversations."""
LONGEST_KEPT = dt.timedelta(minutes=3)
"""Older counts of what is going on are not told, as when no sweep runs; the read then makes new ones."""
NOTED_EVERY = dt.timedelta(minutes=10)
FORGOTTEN_AFTER = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)

KEPT = Question(f"SELECT {columns(WatchedUsage, 'w')} FROM metering_watchedusage w WHERE customer_id = %(customer)s")
MISSING = """
SELECT hour FROM generate_series(%(first)s::timestamptz, %(last)s::timestamptz, '1 hour') hour
WHERE NOT EXISTS (SELECT FROM metering_tally t WHERE (t.customer_id, t.hours, t.start) = (%(customer)s, 1, hour.hour))
ORDER BY hour"""
TALLY_HOURS = """
INSERT INTO metering_tally (customer_id, hours, start, tiers, outcomes, counts)
SELECT %(customer)s, 1, hour, array_remove(array_agg(tier), NULL),
    coalesce(array_agg(outcome) FILTER (WHERE tier IS NOT NULL), '{}'), array_remove(array_agg(count), NULL)
FROM unnest(%(hours)s::timestamptz[]) hour LEFT JOIN LATERAL (
    SELECT tier, outcome, count(*)::int AS count FROM metering_settledconversation
    WHERE customer_id = %(customer)s AND settled_at >= hour AND settled_at < hour + interval '1 hour'
    GROUP BY tier, outcome) counted ON true
GROUP BY hour ON CONFLICT DO NOTHING"""
TALLY_DAY = """
WITH hour AS (
    SELECT tiers, outcomes, counts FROM metering_tally
    WHERE customer_id = %(customer)s AND hours = 1 AND start >= %(day)s
        AND start < %(day)s::timestamptz + interval '1 day'
)
INSERT INTO metering_tally (customer_id, hours, start, tiers, outcomes, counts)
SELECT %(customer)s, 24, %(day)s, coalesce(array_agg(tier), '{}'), coalesce(array_agg(outcome), '{}'),
    coalesce(array_agg(count), '{}')
FROM (SELECT tier, outcome, sum(count)::int AS count
    FROM hour, unnest(tiers, outcomes, counts) each (tier, outcome, count) GROUP BY tier, outcome) counted
HAVING (SELECT count(*) FROM hour) = 24 ON CONFLICT DO NOTHING"""


class Running(NamedTuple):
    """What is asked of a customer: its usage from `since`, and what goes on and would settle before `until`."""

    customer_id: uuid.UUID
    since: dt.datetime
    until: dt.datetime
    meters: Meters


class GoingOn(NamedTuple):
    """Conversations going on by meter, as of an instant. `live`: this one; else everything due by then is settled."""

    counts: dict[str, int]
    as_of: dt.datetime
    live: bool
    watched: bool


def going_on(asked: Running, *, now: dt.datetime) -> GoingOn:
    """The conversations that are going on now, or, where they are many, did up to LONGEST_KEPT ago."""
    kept = next((instance(WatchedUsage, row) for row in ask(KEPT, {"customer": asked.customer_id})), None)
    if kept is not None:
        _note_asked(kept, now)
        if sum(kept.going_on.values()) > MANY_OPEN:
            age = now - kept.taken_at
            if dt.timedelta(0) <= age <= LONGEST_KEPT and _question_of(kept) == asked:
                return GoingOn(kept.going_on, kept.taken_at, live=False, watched=True)
            return _count_ahead(asked, now=now)
    counts = count_open(asked.customer_id, now, asked.until, meters=asked.meters)
    if sum(counts.values()) > MANY_OPEN:
        return _count_ahead(asked, now=now)
    return GoingOn(counts, now, live=True, watched=kept is not None)


def watch_if_many(asked: Running, found: GoingOn, settled: int, *, now: dt.datetime) -> None:
    """Watch a customer from now on if so many of its conversations have settled since the beginning of the question."""
    if settled > MANY_SETTLED and not found.watched:
        _keep(asked, found.counts, now)


def count_watched_ahead(*, now: dt.datetime) -> int:
    """Prepare the answers about whoever is watched, and forget those nobody asks about; returns how many they were."""
    watched = list(WatchedUsage.objects.order_by("pk"))
    for kept in watched:
        try:
            if kept.asked_at < now - FORGOTTEN_AFTER:
                forget(kept.customer_id)
            else:
                tally(kept.customer_id, since=kept.since, now=now)
                if abs(now - kept.taken_at) > RENEWED_AFTER:
                    _count_ahead(_question_of(kept), now=now)
        except Exception:
            log.exception("counting ahead for customer %s failed", kept.customer_id)
    return len(watched)


def tally(customer_id: uuid.UUID, *, since: dt.datetime, now: dt.datetime) -> int:
    """Tally the whole hours of a watched customer from `since` until now that are not; returns how many those were.

    A day in one transaction, in which nobody else changes or counts the customer's usage.
    """
    hours = missing_hours(customer_id, since, now)
    for day, of_the_day in groupby(hours, key=lambda hour: hour.replace(hour=0)):
        with transaction.atomic():
            take_usage_lock(customer_id)
            # A fold that waits for the lock with an older state of the database in hand must fail and start again: it
            # does, because what it was to fold is gone.
            catch_up([customer_id], now=now)
            with connection.cursor() as cursor:
                cursor.execute(TALLY_HOURS, {"customer": customer_id, "hours": list(of_the_day)})
                cursor.execute(TALLY_DAY, {"customer": customer_id, "day": day})
    return len(hours)


def missing_hours(customer_id: uuid.UUID, since: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
    """The whole hours between two instants that are not tallied."""
    first, last = hour_of(since - dt.timedelta.resolution) + HOUR, hour_of(until) - HOUR
    with connection.cursor() as cursor:
        cursor.execute(MISSING, {"customer": customer_id, "first": first, "last": last})
        return [hour for (hour,) in cursor.fetchall()]


def forget(customer_id: uuid.UUID) -> None:
    """Watch a customer no more. Its tallies go too: what changes from now on would not delete them."""
    with transaction.atomic():
        take_usage_lock(customer_id)
        Tally.objects.filter(customer=customer_id).delete()
        WatchedUsage.objects.filter(customer=customer_id).delete()


def _count_ahead(asked: Running, *, now: dt.datetime) -> GoingOn:
    """Settle what is due, so that nothing is between what has settled and what goes on, and keep the count of that."""
    settle_customers([asked.customer_id], as_of=now)
    counts = count_open(asked.customer_id, now, asked.until, meters=asked.meters)
    _keep(asked, counts, now)
    return GoingOn(counts, now, live=False, watched=True)


def _keep(asked: Running, counts: dict[str, int], now: dt.datetime) -> None:
    answer = {
        "since": asked.since,
        "until": asked.until,
        "meters": msgspec.json.encode(asked.meters, order="deterministic").decode(),
        "going_on": counts,
        "taken_at": now,
    }
    WatchedUsage.objects.update_or_create(
        customer_id=asked.customer_id, defaults=answer, create_defaults={**answer, "asked_at": now}
    )


def _question_of(kept: WatchedUsage) -> Running:
    return Running(kept.customer_id, kept.since, kept.until, msgspec.json.decode(kept.meters, type=Meters))


def _note_asked(kept: WatchedUsage, now: dt.datetime) -> None:
    if abs(now - kept.asked_at) > NOTED_EVERY:
        WatchedUsage.objects.filter(pk=kept.pk).update(asked_at=now)
