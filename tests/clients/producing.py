"""How do the tests run a producer: with the client alone, as a product has it, and to which end?"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "python" / "src"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(CLIENT),
    "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of fork beside threads, which is what is tested
}
WITHIN_S = 30.0


class Producer:
    """A process that records calls (see producer.py), ended with its test at the latest."""

    def __init__(
        self, url: str, spool: Path | None, name: str, calls: int, then: str = "wait", *, key: str = "pk_test"
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said, self._complaints = (Path(self._folder.name) / stream for stream in ("said", "complaints"))
        program = str(Path(__file__).with_name("producer.py"))
        with self._said.open("wb") as said, self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, program, url, str(spool or ""), name, str(calls), then],
                env={**ENVIRONMENT, "PARLEY_KEY": key},
                stdout=said,
                stderr=complaints,
            )

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @property
    def recorded(self) -> list[str]:
        """The ids of the calls that it said are recorded; a line that its end cut off is none."""
        return self._said.read_text().rpartition("\n")[0].split()

    def wait_for_calls(self, count: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while len(self.recorded) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self) -> list[str]:
        """kill -9; what it had recorded."""
        self._process.kill()
        self._process.wait()
        return self.recorded

    def ask_to_end(self) -> None:
        self._process.terminate()

    def finish(self) -> list[str]:
        """Let it end by itself; what it recorded."""
        code = self._process.wait(WITHIN_S)
        complaints = self._complaints.read_text()
        assert (code, complaints) == (0, ""), complaints
        return self.recorded
