"""Where was it measured, and how much of that machine was ours? No figure means anything without it."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

STEAL = 7
"""Where the time taken by the host's other machines stands among the figures of Linux."""
ALONE = 0.02
"""Of the processors' time others may have had so much in a round that counts as one left alone."""
MOST_TIMES = 3


def machine() -> str:
    """Processors, memory, system, Python and the database with the settings that decide about durability."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        version, *settings = (connection.execute(f"SHOW {name}").fetchone() or [""] for name in names)
    durability = ", ".join(f"{name} {value}" for name, [value] in zip(names[1:], settings, strict=True))
    return (
        f"{os.cpu_count()} x {_processor()}, {memory_gib:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, PostgreSQL {version[0]} ({durability});"
        f" load average at the start {os.getloadavg()[0]:.1f}"
    )


@contextmanager
def telling_stolen_time(what: str) -> Iterator[None]:
    """Print afterwards which share of the processors' time the host gave to others, where Linux says so."""
    before = _processor_time()
    yield
    stolen = _stolen_since(before)
    if stolen is not None:
        print(f"{what}: other machines had {stolen:.0%} of these processors' time.", flush=True)


def rounds(wanted: int) -> Iterator[int]:
    """The numbers of the rounds to measure: until others have left us alone in so many, MOST_TIMES as many at most.

    The best of them counts: what the host gives to others is nothing that a program does better or worse. Where nobody
    says what it gives, every round is taken for one.
    """
    alone = 0
    for number in count(1):
        before = _processor_time()
        yield number
        alone += (_stolen_since(before) or 0) <= ALONE
        if alone == wanted or number == MOST_TIMES * wanted:
            return


def _stolen_since(before: list[int]) -> float | None:
    """The share of the processors' time that others had; None where nobody says."""
    spent = [now - then for now, then in zip(_processor_time(), before, strict=True)]
    return spent[STEAL] / sum(spent) if sum(spent) else None


def _processor_time() -> list[int]:
    """Since the start, in ticks: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); or nothing."""
    stat = Path("/proc/stat")
    return [int(ticks) for ticks in stat.read_text().split()[1:9]] if stat.exists() else []


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
