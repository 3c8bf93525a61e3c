"""An event loop as a web server has it: in a thread of its own, beside the test, which may use the database."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import connection

END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""
PATIENCE_S = 30.0


class Loop:
    """Runs in its thread until it is ended."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._loop.run_forever)
        self.thread.start()

    def start(self, call: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns, in time."""
        return self.start(asyncio.wait_for(call, PATIENCE_S)).result()

    def has_begun_all(self) -> None:
        """Returns when everything started before has gone as far as it can without the database."""
        self.run(asyncio.sleep(0.05))

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join()
        self._loop.close()


@pytest.fixture
def loop(committed: None) -> Iterator[Loop]:
    """The threads of group commits sleep on when a test is over, without a connection."""
    running = Loop()
    yield running
    running.end()
    with connection.cursor() as cursor:
        cursor.execute(END_OTHERS)
