"""How fast is usage taken in, beside the raw database and beside the obvious way? Rounds of all of them, by turns."""

import datetime as dt
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.load import Load, run_load
from benchmarks.machine import rounds
from benchmarks.raw_copy import raw_copy_rate
from benchmarks.served import OBVIOUS, OURS, folding, web
from benchmarks.watching import Watch, watching
from benchmarks.workload import CUSTOMERS, STREAM_LASTS, Stream

FOLDED_WITHIN_S = 60.0


class Effort(NamedTuple):
    """How much is measured: undisturbed rounds, seconds of load each, and how many rows are copied beside each."""

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
    "ours_1000": Way(OURS, 1_000, 8, 100_000),
    "obvious_1000": Way(OBVIOUS, 1_000, 2, 8_000),
    "ours_100": Way(OURS, 100, 32, 100_000),
    "ours_1": Way(OURS, 1, 64, 30_000),
    "obvious_1": Way(OBVIOUS, 1, 32, 5_000),
}
OUR_WAYS = [name for name, way in WAYS.items() if way.application == OURS]
RAW_BESIDE = {"ours_1000": 1_000, "ours_100": 100}
"""The way after which raw COPY is measured, by how many rows it then commits at a time."""


class Rounds(NamedTuple):
    """Each way's loads, and the rates of raw COPY by rows a commit, round by round; and what was watched meanwhile."""

    loads: dict[str, list[Load]]
    raw: dict[int, list[float]]
    watch: Watch

    def best(self, way: str) -> Load:
        return max(self.loads[way], key=lambda load: load.events_a_second)

    def of_raw(self, way: str) -> float:
        """The best of a way beside the best of raw COPY with as many rows a commit."""
        return self.best(way).events_a_second / max(self.raw[RAW_BESIDE[way]])


class BooksDoNotMatch(Exception):
    """What is stored is not what was acknowledged."""


def ingest_rounds(data_dir: Path, effort: Effort, key: str, *, say: Callable[[str], object]) -> Rounds:
    """Measure everything; raises BooksDoNotMatch where the database disagrees with the answers."""
    starts_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    with folding(data_dir), web(OURS, data_dir) as ours, web(OBVIOUS, data_dir) as obvious, watching(ours) as watch:
        measured = Rounds(defaultdict(list), defaultdict(list), watch)
        for number in rounds(effort.rounds):
            for name, way in WAYS.items():
                port = ours if way.application == OURS else obvious
                load = send(port, key, f"{name}-{number}", way, effort.seconds, starts_at)
                starts_at += STREAM_LASTS
                measured.loads[name].append(load)
                say(f"round {number}: {name} {load.events_a_second:,.0f} events/s")
                if (rows := RAW_BESIDE.get(name)) is not None:
                    measured.raw[rows].append(raw_copy_rate(effort.raw_rows, rows))
                    say(f"round {number}: raw COPY, {rows:,} a commit, {measured.raw[rows][-1]:,.0f} rows/s")
        wait_until_folded()
    check_books(measured)
    return measured


def send(
    port: int, key: str, name: str, way: Way, seconds: float, starts_at: dt.datetime, *, random_ids: bool = False
) -> Load:
    """One load of a stream of its own."""
    requests = max(way.connections, int(way.most * seconds) // way.batch)
    stream = Stream(name, way.batch, requests, starts_at, random_ids)
    return run_load(port, key, stream, connections=way.connections, seconds=seconds)


def wait_until_folded() -> None:
    """Until every stored event is in its conversation."""
    deadline = time.monotonic() + FOLDED_WITHIN_S
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while connection.execute("SELECT FROM metering_unfoldedevents LIMIT 1").fetchone() is not None:
            if time.monotonic() > deadline:
                raise BooksDoNotMatch(f"events are still not folded after {FOLDED_WITHIN_S:.0f} s")
            time.sleep(0.05)


def check_books(measured: Rounds) -> None:
    """Every acknowledged event is stored once and counted in one conversation, and nothing else is."""
    acknowledged = sum(load.counts["accepted"] for way in OUR_WAYS for load in measured.loads[way])
    counts = "SELECT (SELECT count(*) FROM metering_event), (SELECT sum(calls) FROM metering_conversation)"
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        stored, folded = connection.execute(counts).fetchone() or (None, None)
    if not acknowledged == stored == folded:
        raise BooksDoNotMatch(f"acknowledged {acknowledged:,}, stored {stored:,}, in conversations {folded:,}")
    if other := sum(load.counts["other"] for loads in measured.loads.values() for load in loads):
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
