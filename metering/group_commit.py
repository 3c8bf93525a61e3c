"""How do many waiting requests share one commit? A thread that answers whatever has come while it was busy, together.

A commit costs the same for one event as for hundreds. So nobody waits for company, but everybody who had to wait
anyway is stored in the next transaction, and answered after its commit.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from metering.receiving import Reply, Sent, receive

GROUP_BYTES = 256 * 1024
"""Of bodies in one transaction, unless one alone is larger: a thousand events, or several hundred requests of one."""
MOST_WAITING_BYTES = 32 * 1024 * 1024
"""Beyond this, requests are turned away instead of kept: the memory of a process stays bounded."""
IDLE_S = 5.0


class Overloaded(Exception):
    """More is waiting than this process will keep."""


class Waiting(NamedTuple):
    """A request and who waits for its answer."""

    sent: Sent
    answered: "asyncio.Future[Reply]"


class GroupCommit:
    """The queue in front of the one thread of a process that stores events."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None

    async def answer(self, sent: Sent) -> Reply:
        """The answer to a request, after its commit. Raises Overloaded, and then nothing is stored."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(sent, loop.create_future())
        with self._arrived:
            if self._waiting_bytes > MOST_WAITING_BYTES:
                raise Overloaded
            if self._thread is None:  # not before: a process that has forked has no threads
                self._thread = threading.Thread(target=self._run, args=(loop,), name="group-commit", daemon=True)
                self._thread.start()
            self._waiting.append(waiting)
            self._waiting_bytes += len(sent.body)
            self._arrived.notify()
        return await waiting.answered

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            group = self._next_group()
            replies = receive([waiting.sent for waiting in group], now=timezone.now())
            loop.call_soon_threadsafe(_deliver, group, replies)

    def _next_group(self) -> list[Waiting]:
        with self._arrived:
            while not self._waiting:
                if not self._arrived.wait(IDLE_S):
                    connection.close_if_unusable_or_obsolete()
            group = [self._waiting.popleft()]
            size = len(group[0].sent.body)
            while self._waiting and size + len(self._waiting[0].sent.body) <= GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += len(group[-1].sent.body)
            self._waiting_bytes -= size
            return group


def _deliver(group: Sequence[Waiting], replies: Sequence[Reply]) -> None:
    for waiting, reply in zip(group, replies, strict=True):
        if not waiting.answered.done():  # the caller may have gone
            waiting.answered.set_result(reply)
