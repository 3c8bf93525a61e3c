"""A connection to the events door without a socket: what a client sends, and what is written to it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import httptools
import pytest
import uvicorn
from django.db import transaction
from uvicorn.server import ServerState

from config import event_protocol
from config.asgi import application
from config.event_protocol import EventProtocol
from metering import door
from metering.group_commit import GroupCommit
from metering.usage_lock import take_usage_lock
from tests.cast import acme
from tests.metering.loops import Loop
from tests.metering.requests import an_event, authorization

LONG = ("X-Long: a\tb",)
"""A header that only the parser reads."""


class Answer(NamedTuple):
    """As it was written."""

    status: int
    headers: dict[str, str]
    body: bytes


class Answers:
    """Takes apart what a server has written."""

    def __init__(self, written: bytes) -> None:
        self.whole: list[Answer] = []
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(written)

    def on_message_begin(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole.append(Answer(self.parser.get_status_code(), self.headers, self.body))


class Wire(asyncio.Transport):
    """What a protocol writes to, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.is_read = True
        self.changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data
        self.changed.set()

    def close(self) -> None:
        self.closed = True
        self.changed.set()

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class Line:
    """A client's connection to the protocol. To be made and used in the event loop."""

    def __init__(self, **options: Any) -> None:
        state = ServerState()
        state.default_headers = [(b"date", b"today")]
        self.wire = Wire()
        self.protocol = EventProtocol(configured(**options), state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.wire)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.closed:
                self.protocol.data_received(piece)

    async def answers(self, number: int) -> list[Answer]:
        """The first so many, once they are there or the connection is closed."""
        while len(whole := Answers(self.wire.written).whole) < number and not self.wire.closed:
            self.wire.changed.clear()
            await self.wire.changed.wait()
        return whole

    async def answer(self) -> Answer:
        [answer] = await self.answers(1)
        return answer

    async def is_closed(self) -> bool:
        while not self.wire.closed:
            self.wire.changed.clear()
            await self.wire.changed.wait()
        return True


@cache
def configured(**options: Any) -> uvicorn.Config:
    config = uvicorn.Config(application, ws="none", lifespan="off", log_config=None, access_log=False, **options)
    config.load()
    return config


def as_sent(body: bytes, *headers: str, key: str = "nonsense", version: str = "1.1") -> bytes:
    """A request for the events door."""
    usual = ("Host: localhost", f"Authorization: Bearer {key}", "Content-Type: application/json")
    head = [f"POST /v1/events HTTP/{version}", *usual, f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class Desk:
    """What a test needs: an event loop, requests that are accepted, and a door that can be kept busy."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.key = authorization().removeprefix("Bearer ")

    def event(self, event_id: str, *headers: str, version: str = "1.1") -> bytes:
        body = json.dumps({"events": [an_event(event_id), {"id": event_id}]}).encode()
        return as_sent(body, *headers, key=self.key, version=version)

    def run(self, scenario: Any) -> Any:
        return self.loop.run(scenario)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Meanwhile events are taken in and not answered."""
        with transaction.atomic():
            take_usage_lock(acme().id)
            yield

    async def line(self, *pieces: bytes, **options: Any) -> Line:
        """A connection on which this has come."""
        line = Line(**options)
        line.send(*pieces)
        return line


def who(answer: Answer) -> str:
    """Of which event the answer tells."""
    return str(json.loads(answer.body)["results"][-1]["id"])


@pytest.fixture
def desk(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Desk:
    acme()
    own = GroupCommit()
    monkeypatch.setattr(event_protocol, "group_commit", own)
    monkeypatch.setattr(door, "group_commit", own)
    return Desk(loop)
