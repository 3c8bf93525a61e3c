"""Nobody waits before Django for longer than makes sense, and what waits is bounded; the probes never wait."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from config import reception
from config.reception import Reception


class Desk:
    """An application behind the reception: keeps every request until it is told to answer."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = scope["headers"]
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(bytes(message["body"]))
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(
    door: Reception, *pieces: bytes, path: str = "/v1/customers", ended: bool = True, chunked: bool = False
) -> tuple[int, bytes]:
    """The status and body answered to a request that comes in pieces; one that never ends if not `ended`."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False} if ended else {"type": "http.disconnect"})
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    length = (b"content-length", b"%d" % sum(map(len, pieces)))
    headers = [(b"transfer-encoding", b"chunked") if chunked else length]
    await door({"type": "http", "path": path, "headers": headers}, receive, send)
    return (sent[0]["status"], sent[1]["body"]) if sent else (0, b"")


def run(story: Callable[[Reception, Desk], Any]) -> None:
    async def told() -> None:
        desk = Desk()
        await story(Reception(desk), desk)

    asyncio.run(told())


async def waiting(door: Reception, count: int, *pieces: bytes) -> "list[asyncio.Task[tuple[int, bytes]]]":
    """So many requests that have come to the desk, or been turned away."""
    tasks = [asyncio.create_task(ask(door, *pieces)) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


def test_a_body_comes_whole_however_it_was_sent() -> None:
    async def story(door: Reception, desk: Desk) -> None:
        desk.may_answer.set()
        assert (await ask(door, b"{", b'"a":', b"1}"))[0] == 200
        assert desk.bodies == [b'{"a":1}']

    run(story)


def test_what_comes_in_chunks_to_a_front_door_has_its_length_counted() -> None:
    async def story(door: Reception, desk: Desk) -> None:
        desk.may_answer.set()
        assert (await ask(door, b"{", b"}", path="/ingest/otlp/v1/traces", chunked=True))[0] == 200
        assert (desk.bodies, desk.headers) == ([b"{}"], [(b"content-length", b"2")])

    run(story)


def test_chunks_to_a_front_door_end_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "DOORS_LIMIT", 10)

    async def story(door: Reception, desk: Desk) -> None:
        status, body = await ask(door, b"x" * 6, b"x" * 6, path="/ingest/litellm", chunked=True)
        assert (status, json.loads(body)["type"]) == (413, "/problems/too-large")
        assert desk.bodies == []

    run(story)


def test_who_leaves_before_his_body_is_complete_comes_to_nobody() -> None:
    async def story(door: Reception, desk: Desk) -> None:
        assert await ask(door, b"{", ended=False) == (0, b"")
        assert desk.bodies == []

    run(story)


def test_more_requests_than_can_be_served_soon_are_turned_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_REQUESTS", 3)

    async def story(door: Reception, desk: Desk) -> None:
        kept = await waiting(door, 3, b"{}")
        status, body = await ask(door, b"{}")
        assert (status, json.loads(body)["type"]) == (503, "/problems/unavailable")
        desk.may_answer.set()
        assert [status for status, _ in await asyncio.gather(*kept)] == [200] * 3
        assert (await ask(door, b"{}"))[0] == 200

    run(story)


def test_who_is_still_sending_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_REQUESTS", 1)

    async def story(door: Reception, desk: Desk) -> None:
        desk.may_answer.set()
        slow = await waiting(door, 5, *[b"x"] * 100)
        assert (await ask(door, b"{}"))[0] == 200
        assert desk.bodies == [b"{}"]
        await asyncio.gather(*slow)

    run(story)


def test_more_bytes_than_fit_are_turned_away_and_make_room_when_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_BYTES", 100)

    async def story(door: Reception, desk: Desk) -> None:
        kept = await waiting(door, 2, b"x" * 40)
        assert (await ask(door, b"x" * 15, b"x" * 15))[0] == 503
        assert (await ask(door, b"x" * 10, ended=False))[0] == 0
        desk.may_answer.set()
        await asyncio.gather(*kept)
        assert (await ask(door, b"x" * 100))[0] == 200

    run(story)


def test_a_body_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "DEADLINE_S", 0.0)
    monkeypatch.setattr(reception, "SLOWEST_BYTES_PER_S", 10**9)

    async def story(door: Reception, desk: Desk) -> None:
        assert (await ask(door, *[b"x"] * 1_000))[0] == 408
        assert desk.bodies == []

    run(story)


def test_the_probe_is_answered_while_everybody_else_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_REQUESTS", 0)

    async def story(door: Reception, desk: Desk) -> None:
        assert (await ask(door))[0] == 503
        assert await ask(door, path="/livez") == (200, b'{"status":"alive"}')

    run(story)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
def test_a_request_without_a_body_waits_for_none(headers: list[tuple[bytes, bytes]]) -> None:
    answered = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answered.append(scope["path"])

    async def receive() -> Any:
        raise AssertionError("there is nothing to read")

    asyncio.run(Reception(app)({"type": "http", "path": "/v1/customers", "headers": headers}, receive, receive))
    assert answered == ["/v1/customers"]
