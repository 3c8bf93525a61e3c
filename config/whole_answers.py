"""How does Django, which answers in threads, answer under an event loop? A request in, and its answer back whole.

Each piece that a thread hands to the loop costs two changes of threads, each of which may have to wait for a processor.
So an answer that is not a stream is what the thread's work results in, and nothing else goes between the two.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import Any

from a2wsgi.wsgi import Body, build_environ
from django.core.handlers.wsgi import WSGIHandler

from api.asgi import Message, Receive, Send

Hand = Callable[[Message], None]
"""Gives a message to the loop, for the client, and waits until it is taken."""


class WholeAnswers:
    """Django as an ASGI application, answering in so many threads."""

    def __init__(self, django: WSGIHandler, *, workers: int) -> None:
        self._django = django
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="django")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Have one of the threads answer a request."""
        loop = asyncio.get_running_loop()
        over = threading.Event()

        def hand(message: Message) -> None:
            if over.is_set():  # or the thread would wait for a loop that is no more, and the process for the thread
                raise ConnectionAbortedError("nobody waits for this answer any more")
            asyncio.run_coroutine_threadsafe(send(message), loop).result()  # type: ignore[arg-type]

        environ = build_environ(scope, Body(loop, receive))  # type: ignore[arg-type]
        try:
            for message in await loop.run_in_executor(self._threads, copy_context().run, self._answer, environ, hand):
                await send(message)
        finally:
            over.set()

    def _answer(self, environ: Any, hand: Hand) -> list[Message]:
        """What is left to be sent: of an answer that is no stream all of it, and of a stream its end."""
        started: list[Message] = []

        def start_response(status: str, headers: Iterable[tuple[str, str]]) -> None:
            started.append(_start(status, headers))

        answer: Any = self._django(environ, start_response)  # type: ignore[arg-type]  # Django says no more than these
        with closing(answer):
            if not answer.streaming:
                return [*started, {"type": "http.response.body", "body": b"".join(answer)}]
            for message in started:
                hand(message)
            for piece in answer:
                hand({"type": "http.response.body", "body": piece, "more_body": True})
            return [{"type": "http.response.body", "body": b""}]


def _start(status: str, headers: Iterable[tuple[str, str]]) -> Message:
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": int(status[:3]), "headers": lines}
