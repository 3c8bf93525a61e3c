"""How does a product tell Parley what its model calls used? One `Parley` a process, one line beside each call.

Recording takes microseconds, waits for nobody and, unless strict, raises nothing: what goes wrong is told to the
listener. Everything may be used from any thread, from asyncio and after a fork.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union
from urllib.parse import urlsplit

from parley_client.api import MAX_BODY_BYTES, MAX_EVENTS, Api, Wait
from parley_client.buffers import Limits, Lock
from parley_client.conversation import Conversation
from parley_client.events import CommonDetails, Details, Name, Record, close_record, event_record
from parley_client.problems import Listener, NoRoom, NotRecorded, Problem, ProblemLog, tell
from parley_client.responses import read
from parley_client.sender import Sender
from parley_client.spool import Fsync, Spool
from parley_client.streams import RecordedStream, StreamedCall

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Parley:
    """Reports usage to the Parley at `url` with an API key of scope `ingest`; PARLEY_URL and PARLEY_KEY where unsaid.

    `spool` is a folder in which records wait: with it they survive the process, without it only memory holds them.
    `fsync` says whether they survive a power cut as well: `never` (as the system sees fit), `interval` (all but about a
    second) or `always`. `listener` hears of every `Problem`; unsaid, they go to the log `parley_client`. `strict` makes
    recording raise NotRecorded as well. Raises ValueError, OSError or RuntimeError where it is set up wrongly.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        key: Optional[str] = None,
        *,
        spool: Union[str, Path, None] = None,
        fsync: Fsync = "never",
        listener: Optional[Listener] = None,
        strict: bool = False,
        batch_events: int = 500,
        batch_bytes: int = 512 * 1024,
        linger_s: float = 1.0,
        memory_bytes: int = 16 * 1024 * 1024,
        spool_bytes: int = 256 * 1024 * 1024,
        timeout_s: float = 10.0,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        url = url or os.environ.get("PARLEY_URL")
        key = key or os.environ.get("PARLEY_KEY")
        if not url or not key:
            raise ValueError("say url= and key=, or set PARLEY_URL and PARLEY_KEY")
        if not 1 <= batch_events <= MAX_EVENTS or not 1 <= batch_bytes <= MAX_BODY_BYTES:
            raise ValueError(f"a batch has 1 to {MAX_EVENTS} events in 1 to {MAX_BODY_BYTES} bytes")
        if tls is None and urlsplit(url).scheme == "https":
            tls = ssl.create_default_context()
        self._strict = strict
        self._listener = listener or ProblemLog()
        limits = Limits(batch_events, batch_bytes, linger_s)

        def make_api(wait: Wait) -> Api:
            return Api(url, key, timeout_s=timeout_s, tls=tls, wait=wait)

        def make_spool(lock: Lock, torn: Callable[[str], object]) -> Spool:
            return Spool(Path(spool or ""), lock, limits, spool_bytes, fsync=fsync, torn=torn)

        self._sender = Sender(
            make_api,
            limits,
            memory_bytes=memory_bytes,
            make_spool=None if spool is None else make_spool,
            listener=self._listener,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events the server has called accepted, duplicate, updated, conflict, quarantined and rejected."""
        return dict(self._sender.counts)

    def conversation(
        self,
        *,
        customer: Name,
        id: Name,
        turn: Optional[int] = None,
        close: bool = False,
        outcome: Optional[str] = None,
        **details: Unpack[CommonDetails],
    ) -> Conversation:
        """The conversation `id` of a customer, to record calls in; see Conversation."""
        return Conversation(self, customer, id, turn=turn, close=close, outcome=outcome, details=details)

    def record(
        self, response: Any = None, *, customer: Name, conversation: Name, **details: Unpack[Details]
    ) -> Optional[str]:
        """Record a call from the provider's response, an SDK's object or a dict; the answer is the event's id.

        Without a response, `provider`, `model` and `usage` say it all. None where it was not recorded, which the
        listener was told; NotRecorded in strict mode.
        """
        said = _said(customer, conversation, details)

        def make() -> Record:
            call = None if response is None else read(response)
            return event_record(call, details, customer=customer, conversation=conversation, now=_now())

        return self._keep(make, said)

    def stream(self, stream: Any, *, customer: Name, conversation: Name, **details: Unpack[Details]) -> RecordedStream:
        """The same stream, to be read in its place (for, async for, with); its call is recorded when it ends."""
        said = _said(customer, conversation, details)

        def record(seen: StreamedCall) -> None:
            self._keep(
                lambda: event_record(seen.call(), details, customer=customer, conversation=conversation, now=_now()),
                said,
            )

        return RecordedStream(stream, record)

    def close_conversation(self, *, customer: Name, conversation: Name, outcome: Optional[str] = None) -> None:
        """It is over, now: it settles with what happened until now."""
        self._keep(
            lambda: close_record(customer=customer, conversation=conversation, at=_now(), outcome=outcome),
            {"customer": customer, "conversation": conversation, "outcome": outcome},
        )

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Send everything recorded so far now; whether the server answered for all of it in time."""
        return self._sender.flush(timeout_s)

    async def aflush(self, timeout_s: float = 30.0) -> bool:
        """`flush` without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(None, self.flush, timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush and end. What is left then waits in the spool, or is dropped and told; also done at exit."""
        return self._sender.close(timeout_s)

    async def aclose(self, timeout_s: float = 5.0) -> bool:
        """`close` without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(None, self.close, timeout_s)

    def __enter__(self) -> Parley:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _keep(self, make: Callable[[], Record], said: Mapping[str, Any]) -> Optional[str]:
        """Make a record and keep it. What goes wrong must not hurt the product, which calls this on its own path."""
        try:
            record = make()
            why_not_spooled = self._sender.put(record.line)
        except Exception as error:
            status = "dropped" if isinstance(error, NoRoom) else "unreadable"
            tell(self._listener, Problem(status, str(error) or type(error).__name__, said))
            if self._strict:
                raise NotRecorded(str(error)) from error
            return None
        if why_not_spooled is not None:
            tell(self._listener, Problem("memory_only", why_not_spooled, said))
        return record.id


def _said(customer: Name, conversation: Name, details: Details) -> Mapping[str, Any]:
    return {"customer": customer, "conversation": conversation, **details}


def _now() -> datetime:
    return datetime.now(timezone.utc)
