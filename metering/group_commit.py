"""How do many waiting requests share one commit? A thread that answers whatever has come while it was busy, together.

A commit costs the same for one event as for hundreds. Who comes alone is stored at once. Where many come, each waits
a moment for as many as there were before: those who have just been answered are about to come again.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from api.bodies import claimed_size
from api.metrics import count_group, count_requests
from api.problems import problem_for
from metering.ingest import EVENTS
from metering.receiving import Reply, Sent, receive

logger = logging.getLogger(__name__)

GROUP_BYTES = 256 * 1024
"""Of bodies, unpacked, in one transaction, unless one alone is larger: some thousand events."""
MOST_WAITING_BYTES = 32 * 1024 * 1024
"""Beyond this, requests are turned away instead of kept: the memory of a process stays bounded."""
COMPANY_S = 0.003
"""How long a request waits for those who, by the last group, are likely to come as well."""
QUIET_S = 1.0
"""After so long without a request, the connection is looked at before it is used."""


class Overloaded(Exception):
    """More is waiting than this process will keep."""


class Waiting(NamedTuple):
    """A request, when it came, and what to call with its answer."""

    sent: Sent
    since_s: float
    deliver: Callable[[Reply], None]


class GroupCommit:
    """The queue in front of the one thread of a process that stores events."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = threading.Condition()
        self._company = 1  # so many requests are worth waiting for
        self._thread: threading.Thread | None = None

    def submit(self, sent: Sent, deliver: Callable[[Reply], None]) -> None:
        """Have a request answered: `deliver` is called in this event loop, after the commit.

        Raises Overloaded, and then nothing is stored.
        """
        if self._waiting_bytes > MOST_WAITING_BYTES:
            raise Overloaded
        if self._thread is None or not self._thread.is_alive():  # made late: a fork leaves threads behind
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="group-commit", daemon=True)
            self._thread.start()
        with self._arrived:
            self._waiting.append(Waiting(sent, time.monotonic(), deliver))
            self._waiting_bytes += len(sent.body)
            if len(self._waiting) in (1, self._company):
                self._arrived.notify()

    async def answer(self, sent: Sent) -> Reply:
        """The answer to a request, after its commit. Raises Overloaded, and then nothing is stored."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.submit(sent, lambda reply: None if answered.done() else answered.set_result(reply))  # or the caller left
        return await answered

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                since_s = time.monotonic()
                group = self._next_group()
                if time.monotonic() - since_s > QUIET_S:  # the database may have been started anew, unnoticed
                    connection.close_if_unusable_or_obsolete()
                    connection.close_if_health_check_failed()
                replies = _received([waiting.sent for waiting in group])
                with self._arrived:
                    # Who came meanwhile is none of those who are answered now, and these are about to come again.
                    self._company = len(group) + len(self._waiting)
                loop.call_soon_threadsafe(_deliver, group, replies)
                _count(group, replies)
        finally:
            connection.close()

    def _next_group(self) -> list[Waiting]:
        with self._arrived:
            while not self._waiting:
                self._arrived.wait()
            self._arrived.wait_for(self._has_company, COMPANY_S)
            group = [self._waiting.popleft()]
            size = _unpacked_bytes(group[0])
            while self._waiting and size + _unpacked_bytes(self._waiting[0]) <= GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += _unpacked_bytes(group[-1])
            self._waiting_bytes -= sum(len(waiting.sent.body) for waiting in group)
            return group

    def _has_company(self) -> bool:
        return len(self._waiting) >= self._company or self._waiting_bytes >= GROUP_BYTES


def _unpacked_bytes(waiting: Waiting) -> int:
    """Of the body, as it claims."""
    body, packed = waiting.sent.body, waiting.sent.content_encoding is not None
    return claimed_size(body) if packed else len(body)


def _count(group: Sequence[Waiting], replies: Sequence[Reply]) -> None:
    count_group(len(group))
    now_s = time.monotonic()
    seconds = defaultdict(list)
    for waiting, reply in zip(group, replies, strict=True):
        seconds[reply.status].append(now_s - waiting.since_s)
    for status, of_status in seconds.items():
        count_requests(EVENTS, status, of_status)


def _received(requests: Sequence[Sent]) -> list[Reply]:
    """An answer to each, whatever happens: nobody else will give one."""
    try:
        return receive(requests, now=timezone.now())
    except Exception as error:
        problem = problem_for(error, "POST", "/v1/events")
        return [Reply(problem.status, *problem.rendered())] * len(requests)


def _deliver(group: Sequence[Waiting], replies: Sequence[Reply]) -> None:
    for waiting, reply in zip(group, replies, strict=True):
        try:
            waiting.deliver(reply)
        except Exception:
            logger.exception("an answer could not be delivered")
