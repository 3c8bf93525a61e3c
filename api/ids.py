"""Which id does a new row get? UUID version 7 (RFC 9562): made in Python, sorted by creation.

The time is the whole point of such an id, so this is the one place below the views that reads a clock.
Layout of the 128 bits: 48 of Unix milliseconds, 4 version, 12 counter, 2 variant, 62 of which the upper 14 go on
with the counter and the lower 48 are random. Within a process ids only ever grow, also inside a millisecond, when
the clock steps back, and across threads.
"""

import os
import threading
import time
import uuid

_VERSION = 7 << 76
_VARIANT = 0b10 << 62
_COUNTER_BITS = 26
_COUNTER_LIMIT = 1 << _COUNTER_BITS
_RANDOM_BITS = 48

_lock = threading.Lock()
_last_ms = -1
_counter = 0


def uuid7(now_ms: int | None = None) -> uuid.UUID:
    """A new id; `now_ms` (Unix milliseconds) replaces the clock but never makes ids run backwards."""
    return _reserve(1, now_ms)[0]


def uuid7s(n: int, now_ms: int | None = None) -> list[uuid.UUID]:
    """`n` new ids in ascending order, for bulk inserts; cheaper than `n` calls of `uuid7`."""
    return _reserve(n, now_ms)


def _reserve(n: int, now_ms: int | None) -> list[uuid.UUID]:
    global _last_ms, _counter
    clock_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    noise = os.urandom(6 * n + 3)
    with _lock:
        if clock_ms > _last_ms:
            # The counter starts in the lower half, so that a millisecond holds at least 33 million ids.
            _last_ms, _counter = clock_ms, int.from_bytes(noise[-3:])
        position = _last_ms << _COUNTER_BITS | _counter
        _last_ms, _counter = divmod(position + n, _COUNTER_LIMIT)
    return [_compose(position + i, int.from_bytes(noise[6 * i : 6 * i + 6])) for i in range(n)]


def _compose(position: int, random: int) -> uuid.UUID:
    unix_ms, counter = divmod(position, _COUNTER_LIMIT)
    return uuid.UUID(
        int=unix_ms << 80 | _VERSION | (counter >> 14) << 64 | _VARIANT | (counter & 0x3FFF) << _RANDOM_BITS | random
    )


def _forget_position_of_parent() -> None:
    # A forked worker must not go on with its parent's counter: drop it and let the next millisecond seed it anew.
    global _last_ms, _lock
    _last_ms, _lock = -1, threading.Lock()


os.register_at_fork(after_in_child=_forget_position_of_parent)
