"""How is the work on very many batches spread over the processors of the database? Two batches at a time, in order.

Each is worked on by a thread, since a transaction needs a connection of its own, and Django's are one a thread. While
one of them waits for the database, the other one prepares the next statement.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from django.db import connection

AT_ONCE = 2
"""Batches being worked on: one keeps a processor of the database busy."""

Batch = TypeVar("Batch")
Done = TypeVar("Done")


def each_done(work: Callable[[Batch], Done], batches: Iterable[Batch]) -> Iterator[Done]:
    """What became of each batch, in their order; `work` does one in a transaction of its own.

    A single batch, and all of them within a transaction of the caller, whose rows no other connection sees, are worked
    on right here, one after the other.
    """
    coming = iter(batches)
    first_two = list(islice(coming, 2))
    if len(first_two) < 2 or connection.in_atomic_block:
        yield from map(work, chain(first_two, coming))
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: deque[Future[Done]] = deque()
        try:
            for batch in chain(first_two, coming):
                running.append(pool.submit(work, batch))
                if len(running) > AT_ONCE:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for waiting in running:
                waiting.cancel()
            _close_connections(pool)


def _close_connections(pool: ThreadPoolExecutor) -> None:
    """Those of the threads: nobody else does it when they end. Each waits for the others, so that each has its turn."""
    all_here = threading.Barrier(AT_ONCE)
    for _ in range(AT_ONCE):
        pool.submit(_close_connection, all_here)


def _close_connection(all_here: threading.Barrier) -> None:
    all_here.wait()
    connection.close()
