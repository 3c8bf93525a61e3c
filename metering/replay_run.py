"""What has become of a replay? Batches sent over several connections at once, counted by file."""

import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tqdm import tqdm

from metering.replaying import Batch, Survey
from parley_client import Api, Outcome, RequestRefused, ServerSilent
from parley_client.api import STATUSES


class Remark(NamedTuple):
    """What a server said of one line."""

    source: str
    line: int
    id: str
    status: str
    detail: str


class Replay:
    """Batches on their way over several connections, and what has become of them so far."""

    def __init__(self, found: Survey) -> None:
        self.found = found
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.remarks: list[Remark] = []
        self.failure: Exception | None = None
        self._lock = threading.Lock()
        for bad in found.unreadable:
            self.counts[bad.source]["rejected"] += 1
            self.remarks.append(Remark(bad.source, bad.line, "", "rejected", bad.detail))

    def run(self, apis: list[Api], pieces: Iterator[Batch]) -> None:
        """Send everything, or stop at the first failure, which is then in `failure`."""
        # disable=None: no bar where nobody watches a terminal
        bar = tqdm(total=self.found.events.total(), unit=" events", disable=None, file=sys.stderr)
        with bar, ThreadPoolExecutor(len(apis)) as threads:
            tasks = [threads.submit(self._send_until_done, api, pieces, bar) for api in apis]
            try:
                for task in tasks:
                    task.result()
            except KeyboardInterrupt:
                self.failure = RequestRefused("interrupted")  # the threads end with the batch they are at

    def total(self, status: str | None = None) -> int:
        """Lines that became this, or all that became anything."""
        return sum(counts[status] if status else counts.total() for counts in self.counts.values())

    def table(self) -> str:
        """A line a file: how many events became what."""
        heads = ("sent", *STATUSES)
        rows = [(name, [counts.total(), *(counts[s] for s in STATUSES)]) for name, counts in self._by_file()]
        if len(rows) > 1:
            rows.append(("all", [sum(column) for column in zip(*(row for _, row in rows), strict=True)]))
        width = max(len("file"), *(len(name) for name, _ in rows))
        lines = [f"{'file':<{width}}" + "".join(f"{head:>13}" for head in heads)]
        lines += [f"{name:<{width}}" + "".join(f"{number:>13,}" for number in row) for name, row in rows]
        return "\n".join(lines)

    def _by_file(self) -> list[tuple[str, Counter[str]]]:
        return [(name, self.counts[name]) for name in self.found.events]

    def _send_until_done(self, api: Api, pieces: Iterator[Batch], bar: Any) -> None:
        try:
            while (batch := self._next(pieces)) is not None:
                outcome = api.send([line.json for line in batch.lines])
                with self._lock:
                    self._add(batch, outcome)
                    bar.update(len(batch.lines))
        except (ServerSilent, RequestRefused, OSError) as error:
            self.failure = self.failure or error

    def _next(self, pieces: Iterator[Batch]) -> Batch | None:
        with self._lock:
            return None if self.failure else next(pieces, None)

    def _add(self, batch: Batch, outcome: Outcome) -> None:
        self.counts[batch.source] += outcome.counts
        self.remarks += [
            Remark(batch.source, batch.lines[said.place].number, said.id, said.status, said.detail)
            for said in outcome.remarks
        ]
