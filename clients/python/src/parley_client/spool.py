"""How does usage outlive the process and wait for a server that is away? As files in a folder, the spool.

Every record is appended to a segment before it counts as recorded. A segment is sent as one batch and removed when the
server has answered for it. What a killed process leaves is sent by whoever next uses the folder; several processes may
share it. After a crash a batch may be sent once more, which the ids make harmless.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Literal, Optional

from parley_client.buffers import Batch, Limits, Lock, Reached
from parley_client.problems import NoRoom
from parley_client.segment import LOCKS, SUFFIX, Segment

Fsync = Literal["never", "interval", "always"]
"""What survives a power cut: what the system had written by itself; all but about a second; everything recorded.

All of them survive the end of the process, however it ends.
"""


class Spool:
    """Records on disk in `folder`, `max_bytes` of them at most; `torn` hears of what cannot be read there.

    Other processes' records count towards `max_bytes`, though only as of the last look at the folder, which is taken
    before each batch. Raises OSError where the folder cannot be made, RuntimeError where files cannot be locked.
    """

    def __init__(
        self, folder: Path, lock: Lock, limits: Limits, max_bytes: int, *, fsync: Fsync, torn: Callable[[str], object]
    ) -> None:
        if not LOCKS:
            raise RuntimeError("a spool needs flock, which this system does not have")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = lock
        self._limits = limits
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._torn = torn
        self._start()

    @property
    def is_left_over(self) -> bool:
        """Whether there is something to send that others may have left."""
        return bool(self._look())

    def append(self, record: bytes) -> bool:
        with self._lock:
            if self._bytes + len(record) > self._max_bytes:
                raise NoRoom(f"{self._bytes:,} bytes wait in the spool already")
            active = self._active_for(record)
            try:
                active.write(record, durable=self._fsync == "always")
            except OSError:
                self._seal()  # nothing may follow on what may be half a line
                raise
            self._bytes += len(record) + 1
            if not self._limits.full(active.events, active.bytes):
                return False
            self._seal()
            return True

    def take(self) -> Optional[Batch]:
        with self._lock:
            if self._active is not None and monotonic() - self._since_s >= self._limits.linger_s:
                self._seal()
        for looks_again in (False, True):
            if looks_again:
                self._found.extend(self._look())
            while self._found:
                if records := self._taken_from(self._found.popleft()):
                    return Batch(records, lambda: self._leave(Segment.remove), lambda: self._leave(Segment.release))
        return None

    def mark(self) -> Reached:
        with self._lock:
            self._seal()
            wanted = frozenset(self._sealed)
        return lambda: self._sealed.isdisjoint(wanted)

    def sync(self) -> None:
        """For the interval of that policy: bring to the disk what is not there yet."""
        with self._lock:
            if self._fsync == "interval" and self._active is not None:
                self._active.sync()

    def forget_parent(self, lock: Lock) -> None:
        for segment in (self._active, self._taken):
            if segment is not None:
                segment.forget()
        self._lock = lock
        self._start()

    def _start(self) -> None:
        self._active: Optional[Segment] = None  # being written
        self._taken: Optional[Segment] = None  # being sent
        self._sealed: set[str] = set()  # names of own segments that were not sent yet
        self._found: deque[Path] = deque()  # segments to try, by age
        self._bytes = 0
        self._since_s = 0.0

    def _active_for(self, record: bytes) -> Segment:
        if self._active is not None and not self._limits.fits(record, self._active.events, self._active.bytes):
            self._seal()
        if self._active is None:
            self._active = Segment.begin(self._folder)
            self._since_s = monotonic()
            self._sync_folder()
        return self._active

    def _seal(self) -> None:
        """Make what is being written a batch to be sent, by this process or another."""
        active, self._active = self._active, None
        if active is None:
            return
        self._sealed.add(active.path.name)
        if self._fsync != "never":
            active.sync()
        active.release()

    def _look(self) -> list[Path]:
        """The segments in the folder by age; also learns what others have sent, and how full the folder is."""
        with self._lock:
            sealed = frozenset(self._sealed)
        sizes: dict[str, int] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    with suppress(FileNotFoundError):  # sent meanwhile
                        sizes[entry.name] = entry.stat().st_size
        with self._lock:
            self._sealed -= sealed - sizes.keys()
            self._bytes = sum(sizes.values())
        return [self._folder / name for name in sorted(sizes)]

    def _taken_from(self, path: Path) -> list[bytes]:
        """The records of a segment that nobody else is at, which is then taken; none otherwise."""
        with self._lock:  # so that no fork happens before it is known as taken
            segment = self._taken = Segment.claim(path)
        if segment is None:
            return []
        records, torn = segment.read()
        for line in torn:
            self._torn(f"{len(line)} bytes in {path.name} are no record: {line[:200]!r}")
        if not records:
            self._leave(Segment.remove)
        return records

    def _leave(self, end: Callable[[Segment], None]) -> None:
        with self._lock:
            taken, self._taken = self._taken, None
            if taken is not None:
                end(taken)
                if not taken.path.exists():
                    self._sealed.discard(taken.path.name)

    def _sync_folder(self) -> None:
        """A new file is safe from a power cut only when its folder is."""
        if self._fsync == "never":
            return
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
