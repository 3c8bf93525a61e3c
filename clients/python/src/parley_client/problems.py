"""What can go wrong with reporting usage, and who hears of it?

A `Problem` is told to the callback that the product gave, else to the log `parley_client`; nothing is dropped in
silence. The exceptions come out only where a caller asked for them: in strict mode, and from `Api`.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional

log = logging.getLogger("parley_client")

SAID_AGAIN_AFTER_S = 10.0
_LEVELS = {
    "rejected": logging.ERROR,
    "unreadable": logging.ERROR,
    "dropped": logging.ERROR,
    "refused": logging.ERROR,
    "quarantined": logging.INFO,
}
_REPEATED = frozenset({"dropped", "memory_only", "refused", "quarantined"})


class Problem(NamedTuple):
    """Something that went wrong with one event, or (`event` is None) with all that are waiting.

    `status` is what the server said of the event:
        rejected       it cannot be taken; it is not sent again
        conflict       its id is taken by another call, which stays as it is
        quarantined    it is kept by the server until its customer exists: no loss
    or what happened on this side:
        unreadable     a response without usage, model or provider, or a torn record in the spool: nothing was recorded
        dropped        there was no room for it, or the client was closed
        memory_only    it could not be spooled; it is sent, but would not survive the process
        refused        the server refuses the key or the address; all events are kept and tried again every minute
    """

    status: str
    detail: str
    event: Optional[Mapping[str, Any]] = None


class NotRecorded(Exception):
    """An event was not recorded."""


class UnreadableResponse(NotRecorded):
    """A response does not say what the call used, or of which model."""


class NoRoom(NotRecorded):
    """As much is waiting as may wait, or the client is closed."""


class ServerSilent(Exception):
    """The server did not take a request in all the time it was given."""


class RequestRefused(Exception):
    """The server understood a request and said no."""


Listener = Callable[[Problem], object]


class ProblemLog:
    """Writes problems to the log: every single one that concerns its event alone, the others at most every 10 s."""

    def __init__(self) -> None:
        self._said_at_s: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def __call__(self, problem: Problem) -> None:
        if problem.status in _REPEATED and not self._is_time_to_say(problem.status):
            self._unsaid[problem.status] += 1
            return
        event = "" if problem.event is None else f": {json.dumps(problem.event, default=str)}"
        log.log(_LEVELS.get(problem.status, logging.WARNING), "usage %s: %s%s", problem.status, problem.detail, event)
        self._say_how_many_more(problem.status)

    def say_the_rest(self) -> None:
        """How often what was said went unsaid since."""
        for status in list(self._unsaid):
            self._say_how_many_more(status)

    def _is_time_to_say(self, status: str) -> bool:
        now_s = time.monotonic()
        if now_s - self._said_at_s.get(status, -SAID_AGAIN_AFTER_S) < SAID_AGAIN_AFTER_S:
            return False
        self._said_at_s[status] = now_s
        return True

    def _say_how_many_more(self, status: str) -> None:
        if unsaid := self._unsaid.pop(status, 0):
            log.log(_LEVELS.get(status, logging.WARNING), "usage %s: %d more times before this", status, unsaid)


def tell(listener: Listener, problem: Problem) -> None:
    """Tell it, whatever the listener does with it: its errors are logged, for the product's path must go on."""
    try:
        listener(problem)
    except Exception:
        log.exception("the listener failed on %s", problem)
