"""What happens beside the load: how large do the web workers grow, and how far is the fold behind?"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

EVERY_S = 0.2
LAG = "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0) FROM metering_unfoldedevents"


@dataclass
class Watch:
    """Resident memory of the largest web process, in MiB, and seconds the oldest event waited to be folded, by time."""

    memory_mib: list[float] = field(default_factory=list)
    lag_s: list[float] = field(default_factory=list)

    def lag(self, quantile: float) -> float:
        ordered = sorted(self.lag_s)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


@contextmanager
def watching(port: int) -> Iterator[Watch]:
    """Look every EVERY_S seconds at the web server on this port and at the queue of the fold."""
    watch, over = Watch(), threading.Event()
    thread = threading.Thread(target=_look, args=(watch, f"--port\0{port}\0".encode(), over))
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def _look(watch: Watch, mark: bytes, over: threading.Event) -> None:
    servers = _with_children(_processes_called(mark))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while not over.wait(EVERY_S):
            watch.memory_mib.append(max(map(_resident_mib, servers)))
            [lag_s] = connection.execute(LAG).fetchone() or [0]
            watch.lag_s.append(float(lag_s))


def _processes_called(mark: bytes) -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


def _with_children(parents: set[int]) -> set[int]:
    family = set(parents)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) in parents:
                family.add(int(status.parent.name))
    return family


def _resident_mib(pid: int) -> float:
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0
