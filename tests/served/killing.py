"""Which processes of a served Parley are which, and how are they killed in the middle of something?"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

from tests.served.serving import Served, eventually, processes_of

WEB, WORKER, DATABASE = "-m uvicorn", "-m celery", "/bin/postgres -D"
MOVES_WITHIN_S = 60.0


def program(served: Served, words: str) -> set[int]:
    """The processes of the program whose command line has these words, its children included."""
    processes = processes_of(served.data_dir)
    found = {pid for pid, process in processes.items() if words in process.command}
    return found | {pid for pid, process in processes.items() if process.parent in found}


def children(served: Served, words: str) -> set[int]:
    """The same without the program's first process."""
    whole, processes = program(served, words), processes_of(served.data_dir)
    return {pid for pid in whole if pid in processes and processes[pid].parent in whole}


def kill(victims: Iterable[int]) -> int:
    """kill -9; how many there were. It must have met somebody, or the test tests nothing."""
    killed = 0
    for pid in victims:
        with suppress(ProcessLookupError):  # its parent was quicker
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed, "there was nobody to kill"
    return killed


def wait_for_more_events(served: Served, more: int) -> None:
    """Returns when so many more events are stored; the database may be down meanwhile."""
    wanted = (served.count("metering_event") or 0) + more
    moved = eventually(lambda: (served.count("metering_event") or 0) >= wanted, within_s=MOVES_WITHIN_S)
    assert moved, f"no more events came: {served.log.read_text()}"
