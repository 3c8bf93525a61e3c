"""How does Django, which answers in threads, answer under an event loop? A request in, and its answer back whole.

Each piece that a thread hands to the loop costs two changes of threads, each of which may have to wait for a processor.
So an answer that is not a stream is what the thread's work results in, and nothing else goes between the two.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from a2wsgi.wsgi import Body, build_environ

from api.asgi import Message, Receive, Send

Hand = Callable[[Message], None]
"""Gives a message to the loop, for the client, and waits until it is taken."""


class WholeAnswers:
    """A WSGI application (Django's) as an ASGI one, answering in so many threads."""

    def __init__(self, app: Callable[..., Any], *, workers: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="django")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Have one of the threads answer a request."""
        loop = asyncio.get_running_loop()

        def hand(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(send(message), loop).result()  # type: ignore[arg-type]

        environ = build_environ(scope, Body(loop, receive))  # type: ignore[arg-type]
        for message in await loop.run_in_executor(self._threads, copy_context().run, self._answer, environ, hand):
            await send(message)

    def _answer(self, environ: Any, hand: Hand) -> list[Message]:
        """What is to be sent: all of the answer, or the end of one of which each piece has been handed over."""
        started: list[Message] = []

        def start_response(status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = [_start(status, headers)]

        answer = self._app(environ, start_response)
        try:
            if not getattr(answer, "streaming", True):
                return [*started, {"type": "http.response.body", "body": b"".join(answer)}]
            _stream(started, answer, hand)
            return [{"type": "http.response.body", "body": b""}]
        finally:
            answer.close()


def _start(status: str, headers: Iterable[tuple[str, str]]) -> Message:
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": int(status[:3]), "headers": lines}


def _stream(started: Iterable[Message], pieces: Iterable[bytes], hand: Hand) -> None:
    for message in started:
        hand(message)
    for piece in pieces:
        hand({"type": "http.response.body", "body": piece, "more_body": True})
