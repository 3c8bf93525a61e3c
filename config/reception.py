"""Who is let in to Django's few threads, and when? Whole requests only, and no more than can be served soon.

A thread that waited for a slow body would serve nobody meanwhile, and four such bodies nobody at all. So a body is read
here, where waiting costs nothing, and Django gets it whole. What waits is bounded in bytes (api.arriving) and in
number; whoever comes beyond that is turned away at once instead of being kept until his patience ends. The probes of
api.health need no thread, so that they are answered when all of those are busy.
"""

import asyncio
import time

from api.arriving import Arriving, Gone
from api.asgi import App, Message, Receive, Send, send_whole
from api.bodies import BODY_LIMIT
from api.health import LIVEZ, READYZ, liveness, readiness
from api.problems import Problem, unavailable
from metering.views.doors import BODY_LIMIT as DOORS_LIMIT

MOST_REQUESTS = 128
"""Come whole, and not yet answered, in one process."""
MOST_BYTES = 64 * 1024 * 1024
"""Of bodies read and not yet answered, in one process."""
DOORS = "/ingest/"
"""Some of their clients send in chunks whatever they pack; it is up to us to count."""
PROBED = {"Content-Type": "application/json", "Cache-Control": "no-store"}
DEADLINE_S, SLOWEST_BYTES_PER_S = 10.0, 256 * 1024


class Reception:
    """The ASGI application in front of another one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._requests = 0
        self._bodies = Arriving(MOST_BYTES)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer the probes, turn away or let in."""
        try:
            if scope["path"] in (LIVEZ, READYZ):
                await send_whole(send, 200, PROBED, await _probe(scope["path"]))
            else:
                await self._let_in(_without_twins(scope), receive, send)
        except Problem as problem:
            await send_whole(send, problem.status, *problem.rendered())
        except Gone:
            return

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        length, most = _announced(scope), _read_whole(scope["path"])
        comes_in_chunks = length is None and scope["path"].startswith(DOORS)
        if not comes_in_chunks and (length is None or not 0 < length <= most):
            await self._have_answered(scope, receive, send)
            return
        most = most if length is None else length
        within_s = DEADLINE_S + most / SLOWEST_BYTES_PER_S
        async with self._bodies.whole(receive, most=most, within_s=within_s) as body:
            if comes_in_chunks:
                scope = _with_length(scope, len(body))
            await self._have_answered(scope, _replay(body, receive), send)

    async def _have_answered(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._requests >= MOST_REQUESTS:
            raise unavailable()
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1


def _read_whole(path: str) -> int:
    """Announced larger, a body is left to the view, which refuses it unread or takes it piece by piece."""
    return DOORS_LIMIT if path.startswith(DOORS) else BODY_LIMIT


def _announced(scope: Message) -> int | None:
    """The length of the body, where one is announced that can be read; Django says what is wrong with another."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return int(length) if b"transfer-encoding" not in headers and length.isdigit() else None


def _with_length(scope: Message, length: int) -> Message:
    """A request that came in chunks, as if it had announced its length."""
    others = [
        (name, value) for name, value in scope["headers"] if name not in (b"transfer-encoding", b"content-length")
    ]
    return {**scope, "headers": [*others, (b"content-length", b"%d" % length)]}


def _replay(body: bytearray, receive: Receive) -> Receive:
    """Gives the body as one message, and after it what comes next."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _without_twins(scope: Message) -> Message:
    """Without headers that have an underscore in their name: Django could not tell them from those with a dash.

    A proxy that sets X-Forwarded-Proto lets X_Forwarded_Proto through.
    """
    return {**scope, "headers": [header for header in scope["headers"] if b"_" not in header[0]]}


async def _probe(path: str) -> bytes:
    return liveness() if path == LIVEZ else await asyncio.to_thread(readiness, time.monotonic())
