"""When is what was recorded sent? By a thread in the background, batch by batch, until the server has answered.

Records go to the spool, if there is one, and to memory where there is none or it cannot take them. The thread starts
with the first record, in a forked process anew. At the end of the process it gets a few seconds to finish.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Optional

from parley_client.api import CLOSE, Api, Outcome, Wait
from parley_client.buffers import Batch, Buffer, Limits, Lock, Memory
from parley_client.problems import Listener, NoRoom, Problem, ProblemLog, RequestRefused, ServerSilent, log, tell
from parley_client.spool import Spool

REFUSED_PAUSE_S = 60.0
AT_EXIT_S = 5.0
_STOPS_WITHIN_S = 1.0

MakeApi = Callable[[Wait], Api]
MakeSpool = Callable[[Lock, Callable[[str], object]], Spool]


class Sender:
    """What waits to be sent, and the thread that sends it."""

    def __init__(
        self,
        make_api: MakeApi,
        limits: Limits,
        *,
        memory_bytes: int,
        make_spool: Optional[MakeSpool],
        listener: Listener,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._listener = listener
        self._make_api = make_api
        self._changed = threading.Condition()
        self._memory = Memory(self._changed, limits, memory_bytes)
        self._spool = make_spool(self._changed, self._torn) if make_spool else None
        self._start()
        _alive.add(self)
        if self._spool is not None and self._spool.is_left_over:
            self._ensure_thread()

    def put(self, record: bytes) -> Optional[str]:
        """Keep a record until it is sent; the answer says why the spool, if there is one, could not take it.

        Raises NoRoom.
        """
        full, why_not_spooled = self._keep(record)
        self._ensure_thread()
        if full:
            with self._changed:
                self._changed.notify_all()
        return why_not_spooled

    def flush(self, timeout_s: float) -> bool:
        """Send what was recorded so far without further waiting; whether all of it was answered in time."""
        reached = [buffer.mark() for buffer in self._buffers]
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            return self._changed.wait_for(lambda: all(done() for done in reached), timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Flush and stop. What is then left stays in the spool; what is only in memory is dropped, and said so."""
        give_up_at_s = time.monotonic() + timeout_s
        flushed = self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(give_up_at_s - time.monotonic(), 0.0))  # it may be at what another process left
            self._api.interrupt()
            thread.join(_STOPS_WITHIN_S)
        for record in self._memory.give_up():
            self._tell("dropped", "the server had not answered for it when the client was closed", record)
        if isinstance(self._listener, ProblemLog):
            self._listener.say_the_rest()
        return flushed

    @property
    def _buffers(self) -> list[Buffer]:
        return [self._memory] if self._spool is None else [self._memory, self._spool]

    def _start(self) -> None:
        self._api = self._make_api(self._wait)
        self._thread: Optional[threading.Thread] = None
        self._closed = False
        self._hurry = 0  # how often somebody asked for all to be sent at once
        self._hurried = 0

    def _keep(self, record: bytes) -> tuple[bool, Optional[str]]:
        """Whether a batch became full, and why the record is in memory only, if it should not be."""
        why_not_spooled = None
        if self._spool is not None:
            try:
                return self._spool.append(record), None
            except (NoRoom, OSError) as error:
                why_not_spooled = str(error)
        if self._closed:
            raise NoRoom("the client is closed")
        return self._memory.append(record), why_not_spooled

    def _ensure_thread(self) -> None:
        if self._thread is not None or self._closed:
            return
        with self._changed, suppress(RuntimeError):  # at the end of the process none starts
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="parley-client", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        try:
            while not self._closed:
                if not self._send_next():
                    self._rest()
        finally:
            self._api.close()

    def _send_next(self) -> bool:
        """Send one batch; whether there was one and it was answered."""
        answered = False
        for buffer in self._buffers:
            try:
                batch = buffer.take()
                if batch is not None:
                    answered = self._send(batch) or answered
            except Exception:
                log.exception("usage could not be sent; it is tried again")
        return answered

    def _send(self, batch: Batch) -> bool:
        outcome: Optional[Outcome] = None
        try:
            outcome = self._api.send(batch.records)
        except RequestRefused as refused:
            tell(self._listener, Problem("refused", str(refused)))
            batch.put_back()
            self._wait(REFUSED_PAUSE_S, False)
        except ServerSilent:
            batch.put_back()
        except BaseException:
            batch.put_back()
            raise
        else:
            self._settle(outcome, batch.records)
            batch.done()
            with self._changed:
                self._changed.notify_all()
        return outcome is not None

    def _settle(self, outcome: Outcome, records: Sequence[bytes]) -> None:
        self.counts += outcome.counts
        for remark in outcome.remarks:
            if remark.status != "updated":
                self._tell(remark.status, remark.detail, records[remark.place])

    def _rest(self) -> None:
        """Until there may be something to do."""
        if self._spool is not None:
            with suppress(OSError):
                self._spool.sync()
        with self._changed:
            self._changed.notify_all()  # another process may have sent what somebody waits for
            if self._hurry == self._hurried and not self._closed:
                self._changed.wait(self._limits.linger_s)
            self._hurried = self._hurry

    def _wait(self, seconds: float, asked: bool) -> bool:
        """Between two tries: cut short, once, by who is in a hurry, but not where the server asked for it."""
        until_s = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left_s := until_s - time.monotonic()) > 0:
                if self._hurry != self._hurried and not asked:
                    self._hurried = self._hurry
                    break
                self._changed.wait(left_s)
            return not self._closed

    def _torn(self, detail: str) -> None:
        tell(self._listener, Problem("unreadable", detail))

    def _tell(self, status: str, detail: str, record: bytes) -> None:
        tell(self._listener, Problem(status, detail, as_event(record)))

    def lock_for_fork(self) -> None:
        self._changed.acquire()

    def unlock_after_fork(self) -> None:
        self._changed.release()

    def forget_parent(self) -> None:
        """In a forked child: nothing of what waits is ours, and neither are thread, connection and lock."""
        self._api.close()
        self._changed = threading.Condition()
        for buffer in self._buffers:
            buffer.forget_parent(self._changed)
        self.counts = Counter()
        self._start()


def as_event(record: bytes) -> dict[str, Any]:
    """A record as it was recorded."""
    decoded = json.loads(record)
    event: dict[str, Any] = decoded["close"] if record.startswith(CLOSE) else decoded
    return event


_alive: weakref.WeakSet[Sender] = weakref.WeakSet()
_locked: list[Sender] = []


def _close_all() -> None:
    give_up_at_s = time.monotonic() + AT_EXIT_S
    for sender in list(_alive):
        sender.close(max(give_up_at_s - time.monotonic(), 0.0))


def _before_fork() -> None:
    _locked.extend(sorted(_alive, key=id))
    for sender in _locked:
        sender.lock_for_fork()


def _after_fork(act: Callable[[Sender], None]) -> Callable[[], None]:
    def act_on_all() -> None:
        while _locked:
            act(_locked.pop())

    return act_on_all


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork(Sender.unlock_after_fork),
        after_in_child=_after_fork(Sender.forget_parent),
    )
