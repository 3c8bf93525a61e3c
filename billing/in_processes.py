"""How is a bill run spread over the processors? Batches go to processes of their own, two or more at a time.

Making invoices is mostly Python's work, which threads of one process do one after the other. A process is started
afresh, not forked: it shares neither a connection nor a lock with the one that started it.
"""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

import django
from django.db import connection

Map = Callable[..., Iterator[Any]]
"""What `map` is: the results in the order of what they came from."""


@contextmanager
def map_over(processes: int) -> Iterator[Map]:
    """A `map` whose function and arguments go to so many processes; with one, or in a transaction, it is done here.

    What a transaction of the caller has written, nobody else sees. A process that is killed ends it with
    BrokenProcessPool.
    """
    if processes == 1 or connection.in_atomic_block:
        yield map
        return
    database = str(connection.settings_dict["NAME"])
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(database,)) as pool:
        yield pool.map


def _begin(database: str) -> None:
    """Set up what the process that started this one has, on the same database; and end when that one does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    django.setup()
    connection.settings_dict["NAME"] = database
    gc.freeze()  # what was just imported stays, and need not be looked at again


def _end_with_parent() -> None:
    """The pool tells its processes to end, unless it is killed; then they would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
