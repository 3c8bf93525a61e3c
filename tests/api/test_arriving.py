"""Bodies on their way in: no more of them than a process can keep, and whoever sends little is never shut out."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from api.arriving import Arriving, Gone
from api.problems import Problem


class Sender:
    """Sends a body piece by piece, each when it is told to; and leaves where there is None."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces = list(pieces)
        self._may = asyncio.Semaphore(0)

    async def receive(self) -> Any:
        await self._may.acquire()
        piece = self._pieces.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}

    async def goes_on(self, pieces: int = 1) -> None:
        for _ in range(pieces):
            self._may.release()
        for _ in range(10):
            await asyncio.sleep(0)


async def body_of(sender: Sender, arriving: Arriving, *, most: int = 1_000, within_s: float = 60.0) -> bytes:
    async with arriving.whole(sender.receive, most=most, within_s=within_s) as body:
        return bytes(body)


async def status_of(reading: "asyncio.Task[bytes]") -> int:
    with pytest.raises(Problem) as caught:
        await reading
    return caught.value.status


def told(story: Callable[[Arriving], Coroutine[Any, Any, None]]) -> None:
    """Afterwards nothing is kept."""
    arriving = Arriving(100)
    asyncio.run(story(arriving))
    assert arriving.held_bytes == 0


def test_the_largest_has_to_go_and_whoever_sends_little_gets_in() -> None:
    async def story(arriving: Arriving) -> None:
        large, small = [Sender(b"x" * 45, b"x") for _ in range(2)], Sender(b"y" * 20)
        read = [asyncio.create_task(body_of(sender, arriving)) for sender in large]
        for sender in large:
            await sender.goes_on()
        newcomer = asyncio.create_task(body_of(small, arriving))
        await small.goes_on()
        assert await newcomer == b"y" * 20
        for sender in large:
            await sender.goes_on()
        results = await asyncio.gather(*read, return_exceptions=True)
        assert sorted(str(getattr(result, "status", "whole")) for result in results) == ["503", "whole"]

    told(story)


def test_whoever_is_the_largest_himself_is_turned_away() -> None:
    async def story(arriving: Arriving) -> None:
        small, large = Sender(b"x" * 40, b"x"), Sender(b"y" * 61)
        waiting = asyncio.create_task(body_of(small, arriving))
        await small.goes_on()
        newcomer = asyncio.create_task(body_of(large, arriving))
        await large.goes_on()
        assert await status_of(newcomer) == 503
        await small.goes_on()
        assert await waiting == b"x" * 41

    told(story)


def test_what_is_complete_is_kept_until_it_has_been_dealt_with() -> None:
    async def story(arriving: Arriving) -> None:
        first = Sender(b"x" * 60)
        await first.goes_on()
        async with arriving.whole(first.receive, most=60, within_s=60.0) as body:
            second = Sender(b"y" * 50)
            await second.goes_on()
            assert await status_of(asyncio.create_task(body_of(second, arriving))) == 503
            assert bytes(body) == b"x" * 60
        third = Sender(b"z" * 100)
        await third.goes_on()
        assert len(await body_of(third, arriving)) == 100

    told(story)


def test_a_body_that_is_too_long_too_slow_or_never_ends_leaves_nothing() -> None:
    async def story(arriving: Arriving) -> None:
        long, slow, gone = Sender(b"x" * 11), Sender(b"x" * 5, b"x"), Sender(b"x" * 5, None)
        await long.goes_on()
        assert await status_of(asyncio.create_task(body_of(long, arriving, most=10))) == 413
        await slow.goes_on()
        assert await status_of(asyncio.create_task(body_of(slow, arriving, within_s=0.01))) == 408
        await gone.goes_on(2)
        with pytest.raises(Gone):
            await body_of(gone, arriving)

    told(story)
