"""How many conversations settled in each of many spans of time? Counted in one statement for all that count alike.

By the rules of `metering.reading`, which counts one span at a time; a bill run asks for the spans of many customers.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connection
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import TimestamptzRange

from metering.reading import BILLABLE, METER
from plans.meters import EVERYTHING, Meters, peak_spans

Counts = dict[str, int]
"""Conversations by meter."""
# Each span is looked up by the index by itself, however many there are (OFFSET 0 keeps the planner from joining them).
SETTLED_IN_SPANS = """
SELECT span.place, found.meter, found.count
FROM unnest(%(places)s::int[], %(customers)s::uuid[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
    %(peaks)s::tstzmultirange[]) AS span (place, customer_id, starts_at, ends_at, peak)
CROSS JOIN LATERAL (
    SELECT {meter} AS meter, count(*) FROM (
        SELECT tier, outcome, settled_at AS settles_at FROM metering_settledconversation
        WHERE customer_id = span.customer_id AND settled_at >= span.starts_at AND settled_at < span.ends_at OFFSET 0) c
    WHERE {billable} GROUP BY 1) found"""
PEAK_OF_THE_SPAN = METER.replace("%(peak)s::tstzmultirange", "span.peak")


class Span(NamedTuple):
    """A stretch of a customer's time, half-open, and what is counted in it."""

    customer_id: uuid.UUID
    start: dt.datetime
    end: dt.datetime
    meters: Meters = EVERYTHING


def count_settled_in(spans: Iterable[Span]) -> dict[Span, Counts]:
    """Billable settled conversations by meter, of each span with their settling instant in it."""
    counts: dict[Span, Counts] = {}
    alike: dict[tuple[Any, ...], list[Span]] = defaultdict(list)
    for span in spans:
        if span not in counts:
            counts[span] = {}
            alike[span.meters.billable_outcomes, span.meters.peak_tiers].append(span)
    for (outcomes, peak_tiers), group in alike.items():
        for place, meter, count in _counted(group, outcomes, peak_tiers):
            counts[group[place]][meter] = count
    return counts


def _counted(
    spans: list[Span], outcomes: tuple[str, ...] | None, peak_tiers: frozenset[str]
) -> list[tuple[int, str, int]]:
    sql = SETTLED_IN_SPANS.format(
        meter=PEAK_OF_THE_SPAN if peak_tiers else "tier", billable="true" if outcomes is None else BILLABLE
    )
    params: dict[str, Any] = {
        "places": list(range(len(spans))),
        "customers": [span.customer_id for span in spans],
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
        "peaks": [_peak(span) if peak_tiers else None for span in spans],
        "peak_tiers": sorted(peak_tiers),
        "outcomes": list(outcomes or ()),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _peak(span: Span) -> TimestamptzMultirange:
    return TimestamptzMultirange(
        TimestamptzRange(*stretch) for stretch in peak_spans(span.meters, span.start, span.end)
    )
