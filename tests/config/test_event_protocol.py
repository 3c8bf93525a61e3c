"""Is the short way for events the same HTTP as the long way? Whatever comes in whichever pieces, in order, whole."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import httptools
import pytest
import uvicorn
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from config import event_protocol, http_protocol
from config.asgi import application
from config.event_protocol import EventProtocol, whole_request
from metering import door, group_commit
from metering.group_commit import GroupCommit
from metering.models import Event
from metering.usage_lock import take_usage_lock
from tests.cast import acme
from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates
from tests.metering.loops import Loop, loop
from tests.metering.requests import an_event, authorization
from tests.metering.test_concurrency import wait_until_blocked

__all__ = ["committed", "default_scheme_afterwards", "loop", "no_remembered_rates"]

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
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
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Likewise."""


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


# Pieces


def test_a_request_that_comes_in_two_pieces_is_the_same_wherever_it_is_cut(desk: Desk) -> None:
    whole = desk.event("e1")
    assert whole_request(whole) is not None

    async def each() -> list[bytes]:
        await (await desk.line(whole)).answer()  # from now on a duplicate
        lines = [await desk.line(whole[:place], whole[place:]) for place in range(1, len(whole) + 1)]
        return [line.wire.written for line in lines if await line.answer()]

    *pieced, straight = desk.run(each())
    assert len(pieced) == len(whole) - 1 > 300
    assert set(pieced) == {straight}
    assert (Answers(straight).whole[0].status, who(Answers(straight).whole[0])) == (200, "e1")


def test_a_request_may_come_byte_by_byte_and_after_empty_lines(desk: Desk) -> None:
    whole = b"\r\n\r\n" + desk.event("e1")

    async def piecemeal() -> list[Answer]:
        one = await desk.line(*[whole[place : place + 1] for place in range(len(whole))])
        other = await desk.line(b"\r\n", desk.event("e1"))
        return [await one.answer(), await other.answer()]

    assert [answer.status for answer in desk.run(piecemeal())] == [200, 200]
    assert Event.objects.count() == 1


@pytest.mark.parametrize("before", ["in a head", "in a body"])
def test_what_looks_like_a_request_within_another_is_none(desk: Desk, before: str) -> None:
    """It comes as a piece of its own, and once after the other has been answered, but not been read to its end."""
    within = desk.event("within")
    beginning = {
        "in a head": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Quoted: ",
        "in a body": b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n",
    }[before]

    async def pieces() -> bytes:
        line = await desk.line(beginning)
        await asyncio.sleep(0.05)
        line.send(within)
        await asyncio.sleep(0.05)
        return line.wire.written

    assert [answer.status for answer in Answers(desk.run(pieces())).whole] == [{"in a head": 200}.get(before, 413)]
    assert not Event.objects.exists()


KINDS: dict[str, Callable[[Desk, str], bytes]] = {
    "short": lambda desk, name: desk.event(name),
    "long": lambda desk, name: desk.event(name, *LONG),
    "refused": lambda desk, name: as_sent(b"{}"),
    "probe": lambda desk, name: LIVEZ,
}
STATUS = {"short": 200, "long": 200, "refused": 401, "probe": 200}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(sorted(STATUS)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 3_000), max_size=8),
    patience=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_requests_on_one_connection_are_answered_in_order_however_they_come(
    desk: Desk, kinds: list[str], cuts: list[int], patience: list[bool]
) -> None:
    stream = b"".join(KINDS[kind](desk, f"e{index}") for index, kind in enumerate(kinds))
    places = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]

    async def send() -> list[Answer]:
        line = Line()
        for index, wait in zip(range(len(places) - 1), patience, strict=False):
            line.send(stream[places[index] : places[index + 1]])
            if wait:
                await asyncio.sleep(0.001)
        return await line.answers(len(kinds))

    answers = desk.run(send())
    assert [answer.status for answer in answers] == [STATUS[kind] for kind in kinds]
    told = [who(answer) for kind, answer in zip(kinds, answers, strict=True) if kind in ("short", "long")]
    assert told == [f"e{index}" for index, kind in enumerate(kinds) if kind in ("short", "long")]


# Ends


@pytest.mark.parametrize(
    ("headers", "version"), [(("Connection: close",), "1.1"), (("Connection: Close", *LONG), "1.1"), ((), "1.0")]
)
def test_who_wants_the_connection_closed_gets_his_answer_and_that(
    desk: Desk, headers: tuple[str, ...], version: str
) -> None:
    async def closed() -> Answer:
        line = await desk.line(desk.event("e1", *headers, version=version), desk.event("e2"))
        return await line.answer() if await line.is_closed() else None

    answer = desk.run(closed())
    assert (answer.status, answer.headers["connection"], who(answer)) == (200, "close", "e1")
    assert [event.event_id for event in Event.objects.all()] == ["e1"]


@pytest.mark.parametrize("headers", [(), ("Connection: keep-alive",), LONG], ids=["plain", "keep-alive", "long"])
def test_a_connection_is_kept_for_a_while_after_an_answer_and_not_cut_off_before_it(
    desk: Desk, headers: tuple[str, ...]
) -> None:
    async def send(piece: bytes) -> None:
        line.send(piece)

    line = desk.run(desk.line(desk.event("e1", *headers), timeout_keep_alive=0.5))
    assert "connection" not in desk.run(line.answer()).headers
    with desk.busy():
        desk.run(send(desk.event("e2", *headers)))
        desk.run(asyncio.sleep(0.8))
        assert not line.wire.closed
    assert [who(answer) for answer in desk.run(line.answers(2))] == ["e1", "e2"]
    assert not line.wire.closed
    assert desk.run(line.is_closed())


@pytest.mark.parametrize("headers", [(), LONG], ids=["short", "long"])
def test_who_has_been_promised_an_answer_gets_it_before_the_server_ends(desk: Desk, headers: tuple[str, ...]) -> None:
    async def end() -> None:
        line.protocol.shutdown()

    with desk.busy():
        line = desk.run(desk.line(desk.event("e1", *headers)))
        desk.run(asyncio.sleep(0.05))
        desk.run(end())
        assert not line.wire.closed
    assert desk.run(line.is_closed())
    assert [who(answer) for answer in Answers(line.wire.written).whole] == ["e1"]
    idle = desk.run(desk.line())
    idle.protocol.shutdown()
    assert idle.wire.closed


def test_a_client_that_leaves_before_its_answer_is_no_trouble(desk: Desk) -> None:
    async def leave() -> None:
        line.wire.close()
        line.protocol.connection_lost(None)

    with desk.busy():
        line = desk.run(desk.line(desk.event("e1")))
        desk.run(leave())
    assert desk.run(desk.run(desk.line(desk.event("e1"))).answer()).status == 200
    assert line.wire.written == b""


def test_what_is_sent_before_an_answer_waits_for_it_within_bounds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = desk.event("e1"), desk.event("e2")
    monkeypatch.setattr(event_protocol, "MOST_EARLY_BYTES", len(second))
    with desk.busy():
        patient = desk.run(desk.line(first, second[:9], second[9:]))
        greedy = desk.run(desk.line(first, second, b"P"))
        assert (patient.wire.closed, greedy.wire.closed) == (False, True)
    assert [who(answer) for answer in desk.run(patient.answers(2))] == ["e1", "e2"]
    assert greedy.wire.written == b""


def test_beyond_what_is_kept_waiting_requests_are_answered_503(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST_WAITING_BYTES", 0)
    with desk.busy():
        stuck = desk.run(desk.line(desk.event("stuck")))
        wait_until_blocked()
        kept = desk.run(desk.line(desk.event("kept")))
        away = [desk.run(desk.line(desk.event("away", *headers))) for headers in ((), LONG)]
        answers = [desk.run(line.answer()) for line in away]
    assert [(answer.status, int(answer.headers["retry-after"]) > 0) for answer in answers] == [(503, True)] * 2
    assert [desk.run(line.answer()).status for line in (stuck, kept)] == [200, 200]
    assert not Event.objects.filter(event_id="away").exists()


def test_the_deadline_of_a_head_counts_from_the_answer_before_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_DEADLINE_S", 0.2)
    with desk.busy():
        line = desk.run(desk.line(desk.event("e1"), desk.event("e2")[:40]))
        desk.run(asyncio.sleep(0.5))
        assert line.wire.written == b""
    assert desk.run(line.is_closed())
    assert [answer.status for answer in Answers(line.wire.written).whole] == [200, 408]


# What the short way takes


class Parsed:
    """A request as the parser reads it."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


NAMES = (
    *("Host", "Content-Type", "Content-Length", "Content-Encoding", "Authorization", "Connection", "Proxy-Connection"),
    *("Transfer-Encoding", "Expect", "Upgrade", "TE", "Trailer", "X-Any", "content-length", "CONTENT-TYPE", "Host\t"),
    *("Content-Length ", " Host", "", "X:", "Content_Length", "X\x00", "X\r", "H\xf6st", "x" * 65),
)
VALUES = (
    *("", "2", " 2", "2 ", "02", "+2", "-2", "2_0", "0x2", "2,2", "2;", "0", "3", "99999999999999999999999"),
    *("localhost", "application/json", "gzip", "keep-alive", "Keep-Alive", "close", "keep-alive, close", "chunked"),
    *(
        "identity",
        "100-continue",
        "websocket",
        "a\tb",
        "a\x00",
        "a\x0b",
        "a\rb",
        "a\nb",
        "a\r\n b",
        "\x7f",
        "\xff",
        "\t",
    ),
)
ENDS = ("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n", "")
lines = st.builds(
    lambda name, colon, value, end: f"{name}{colon}{value}{end}",
    st.sampled_from(NAMES),
    st.sampled_from([":", ": ", ": ", ":\t", " :", ""]),
    st.sampled_from(VALUES),
    st.sampled_from(ENDS),
)
starts = st.sampled_from(
    ["POST /v1/events HTTP/1.1\r\n"] * 8
    + ["POST /v1/events HTTP/1.0\r\n", "post /v1/events HTTP/1.1\r\n", "POST /v1/events?a=b HTTP/1.1\r\n"]
    + ["POST  /v1/events HTTP/1.1\r\n", "\r\nPOST /v1/events HTTP/1.1\r\n", "POST /v1/events HTTP/1.1\n"]
)
fields = st.lists(st.one_of(lines, st.sampled_from(["Content-Length: 2\r\n", "Host: a\r\n"])), max_size=5)
requests = st.builds(
    lambda start, head, end, body: "".join([start, *head, end, body]).encode("latin-1", "replace"),
    starts,
    fields,
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", ""]),
    st.sampled_from(["{}", "{}", "{}", "", "{}x", "\r\n\r\n", "\r\n"]),
)


@settings(max_examples=800, deadline=None)
@given(data=requests)
def test_what_the_short_way_takes_the_parser_reads_likewise(data: bytes) -> None:
    sent = whole_request(data)
    if sent is None:
        return
    parsed = Parsed(data)
    assert (parsed.complete, parsed.parser.get_method(), parsed.parser.get_http_version()) == (1, b"POST", "1.1")
    assert (parsed.url, parsed.body) == (b"/v1/events", sent.body)
    assert parsed.parser.should_keep_alive() and not parsed.parser.should_upgrade()
    read = door.joined([(name.encode(), value.encode()) for name, value in parsed.headers])
    taken = (sent.authorization, sent.content_type, sent.content_encoding, sent.host)
    assert taken == tuple(read.get(name) for name in ("authorization", "content-type", "content-encoding", "host"))
    assert not {"transfer-encoding", "expect", "upgrade"} & read.keys()


@pytest.mark.parametrize("headers", [(), LONG], ids=["short", "long"])
def test_blanks_around_what_a_header_says_mean_nothing(desk: Desk, headers: tuple[str, ...]) -> None:
    whole = desk.event("e1", *headers)
    for name in (b"Host: ", b"Authorization: ", b"Content-Type: ", b"Content-Length: "):
        start = whole.index(name) + len(name)
        end = whole.index(b"\r\n", start)
        whole = whole[:start] + b"  " + whole[start:end] + b" " + whole[end:]
    assert (whole_request(whole) is None) == bool(headers)
    assert desk.run(desk.run(desk.line(whole)).answer()).status == 200


def test_the_short_way_takes_what_clients_send() -> None:
    for headers in ((), ("User-Agent: curl/8.5.0", "Accept: */*"), ("Connection: keep-alive", "Accept-Encoding: gzip")):
        whole = as_sent(b"{}", *headers)
        sent = whole_request(whole)
        assert sent is not None
        assert (sent.body, sent.host, sent.authorization) == (b"{}", "localhost", "Bearer nonsense")
        assert whole_request(whole + b"P") is whole_request(whole[:-1]) is None


def test_the_short_way_takes_bodies_and_heads_up_to_their_limits() -> None:
    assert whole_request(as_sent(b" " * event_protocol.BODY_LIMIT)) is not None
    assert whole_request(as_sent(b" " * (event_protocol.BODY_LIMIT + 1))) is None
    head = len(as_sent(b"", "X-A: ")) - 2
    most = event_protocol.HEAD_LIMIT - head
    assert whole_request(as_sent(b"", f"X-A: {'a' * most}")) is not None
    assert whole_request(as_sent(b"", f"X-A: {'a' * (most + 1)}")) is None
