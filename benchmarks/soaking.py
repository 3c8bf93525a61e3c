"""Do the web workers keep their size? A steady load for many minutes, and their memory at its beginning and its end."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import run_load
from benchmarks.served import OURS, folding, web
from benchmarks.watching import watching
from benchmarks.workload import Stream

BATCH, CONNECTIONS, MOST_A_SECOND = 100, 16, 60_000


class Soak(NamedTuple):
    """MiB of the largest web worker: the most in the second tenth of the time, and the most in the last."""

    seconds: float
    events: int
    early_mib: float
    late_mib: float


def soak(data_dir: Path, key: str, *, seconds: float, say: Callable[[str], object]) -> Soak:
    """Load at full speed for so long."""
    starts_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    stream = Stream("soak", BATCH, int(seconds * MOST_A_SECOND) // BATCH, starts_at)
    with folding(data_dir), web(OURS, data_dir) as port, watching(port) as watch:
        load = run_load(port, key, stream, connections=CONNECTIONS, seconds=seconds, ready_made=False)
    say(f"soak: {load.events_a_second:,.0f} events/s for {load.elapsed_s:.0f} s")
    tenth = max(1, len(watch.memory_mib) // 10)
    early, late = max(watch.memory_mib[tenth : 2 * tenth] or [0]), max(watch.memory_mib[-tenth:])
    return Soak(load.elapsed_s, load.counts["accepted"], early, late)
