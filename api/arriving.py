"""How much of requests' bodies does a process keep while they come? So much; beyond it the largest have to go.

A body that comes slowly costs nothing but the memory for what has come of it. A few clients that send much and never
end would take all there is, and shut out everybody: so what is turned away is not who comes last but what is largest,
and whoever sends little gets in however many hold up large ones.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.asgi import Receive
from api.bodies import require_within
from api.problems import timed_out, unavailable


class Gone(Exception):
    """The client has gone before its body was complete: there is nobody to answer."""


class _Body:
    """What has come of a body."""

    def __init__(self) -> None:
        self.come = bytearray()
        self.turned_away = False


class Arriving:
    """The bodies that a process keeps, of `most_bytes` together."""

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most_bytes = most_bytes
        self._coming: set[_Body] = set()

    @asynccontextmanager
    async def whole(self, receive: Receive, *, most: int, within_s: float) -> AsyncIterator[bytearray]:
        """A body of `most` bytes at most, which counts as kept until the block ends.

        Raises Problem 408 if it takes longer than `within_s`, 413 if it is longer than `most`, 503 where there is no
        room for it, and Gone.
        """
        body = _Body()
        self._coming.add(body)
        try:
            async with asyncio.timeout(within_s):
                await self._read(receive, body, most)
            self._coming.discard(body)
            yield body.come
        except TimeoutError:
            if body not in self._coming:
                raise  # of whoever has the body by now
            raise timed_out(f"The body did not come within {within_s:.0f} seconds.") from None
        finally:
            self._coming.discard(body)
            self.held_bytes -= len(body.come)

    async def _read(self, receive: Receive, body: _Body, most: int) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            if body.turned_away:
                raise unavailable()
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            body.come += piece
            self.held_bytes += len(piece)
            require_within(len(body.come), most)
            self._make_room(body)

    def _make_room(self, newcomer: _Body) -> None:
        """Let go of the largest bodies that are not complete. Raises Problem 503 if that is the newcomer's."""
        while self.held_bytes > self._most_bytes:
            largest = max(self._coming, key=lambda body: len(body.come))
            if largest is newcomer:
                raise unavailable()
            self.held_bytes -= len(largest.come)
            largest.come = bytearray()
            largest.turned_away = True
