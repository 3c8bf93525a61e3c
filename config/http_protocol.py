"""How large may the head of a request be, and how long may it take to come? uvicorn's protocol says neither.

Used as `uvicorn --http config.http_protocol:BoundedHttp`. Bodies have limits and deadlines of their own, which depend
on whom they are for.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import Problem, bad_request, head_too_large, timed_out

HEAD_LIMIT = 16 * 1024
HEAD_DEADLINE_S = 10.0


class HeadTooLarge(Exception):
    """Stops the parser."""


class BoundedHttp(HttpToolsProtocol):
    """One connection. Whoever sends no whole head within limit and deadline is told so, and loses it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads = 0
        self._in_head = True
        self._too_large = False
        self._unfinished_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        heads = self._heads
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()  # also for what is not yet, or never becomes, the beginning of one
        # The parser keeps a line to itself until it ends, so what has come is counted here as well. Not the piece in
        # which the head begins: the end of the body before it may be in it.
        self._unfinished_bytes = self._unfinished_bytes + len(data) if self._in_head and heads == self._heads else 0
        if self._unfinished_bytes > HEAD_LIMIT:
            self._refuse(head_too_large(HEAD_LIMIT))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads += 1
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self._too_large = True
            raise HeadTooLarge
        super().on_headers_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more. Whoever has sent a whole request is still answered (True), and that is all."""
        if self._is_answering():
            self.cycle.keep_alive = False
            return True
        return False

    def send_400_response(self, msg: str) -> None:
        """The parser stopped: over what is no HTTP, or because we stopped it.

        What came before it is answered first, or its answer would be taken for this one.
        """
        if self._is_answering():
            self.cycle.keep_alive = False
            return
        self._refuse(head_too_large(HEAD_LIMIT) if self._too_large else bad_request(msg))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(timed_out(f"The head did not come within {HEAD_DEADLINE_S:.0f} seconds."))

    def _refuse(self, problem: Problem) -> None:
        headers, body = problem.rendered()
        headers |= {"Content-Length": str(len(body)), "Connection": "close"}
        head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        self.transport.close()
