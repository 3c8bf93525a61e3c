"""Bodies of events on their way in: no more of them at a time than a process can keep."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from metering import door
from metering.door import Disconnected, arriving, read_in_time
from metering.group_commit import Overloaded


class Sender:
    """Sends a body piece by piece, the next one when it is told to; and leaves where there is None."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces = list(pieces)
        self.goes_on = asyncio.Semaphore(0)

    async def receive(self) -> Any:
        await self.goes_on.acquire()
        piece = self._pieces.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


async def reading(senders: Iterable[Sender], length: int) -> "list[asyncio.Task[bytes]]":
    """Everybody's first piece has come."""
    tasks = [asyncio.create_task(read_in_time(sender.receive, length)) for sender in senders]
    for sender in senders:
        sender.goes_on.release()
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


def test_what_is_arriving_is_bounded_and_makes_room_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_ARRIVING_BYTES", 100)

    async def story() -> None:
        two = [Sender(b"x" * 40, b"y" * 10) for _ in range(2)]
        read = await reading(two, 50)
        [turned_away] = await reading([Sender(b"x" * 30, b"")], 30)
        with pytest.raises(Overloaded):
            await turned_away
        for sender in two:
            sender.goes_on.release()
        assert await asyncio.gather(*read) == [b"x" * 40 + b"y" * 10] * 2
        [whole] = await reading([Sender(b"x" * 90)], 90)
        assert await whole == b"x" * 90

    asyncio.run(story())
    assert arriving.bytes == 0


def test_who_leaves_takes_his_part_with_him() -> None:
    async def story() -> None:
        gone = Sender(b"x" * 40, None)
        [read] = await reading([gone], 50)
        assert arriving.bytes == 40
        gone.goes_on.release()
        with pytest.raises(Disconnected):
            await read

    asyncio.run(story())
    assert arriving.bytes == 0
