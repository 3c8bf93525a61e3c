"""What does a stream of chunks say of the call? Its last word, whichever way it was told.

OpenAI's chat tells the usage in a last chunk, its Responses in the event that ends them, Gemini in every chunk a bit
more. Anthropic tells the input at the beginning and the output at the end. A stream that breaks off is recorded as far
as it told; reported once more, with more usage, under the same id, the event grows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Optional

from parley_client.problems import UnreadableResponse
from parley_client.responses import USAGES, WRAPPERS, Call, as_dict, field, read


class StreamedCall:
    """The call that a stream tells of, so far."""

    def __init__(self) -> None:
        self._call: Optional[Call] = None

    @property
    def knows_nothing(self) -> bool:
        return self._call is None

    def see(self, chunk: Any) -> None:
        """Take in a chunk; most say nothing of usage."""
        if field(chunk, "type") == "message_delta" and self._call is not None:
            self._call.usage.update(_reported(field(chunk, "usage")))
        elif any(field(thing, name) for thing in _tellers(chunk) for name in USAGES):
            call = read(chunk)
            before = self._call
            self._call = call if before is None else call._replace(id=before.id or call.id)

    def call(self) -> Call:
        """Raises UnreadableResponse where the stream told no usage."""
        if self._call is None:
            raise UnreadableResponse(
                "the stream ended without usage; OpenAI's chat completions tell it only with "
                "stream_options={'include_usage': True}"
            )
        return self._call


class RecordedStream:
    """A stream of an SDK, passed on chunk by chunk (for or async for) and recorded once, when it ends or is left.

    Everything else is the SDK's own: attributes, close(), and use as a context manager.
    """

    def __init__(self, stream: Any, record: Callable[[StreamedCall], object]) -> None:
        self._manager = self._stream = stream
        self._record: Optional[Callable[[StreamedCall], object]] = record
        self._seen = StreamedCall()

    def __iter__(self) -> Iterator[Any]:
        try:
            for chunk in self._stream:
                self._see(chunk)
                yield chunk
        finally:
            self._end()

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for chunk in self._stream:
                self._see(chunk)
                yield chunk
        finally:
            self._end()

    def __enter__(self) -> RecordedStream:
        self._stream = self._manager.__enter__()  # itself, or what a helper such as messages.stream() manages
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> Any:
        self._end()
        return self._manager.__exit__(kind, error, trace)

    async def __aenter__(self) -> RecordedStream:
        self._stream = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> Any:
        self._end()
        return await self._manager.__aexit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _see(self, chunk: Any) -> None:
        try:
            self._seen.see(chunk)
        except Exception:  # the product's loop must go on; what is missing shows when the stream is recorded
            return

    def _end(self) -> None:
        record, self._record = self._record, None
        if record is None:
            return
        if self._seen.knows_nothing:  # read through text_stream of Anthropic's helper, say
            self._see(getattr(self._stream, "current_message_snapshot", None))
        record(self._seen)


def _tellers(chunk: Any) -> tuple[Any, ...]:
    return chunk, *(field(chunk, name) for name in WRAPPERS)


def _reported(usage: Any) -> dict[str, Any]:
    """Without the nulls, which say nothing of what was told before."""
    return {name: value for name, value in as_dict(usage).items() if value is not None}
