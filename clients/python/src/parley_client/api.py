"""How is Parley's REST API spoken to? Over one kept-alive connection, saying everything again until it is answered.

A request whose answer is lost may have taken effect. Sending it again is harmless: events carry ids, and whatever is
created carries an Idempotency-Key.
"""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]
import encodings.idna  # noqa: F401  else getaddrinfo imports it, and a fork meanwhile leaves the child without
import http.client
import json
import math
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Optional, Union
from urllib.parse import urlsplit

from parley_client.problems import RequestRefused, ServerSilent

STATUSES = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")
MAX_EVENTS = 1_000
MAX_BODY_BYTES = 1024 * 1024
CLOSE = b'{"close":'
"""How a record begins that closes a conversation; all others are events."""

FIRST_DELAY_S, LONGEST_DELAY_S, LONGEST_ASKED_S = 0.2, 30.0, 300.0
_HEAD, _TAIL = b'{"events":[', b"]}"

Wait = Callable[[float, bool], bool]
"""Waits so many seconds; whether to go on then. The flag says that the server asked for it."""


class Reply(NamedTuple):
    """A server's answer; `body` is the decoded JSON or None."""

    status: int
    body: Any
    retry_after_s: float
    replayed: bool

    @property
    def reason(self) -> str:
        """What a problem document says, on one line."""
        if not isinstance(self.body, dict):
            return f"HTTP {self.status}"
        said = [self.body.get("title"), self.body.get("detail")]
        said += [f"{error.get('pointer')}: {error.get('detail')}" for error in self.body.get("errors", ())]
        return f"HTTP {self.status}: " + " ".join(str(part) for part in said if part)

    @property
    def is_answer(self) -> bool:
        """Whether Parley said yes or no: not overload, not a broken server, not somebody else on its way."""
        if self.status == 429 or self.status >= 500:
            return False
        return self.body is not None or self.status not in (200, 201)

    @property
    def is_about_the_content(self) -> bool:
        """Whether other content would have been taken: not so a wrong key, a wrong address, a wrong host."""
        explained = isinstance(self.body, dict)
        if self.status in (400, 422):
            return explained and bool(self.body.get("errors"))
        return self.status == 413 or (self.status in (404, 409) and explained)


class Remark(NamedTuple):
    """What the server said of one record; `place` is its index in what was sent."""

    place: int
    id: str
    status: str
    detail: str


@dataclass
class Outcome:
    """What became of records: how many got each status, and a remark on each not merely stored."""

    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[Remark] = field(default_factory=list)

    def add(self, other: Outcome, places: Sequence[int]) -> None:
        """Add what became of the records at these places."""
        self.counts += other.counts
        self.remarks += [remark._replace(place=places[remark.place]) for remark in other.remarks]


class _ForkSafeResponse(http.client.HTTPResponse):
    """An answer read without io.BufferedReader: a fork while a thread reads leaves its lock closed in the child."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = _pyio.BufferedReader(self.fp.detach())


def events_body(events: Sequence[bytes]) -> bytes:
    """The body of a request with these events, each a JSON object."""
    return _HEAD + b",".join(events) + _TAIL


def body_length(events_bytes: int, events: int) -> int:
    """How long that body is."""
    return len(_HEAD) + len(_TAIL) + events_bytes + max(events - 1, 0)


def sleep(seconds: float, asked: bool) -> bool:
    """Wait as told, and go on."""
    time.sleep(seconds)
    return True


class Api:
    """A connection to the Parley at `url`, for one thread.

    `patience_s` bounds the tries of one request, `timeout_s` each of its silences. Raises ValueError for another URL
    than http or https.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience_s: float = math.inf,
        timeout_s: float = 60.0,
        longest_delay_s: float = LONGEST_DELAY_S,
        tls: Optional[ssl.SSLContext] = None,
        wait: Wait = sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http or https URL")
        self._connection: Union[http.client.HTTPSConnection, http.client.HTTPConnection]
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=tls)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._connection.response_class = _ForkSafeResponse
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._patience_s = patience_s
        self._longest_delay_s = longest_delay_s
        self._wait = wait

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        """From another thread: end what goes on at the connection, if anything does."""
        connected = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def send(self, records: Sequence[bytes]) -> Outcome:
        """Send events and closes; returns after they are stored. Raises ServerSilent, RequestRefused."""
        closes = [place for place, record in enumerate(records) if record.startswith(CLOSE)]
        if not closes:
            return self._send_events(records)
        outcome = Outcome()
        if others := sorted(set(range(len(records))).difference(closes)):
            outcome.add(self._send_events([records[place] for place in others]), others)
        for place in closes:
            outcome.add(self._send_close(records[place]), [place])
        return outcome

    def request(
        self, method: str, path: str, body: Optional[bytes] = None, *, idempotency_key: Optional[str] = None
    ) -> Reply:
        """The answer to a request, which is made again while there is none. Raises ServerSilent."""
        give_up_at_s, delay_s = time.monotonic() + self._patience_s, FIRST_DELAY_S
        while True:
            asked_s = 0.0
            try:
                reply = self._on_a_live_connection(method, path, body, idempotency_key)
                if reply.is_answer:
                    return reply
                why, asked_s = reply.reason, min(reply.retry_after_s, LONGEST_ASKED_S)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                why = f"{type(error).__name__}: {error}"
            wait_s = max(delay_s * random.uniform(0.5, 1.0), asked_s)
            if time.monotonic() + wait_s > give_up_at_s:
                raise ServerSilent(f"gave up after {self._patience_s:.0f} s; the last answer was {why}")
            if not self._wait(wait_s, asked_s > 0):
                raise ServerSilent(f"gave up; the last answer was {why}")
            delay_s = min(2 * delay_s, self._longest_delay_s)

    def _send_events(self, events: Sequence[bytes]) -> Outcome:
        """One event can make a whole body unreadable: then the halves are sent, until it stands alone."""
        reply = self.request("POST", "/v1/events", events_body(events))
        if reply.status == 200:
            return _outcome(reply.body)
        if reply.status == 404 or not reply.is_about_the_content:
            raise RequestRefused(reply.reason)
        if len(events) == 1:
            return _rejected(reply)
        middle, outcome = len(events) // 2, Outcome()
        for part in (range(middle), range(middle, len(events))):
            outcome.add(self._send_events(events[part.start : part.stop]), part)
        return outcome

    def _send_close(self, record: bytes) -> Outcome:
        """The instant is in the record, so that saying it twice closes the same sitting."""
        reply = self.request("POST", "/v1/conversations/close", record[len(CLOSE) : -1])
        if reply.status == 200:
            return Outcome(Counter({str(reply.body.get("status", "accepted")): 1}))
        if not reply.is_about_the_content:
            raise RequestRefused(reply.reason)
        return _rejected(reply)

    def _on_a_live_connection(
        self, method: str, path: str, body: Optional[bytes], idempotency_key: Optional[str]
    ) -> Reply:
        """A server may close a connection that has been idle, which shows only when it is used: then a new one."""
        if self._connection.sock is not None:
            try:
                return self._once(method, path, body, idempotency_key)
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
        return self._once(method, path, body, idempotency_key)

    def _once(self, method: str, path: str, body: Optional[bytes], idempotency_key: Optional[str]) -> Reply:
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        text = response.read()
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        return Reply(
            response.status,
            decoded,
            seconds_to_wait(response.headers.get("Retry-After", ""), now=datetime.now(timezone.utc)),
            response.headers.get("Idempotent-Replayed") == "true",
        )


def seconds_to_wait(retry_after: str, *, now: datetime) -> float:
    """What a Retry-After header asks for, in seconds or as a date; 0 if nothing that can be read."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max((parsedate_to_datetime(retry_after) - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return 0.0


def _outcome(answer: dict[str, Any]) -> Outcome:
    counts = Counter({status: answer[status] for status in STATUSES})
    remarks = [
        Remark(item["index"], item["id"], item["status"], item.get("detail") or "") for item in answer["results"]
    ]
    return Outcome(counts, remarks)


def _rejected(reply: Reply) -> Outcome:
    return Outcome(Counter(rejected=1), [Remark(0, "", "rejected", reply.reason)])
