"""What is a segment of the spool? A file of records, a line each, that is written once and sent as one batch.

Whoever writes or sends a segment holds its lock (flock), which the kernel frees with the process, however that ends. So
a segment that can be locked has nobody who would send it, and belongs to whoever locks it. A process killed while it
wrote leaves whole lines and at most one torn one, at the end.
"""

from __future__ import annotations

import errno
import io
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Optional

try:
    import fcntl
except ImportError:  # Windows
    LOCKS = False
else:
    LOCKS = True

SUFFIX = ".ndjson"


class Segment:
    """An open, locked file. Once closed it is anybody's who locks it."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self.path = path
        self._file = file
        self.events = 0
        self.bytes = 0
        """Of the records, without the ends of their lines."""

    @classmethod
    def begin(cls, folder: Path) -> Segment:
        """A new one to write, named so that segments sort by age. Raises OSError."""
        while True:
            path = folder / f"{time.time_ns():020}-{os.urandom(4).hex()}{SUFFIX}"
            file = io.FileIO(path, "x", opener=_private)
            if _lock(file):
                return cls(path, file)
            file.close()  # somebody took it for one that was left behind: a new one, then

    @classmethod
    def claim(cls, path: Path) -> Optional[Segment]:
        """One that was left; None where it is at work elsewhere, or gone."""
        try:
            file = io.FileIO(path, "r+")
        except FileNotFoundError:
            return None
        if _lock(file):
            return cls(path, file)
        file.close()
        return None

    def write(self, record: bytes, *, durable: bool) -> None:
        """All of it or, on OSError, nothing; once this returns it survives the process, if durable also the machine."""
        line = record + b"\n"
        start = self.bytes + self.events
        written = self._file.write(line)
        if written != len(line):
            os.ftruncate(self._file.fileno(), start)
            self._file.seek(start)
            raise OSError(errno.ENOSPC, "no space left for the spool", str(self.path))
        self.events += 1
        self.bytes += len(record)
        if durable:
            self.sync()

    def sync(self) -> None:
        """Returns when the disk has it."""
        os.fsync(self._file.fileno())

    def read(self) -> tuple[list[bytes], list[bytes]]:
        """The records, and what is none: a torn end, or what a crash of the machine left of a block."""
        self._file.seek(0)
        lines = self._file.readall().split(b"\n")
        records = [line for line in lines if line and _is_record(line)]
        return records, [line for line in lines if line and not _is_record(line)]

    def remove(self) -> None:
        """It was sent."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.release()

    def release(self) -> None:
        """Leave it to whoever locks it next."""
        if not self._file.closed:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()

    def forget(self) -> None:
        """In a forked child: let go of the file, but leave the parent its lock."""
        self._file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _lock(file: io.FileIO) -> bool:
    """False if another has it, or had it and removed the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
