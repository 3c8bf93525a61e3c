"""How fast is usage taken in, beside the raw database and beside the obvious way? Rounds of all of them, by turns."""

import datetime as dt
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.load import Load, run_load
from benchmarks.raw_copy import raw_copy_rate
from benchmarks.served import OBVIOUS, OURS, folding, web
from benchmarks.workload import CUSTOMERS, STREAM_LASTS, Stream

COLUMNS = ("raw", "ours_batch", "obvious_batch", "ours_single", "obvious_single")


class Effort(NamedTuple):
    """How much is measured: rounds, seconds of load each, and the most requests that can be needed in that time."""

    rounds: int
    seconds: float
    raw_rows: int


QUICK, FULL = Effort(1, 4.0, 50_000), Effort(3, 6.0, 200_000)


class Way(NamedTuple):
    """One way to send events: to whom, how many a request and over how many connections; `most` events a second."""

    application: str
    batch: int
    connections: int
    most: int


WAYS = {
    "ours_batch": Way(OURS, 1_000, 8, 150_000),
    "obvious_batch": Way(OBVIOUS, 1_000, 2, 8_000),
    "ours_single": Way(OURS, 1, 64, 15_000),
    "obvious_single": Way(OBVIOUS, 1, 32, 5_000),
}


class Rounds(NamedTuple):
    """Each way's loads and the rates of raw COPY, round by round."""

    loads: dict[str, list[Load]]
    raw: list[float]

    def best(self, way: str) -> Load:
        return max(self.loads[way], key=lambda load: load.events_a_second)


class BooksDoNotMatch(Exception):
    """What is stored is not what was acknowledged."""


def ingest_rounds(data_dir: Path, effort: Effort, key: str, *, say: Callable[[str], object]) -> Rounds:
    """Measure everything; raises BooksDoNotMatch where the database disagrees with the answers."""
    rounds = Rounds(defaultdict(list), [])
    starts_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    with folding(data_dir), web(OURS, data_dir) as ours, web(OBVIOUS, data_dir) as obvious:
        ports = {OURS: ours, OBVIOUS: obvious}
        for number in range(effort.rounds):
            for name, way in WAYS.items():
                requests = max(way.connections, int(way.most * effort.seconds) // way.batch)
                stream = Stream(f"{name}-{number}", way.batch, requests, starts_at)
                starts_at += STREAM_LASTS
                load = run_load(
                    ports[way.application], key, stream, connections=way.connections, seconds=effort.seconds
                )
                rounds.loads[name].append(load)
                say(f"round {number + 1}: {name} {load.events_a_second:,.0f} events/s")
                if name == "ours_batch":
                    rounds.raw.append(raw_copy_rate(effort.raw_rows))
                    say(f"round {number + 1}: raw COPY {rounds.raw[-1]:,.0f} rows/s")
    check_books(rounds)
    return rounds


def check_books(rounds: Rounds) -> None:
    """Every acknowledged event is stored once and counted in one conversation, and nothing else is."""
    acknowledged = sum(load.counts["accepted"] for way in ("ours_batch", "ours_single") for load in rounds.loads[way])
    counts = "SELECT (SELECT count(*) FROM metering_event), (SELECT sum(calls) FROM metering_conversation)"
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        stored, folded = connection.execute(counts).fetchone() or (None, None)
    if not acknowledged == stored == folded:
        raise BooksDoNotMatch(f"acknowledged {acknowledged:,}, stored {stored:,}, in conversations {folded:,}")
    if other := sum(load.counts["other"] for loads in rounds.loads.values() for load in loads):
        raise BooksDoNotMatch(f"{other:,} events were answered with something else than accepted")


def create_cast(now: dt.datetime) -> str:
    """The customers of the load, for both ways, and supplier rates; returns an API key. Django must be set up."""
    from api.keys import create_key
    from metering.catalogue import sync_rates
    from plans.customers import create_customer

    sync_rates(now=now)
    for key in CUSTOMERS:
        create_customer(key=key, currency="USD", now=now)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.cursor().executemany("INSERT INTO obvious_customer (key) VALUES (%s)", [[key] for key in CUSTOMERS])
    return create_key("benchmark", ["ingest"], now=now)[1]
