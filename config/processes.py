"""How are several programs kept running as one, and how does none of them outlive the whole?

Each program runs in a process group of its own, so that a Ctrl-C in the terminal reaches only the supervisor, which
then stops them all. A program that ends is started again, later each time it ends soon. On Linux the kernel terminates
the programs when the supervisor is killed; whatever survives even that is found by a mark in its environment when the
next supervisor starts.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = "PARLEY_SERVED_FROM"
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
HEALTHY_AFTER_S = 30.0  # a program that ran this long starts again without delay
STOP_TIMEOUT_S = 7.0
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here, because little is safe between fork and exec


@dataclass
class Program:
    """One long-running program, what it logs to, and how its current run fares."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at_s: float = 0.0
    delay_s: float = field(default=FIRST_DELAY_S)
    start_again_at_s: float = 0.0

    def start(self, now_s: float) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.started_at_s = now_s

    def note_end(self, now_s: float) -> int | None:
        """The exit status if the program has just ended; decides when it starts again."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        self.signal_group(signal.SIGKILL)  # its own children must not go on beside their successors
        self.process = None
        if now_s - self.started_at_s >= HEALTHY_AFTER_S:
            self.delay_s = FIRST_DELAY_S
        self.start_again_at_s = now_s + self.delay_s
        self.delay_s = min(self.delay_s * 2, LONGEST_DELAY_S)
        return status

    def signal_group(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


class Supervisor:
    """Keeps programs running until told to stop."""

    def __init__(self, programs: Sequence[Program], say: Callable[[str], None]) -> None:
        self.programs = list(programs)
        self.say = say

    def tend(self, now_s: float) -> None:
        """Start what is not running and due; to be called about every tenth of a second."""
        for program in self.programs:
            status = program.note_end(now_s)
            if status is not None:
                self.say(f"{program.name} ended ({status}) and starts again; see {program.log}")
            if program.process is None and now_s >= program.start_again_at_s:
                program.start(now_s)

    def stop(self) -> None:
        """Ask every program to end, the last started first; kill what is left after STOP_TIMEOUT_S."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for program in reversed(self.programs):
            if program.process is not None:
                with suppress(ProcessLookupError):
                    program.process.terminate()
        for program in reversed(self.programs):
            if program.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    program.process.wait(max(0.0, deadline - time.monotonic()))
                program.signal_group(signal.SIGKILL)
                program.process.wait()
                program.process = None


def marked_environment(data_dir: Path) -> dict[str, str]:
    """This environment with the mark that `kill_survivors` looks for; children inherit it."""
    return os.environ | {MARK: str(data_dir)}


def kill_survivors(data_dir: Path) -> int:
    """Kill what an earlier supervisor of `data_dir` left running; the number of processes.

    Only for whoever knows that no supervisor of the directory is alive. Linux only: elsewhere nothing is found.
    """
    survivors = [pid for pid in _process_ids() if _is_marked(pid, data_dir)]
    for pid in survivors:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(survivors)


def _process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if int(entry.name) != os.getpid()]


def _is_marked(pid: int, data_dir: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(f"{MARK}={data_dir}") in environment


def _end_with_parent() -> None:
    """Have the kernel end this child when its parent ends. Runs between fork and exec."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
