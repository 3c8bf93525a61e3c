"""What waits to be sent, and where? In memory here; on disk in `spool`. Both hand out batches in the order of arrival.

A batch is due when it is full, when its first record has waited for `linger_s`, or when somebody asks for all there is
(`mark`). Whoever takes a batch says `done` or `put_back`. Buffers are guarded by the lock they are given.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Optional, Protocol

from parley_client.api import body_length
from parley_client.problems import NoRoom

Lock = threading.Condition
Reached = Callable[[], bool]


class Limits(NamedTuple):
    """When a batch is full, and how long its first record waits for it to be."""

    events: int
    body_bytes: int
    linger_s: float

    def full(self, events: int, events_bytes: int) -> bool:
        return events >= self.events or body_length(events_bytes, events) >= self.body_bytes

    def fits(self, record: bytes, events: int, events_bytes: int) -> bool:
        """Whether a record goes in with the others; alone it always does."""
        length = body_length(events_bytes + len(record), events + 1)
        return not events or (events < self.events and length <= self.body_bytes)


class Batch(NamedTuple):
    """Records to send in one request; exactly one of the two is called when that is over."""

    records: list[bytes]
    done: Callable[[], None]
    put_back: Callable[[], None]


class Buffer(Protocol):
    """What memory and spool have in common."""

    def append(self, record: bytes) -> bool:
        """Keep a record; True if a batch became full. Raises NoRoom, OSError."""

    def take(self) -> Optional[Batch]:
        """The next batch that is due, if one is. For one thread."""

    def mark(self) -> Reached:
        """Make everything kept so far due; the answer tells whether all of it has left."""

    def forget_parent(self, lock: Lock) -> None:
        """In a forked child: everything here is the parent's business."""


class Memory:
    """Records in memory, `max_bytes` of them at most."""

    _waiting: deque[bytes]
    _taken: list[bytes]  # being sent
    _bytes: int  # of both
    _came: int  # records, ever; of them have _left, and are due _due_until
    _left: int
    _due_until: int
    _since_s: float  # since when the first one waits

    def __init__(self, lock: Lock, limits: Limits, max_bytes: int) -> None:
        self._lock = lock
        self._limits = limits
        self._max_bytes = max_bytes
        self._start()

    def append(self, record: bytes) -> bool:
        with self._lock:
            if self._bytes + len(record) > self._max_bytes:
                raise NoRoom(f"{len(self._waiting):,} events wait in memory already")
            if not self._waiting:
                self._since_s = time.monotonic()
            self._waiting.append(record)
            self._bytes += len(record)
            self._came += 1
            return self._limits.full(len(self._waiting), self._bytes)

    def take(self) -> Optional[Batch]:
        with self._lock:
            if not self._is_due():
                return None
            records: list[bytes] = []
            length = 0
            while self._waiting and self._limits.fits(self._waiting[0], len(records), length):
                records.append(self._waiting.popleft())
                length += len(records[-1])
            self._since_s = time.monotonic()
            self._taken = records
            return Batch(records, self._done, self._put_back)

    def mark(self) -> Reached:
        with self._lock:
            wanted = self._due_until = self._came
        return lambda: self._left >= wanted

    def forget_parent(self, lock: Lock) -> None:
        self._lock = lock
        self._start()

    def give_up(self) -> list[bytes]:
        """All that nobody has answered for, which is then kept no longer."""
        with self._lock:
            records = [*self._taken, *self._waiting]
            self._start()
            return records

    def _done(self) -> None:
        with self._lock:
            self._left += len(self._taken)
            self._bytes -= sum(map(len, self._taken))
            self._taken = []

    def _put_back(self) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(self._taken))
            self._taken = []

    def _start(self) -> None:
        self._waiting = deque()
        self._taken = []
        self._bytes = self._came = self._left = self._due_until = 0
        self._since_s = 0.0

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        overdue = time.monotonic() - self._since_s >= self._limits.linger_s
        return overdue or self._left < self._due_until or self._limits.full(len(self._waiting), self._bytes)
