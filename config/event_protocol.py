"""How does a web server take an event without parsing HTTP? It has a short way for a whole, plain `POST /v1/events`.

An event sent by itself is a request of a few hundred bytes, for which the machinery of a web server costs three times
what storing it costs. Where such a request has come whole and plain, in one piece on a connection that is doing nothing
else, it goes straight to the group commit, and its answer straight back. Everything else (parts of requests, pipelined
ones, chunks, unusual headers, other URLs) takes the long way through the parser and metering.door; what is answered
is decided in the same place for both. Used as `uvicorn --http config.event_protocol:EventProtocol`.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

import config.wsgi  # noqa: F401  # sets Django up, in whatever process this is the first to be loaded
from api.bodies import BODY_LIMIT
from api.https import PROTO, is_secure
from config.http_protocol import HEAD_LIMIT, BoundedHttp
from metering.door import group_commit, overloaded
from metering.group_commit import Overloaded
from metering.receiving import Reply, Sent

START = b"POST /v1/events HTTP/1.1\r\n"
USUAL_HEAD = 1024
ENOUGH_EARLY_BYTES = 64 * 1024
"""Of what is sent before the answer to the last request: no more is read from the connection until that is over."""

# Names are tokens, values printable: what is beyond that is left to the parser to accept or refuse. Nothing is tried
# twice (`+` after a repeat): otherwise a head that does not match would be tried in as many ways as it can be cut.
_PLAIN_HEAD = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}+:[ \t]*+[\x20-\x7e]*+\r\n){1,64}+")
_LONG_WAY = (b"transfer-encoding", b"connection", b"proxy-connection", b"expect", b"upgrade", b"trailer", b"te")
_AS_USUAL = (b"connection", b"keep-alive")  # said by many clients, and what HTTP/1.1 means anyway
_READ = (b"authorization", b"content-type", b"content-encoding", b"content-length", b"host", PROTO)


class EventProtocol(BoundedHttp):
    """A connection: the bounded one, with the short way in front of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._answering = self._in_message = self._last = False
        self._early = bytearray()

    def data_received(self, data: bytes) -> None:
        """Takes the short way if it can."""
        if self._answering:
            self._early += data  # read after the answer, in order
            if len(self._early) > ENOUGH_EARLY_BYTES:
                self.flow.pause_reading()
            return
        # Who does not read his answers gets no more of them this way: the long one waits for him.
        if not (self._in_message or self.flow.write_paused) and self._rests() and (sent := whole_request(data)):
            self._unset_keepalive_if_required()
            self._stop_waiting()
            self._answering = True
            try:
                group_commit.submit(sent, self._answer)
            except Overloaded:
                self._answer(overloaded())
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """The parser has begun a request: what comes next belongs to it."""
        self._in_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The parser is between two requests again."""
        self._in_message = False
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for it, uvicorn has no use for it
        """Whoever waits for an answer gets it, and it is the last."""
        if self._answering:
            self._last = True
            return True
        return super().eof_received()

    def shutdown(self) -> None:
        """Whoever has been promised an answer gets it first."""
        if self._answering:
            self._last = True
        else:
            super().shutdown()

    def _rests(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    def _answer(self, reply: Reply) -> None:
        self._answering = False
        if self.transport.is_closing():
            return
        self.transport.write(rendered(reply, self.server_state.default_headers))
        if self._last:
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._early:
            data, self._early = bytes(self._early), bytearray()
            self.flow.resume_reading()
            self.data_received(data)


def whole_request(data: bytes) -> Sent | None:
    """A plain `POST /v1/events`, if this is one, and all of it and no more; else None."""
    if not data.startswith(START):
        return None
    end = data.find(b"\r\n\r\n", len(START)) + 2
    if not 1 < end <= HEAD_LIMIT:
        return None
    head = _usual_head(data[len(START) : end]) if end <= USUAL_HEAD else _plain_head(data[len(START) : end])
    if head is None or len(data) - end - 2 != head.length:
        return None
    return Sent(head.authorization, "", head.content_type, head.content_encoding, data[end + 2 :], host=head.host)


class PlainHead(NamedTuple):
    """What of a request's head matters, the length being that of the body."""

    length: int
    authorization: str | None
    content_type: str | None
    content_encoding: str | None
    host: str | None


def _plain_head(lines: bytes) -> PlainHead | None:
    """The headers, each with its line's end, if there is nothing about them that the parser would have to judge."""
    if _PLAIN_HEAD.fullmatch(lines) is None:
        return None
    headers = {}
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if name in _LONG_WAY and (name, value.lower()) != _AS_USUAL:
            return None
        if name in _READ and name in headers:
            return None
        headers[name] = value
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 7 or int(length) > BODY_LIMIT or not is_secure(headers.get(PROTO)):
        return None
    return PlainHead(
        int(length),
        _text(headers.get(b"authorization")),
        _text(headers.get(b"content-type")),
        _text(headers.get(b"content-encoding")),
        _text(headers.get(b"host")),
    )


_usual_head = lru_cache(maxsize=4096)(_plain_head)
"""A client says the same with every request, but for the length of what it sends."""


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("ascii")


def rendered(reply: Reply, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """An answer as it goes over the wire."""
    head = _head(reply.status, tuple(reply.headers.items()), tuple(default_headers))
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(reply.body), reply.body)


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], default_headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    lines = [b"%b: %b\r\n" % pair for pair in default_headers]
    lines += [f"{name.lower()}: {value}\r\n".encode("latin-1") for name, value in headers]
    return STATUS_LINE[status] + b"".join(lines)
