"""Does intake slow down as the table grows? The same load on a small table and on one of ten million events."""

import datetime as dt
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.ingesting import WAYS, send, wait_until_folded
from benchmarks.served import OURS, folding, web
from benchmarks.workload import STREAM_LASTS

WAY = WAYS["ours_1000"]
# Older events of the same customers, each with an id that sorts by its time, as those that come later do.
PAST = """
INSERT INTO metering_event (customer_id, event_id, conversation, occurred_at, received_at, provider, model, kind,
    status, attempt, turn, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, byok,
    corrected, voided)
SELECT customer.id,
    'evt_' || lpad(to_hex(n), 12, '0') || '7' || lpad(to_hex(n %% 1000), 7, '0') || left(md5(n::text), 12),
    'past-' || n / 240 * 20 + n %% 20, at, at, 'openai', 'gpt-4o', 'completion', 'ok', 1, n / 20 %% 12 + 1,
    80, 16, 0, 100, 0, false, false, false
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 millisecond' AS at) moment
JOIN (SELECT id, row_number() OVER (ORDER BY key) - 1 AS place FROM plans_customer WHERE key LIKE 'bench-%%') customer
  ON customer.place = n %% 20
"""
STEP = 500_000


class Growth(NamedTuple):
    """Events a second with so many stored, the best of some loads each."""

    small_rows: int
    small: float
    large_rows: int
    large: float
    large_random: float
    """With ids in no order, as UUIDv4 or hashes are."""


def measure_growth(data_dir: Path, key: str, *, rows: int, seconds: float, say: Callable[[str], object]) -> Growth:
    """Loads on the table as it is, on one of `rows` events, and there again with random ids."""
    starts_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=20)

    def best(name: str, *, random_ids: bool = False) -> float:
        nonlocal starts_at
        rates = []
        with folding(data_dir), web(OURS, data_dir) as port:
            for number in range(3):  # as many for each: the best of more would be better by that alone
                load = send(port, key, f"{name}-{number}", WAY, seconds, starts_at, random_ids=random_ids)
                starts_at += STREAM_LASTS
                rates.append(load.events_a_second)
                say(f"{name}: {load.events_a_second:,.0f} events/s")
            wait_until_folded()
        return max(rates)

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "TRUNCATE metering_event, metering_conversation, metering_openconversation, metering_settledconversation"
        )
        _fill(connection, 0, 100_000)
        small = best("growth-small")
        _fill(connection, 100_000, rows)
        say(f"{rows:,} events are there")
        connection.execute("CHECKPOINT")
        large = best("growth-large")
        large_random = best(f"growth-random-{uuid.uuid4().hex[:6]}", random_ids=True)
    return Growth(100_000, small, rows, large, large_random)


def _fill(connection: "psycopg.Connection[tuple[object, ...]]", first: int, rows: int) -> None:
    for start in range(first, rows, STEP):
        connection.execute(PAST, {"first": start, "last": min(start + STEP, rows) - 1})
    connection.execute("VACUUM ANALYZE metering_event")
