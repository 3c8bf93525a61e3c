"""How far behind is the work on what was taken in? Figures for Prometheus, looked up when it asks."""

import datetime as dt
from collections.abc import Iterable

from django.db import connection, transaction
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

LOOKED_UP_WITHIN_S = 3
COUNTED_AT_MOST = 100_000
"""No count goes further: who has so much waiting need not know how much more."""

UNFOLDED = "SELECT count(*), min(received_at) FROM (SELECT received_at FROM metering_unfoldedevents LIMIT %s) waiting"
QUARANTINED = """
SELECT door, CASE WHEN refused THEN 'person' ELSE 'customer' END, count(*) FROM (
    SELECT door, refused_at IS NOT NULL AS refused FROM metering_quarantinedevent
    WHERE released_at IS NULL AND discarded_at IS NULL LIMIT %s
) waiting GROUP BY 1, 2 ORDER BY 1, 2"""
DUE = """
SELECT count(*), min(settles_at) FROM (
    SELECT settles_at FROM metering_openconversation WHERE settles_at <= %s LIMIT %s
) due"""


def intake_gauges(now: dt.datetime) -> list[Metric]:
    """What waits to be folded, in quarantine and to be settled. Raises OperationalError if that takes too long."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{LOOKED_UP_WITHIN_S}s'")
        cursor.execute(UNFOLDED, [COUNTED_AT_MOST])
        rows, oldest = cursor.fetchone()
        cursor.execute(QUARANTINED, [COUNTED_AT_MOST])
        quarantined = cursor.fetchall()
        cursor.execute(DUE, [now, COUNTED_AT_MOST])
        due, due_since = cursor.fetchone()
    return [
        _gauge("parley_unfolded_rows", "Rows of events not yet folded into conversations.", rows),
        _gauge("parley_folding_lag_seconds", "Age of the oldest of them.", _age_s(oldest, now)),
        _quarantine_gauge(quarantined),
        _gauge("parley_due_conversations", "Conversations due and not settled.", due),
        _gauge("parley_settling_lag_seconds", "For how long the first of them has been due.", _age_s(due_since, now)),
    ]


def _quarantine_gauge(counts: Iterable[tuple[str, str, int]]) -> Metric:
    """By door and by what has to come, as reasons are in words and so too many."""
    waiting = GaugeMetricFamily(
        "parley_quarantined_events", "Events kept that nobody can be billed for yet.", labels=["door", "waits_for"]
    )
    for door, waits_for, count in counts:
        waiting.add_metric([door, waits_for], count)
    return waiting


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _age_s(since: dt.datetime | None, now: dt.datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
