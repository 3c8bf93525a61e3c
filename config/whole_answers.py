"""How does an answer of Django get from its thread to the event loop? Whole, and in one go.

Each piece that a thread hands to the loop, waiting until it is taken, costs two changes of threads, each of which may
have to wait for a processor. Answers that are not streams are therefore handed over when they are complete.
"""

from collections.abc import Iterable
from typing import Any

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi import WSGIResponder


class WholeAnswers(WSGIMiddleware):
    """Django as an ASGI application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Have one of the threads answer a request."""
        await _Responder(self.app, self.executor, self.send_queue_size)(scope, receive, send)


class _Responder(WSGIResponder):
    _held: list[Any] | None = None
    """What waits for the rest of the answer; None: nothing is to wait."""

    def send(self, message: Any) -> None:
        if self._held is None:
            super().send(message)
        else:
            self._held.append(message)

    def wsgi(self, environ: Any, start_response: Any) -> None:
        self._held = []
        answer: Any = self.app(environ, start_response)
        try:
            if getattr(answer, "streaming", True):
                self._stream(answer)
            else:
                body = {"type": "http.response.body", "body": b"".join(answer)}
                self.loop.call_soon_threadsafe(self._queue, [*self._held, body])
        finally:
            answer.close()

    def _stream(self, pieces: Iterable[bytes]) -> None:
        held, self._held = self._held or [], None
        for message in held:
            self.send(message)
        for piece in pieces:
            self.send({"type": "http.response.body", "body": piece, "more_body": True})
        self.send({"type": "http.response.body", "body": b""})

    def _queue(self, messages: list[Any]) -> None:
        for message in messages:
            self.send_queue.put_nowait(message)
