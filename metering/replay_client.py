"""How does a replay talk to a server? Over one kept-alive connection, saying everything again until it is answered.

A request whose answer is lost may have taken effect. Sending it again is harmless: events carry ids and whatever is
created carries an Idempotency-Key.
"""

import datetime as dt
import hashlib
import http.client
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from metering.replaying import Batch

STATUSES = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")
SENT_AGAIN = (429, 502, 503, 504)
SPLIT = (400, 413)
FIRST_DELAY_S, LONGEST_DELAY_S, TIMEOUT_S = 0.2, 5.0, 60.0
FALLBACK_CURRENCY = "USD"


class ServerSilent(Exception):
    """The server did not take a request in all the time it was given."""


class RequestRefused(Exception):
    """The server understood a request and said no."""


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


class Remark(NamedTuple):
    """What a server said of one line."""

    source: str
    line: int
    id: str
    status: str
    detail: str


@dataclass
class Outcome:
    """What became of the lines of a batch."""

    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[Remark] = field(default_factory=list)


class ReplayClient:
    """One connection to the server at `url`, for one thread; `patience_s` bounds the tries of a request."""

    def __init__(self, url: str, key: str, *, patience_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http or https URL")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._patience_s = patience_s

    def close(self) -> None:
        self._connection.close()

    def send(self, batch: Batch) -> Outcome:
        """Send events; returns after they are stored. Raises ServerSilent, RequestRefused.

        One line can make a whole body unreadable: then the halves are sent, until it stands alone.
        """
        reply = self.request("POST", "/v1/events", batch.body())
        if reply.status == 200:
            return _outcome(batch, reply.body)
        if reply.status not in SPLIT:
            raise RequestRefused(reply.reason)
        if len(batch.lines) == 1:
            line = batch.lines[0]
            return Outcome(Counter(rejected=1), [Remark(batch.source, line.number, "", "rejected", reply.reason)])
        one, other = (self.send(half) for half in batch.halves())
        return Outcome(one.counts + other.counts, [*one.remarks, *other.remarks])

    def currency_of(self, plan: str) -> str:
        """The currency of the plan's published version; FALLBACK_CURRENCY if this key may not read it."""
        reply = self.request("GET", f"/v1/plans/{quote(plan, safe='')}")
        if reply.status == 404:
            raise RequestRefused(f"There is no plan {plan}.")
        version = reply.body.get("published_version") if reply.status == 200 else None
        if version is not None:
            reply = self.request("GET", f"/v1/plans/{quote(plan, safe='')}/versions/{version}")
        known = reply.status == 200 and version is not None
        return str(reply.body["terms"]["currency"]) if known else FALLBACK_CURRENCY

    def create_customer(self, key: str, *, currency: str, plan: str, starts_at: dt.datetime) -> bool:
        """Create and subscribe a customer; False if it was there, which is then left as it is.

        The Idempotency-Keys are made from what is asked for, so that a replay that broke off between the two steps
        goes on where it was.
        """
        terms = {"customer": key, "plan": plan, "starts_at": starts_at.isoformat()}
        created = self._create("/v1/customers", {"key": key, "name": key, "currency": currency}, terms)
        if created.status == 409:
            return False
        subscribed = self._create("/v1/subscriptions", terms, terms)
        return subscribed.status == 201 and not subscribed.replayed

    def request(
        self, method: str, path: str, body: bytes | None = None, *, idempotency_key: str | None = None
    ) -> Reply:
        """The answer to a request, which is made again while there is none. Raises ServerSilent."""
        give_up_at_s, delay_s = time.monotonic() + self._patience_s, FIRST_DELAY_S
        while True:
            try:
                reply = self._once(method, path, body, idempotency_key)
                if reply.status not in SENT_AGAIN:
                    return reply
                why, wait_s = reply.reason, max(delay_s, reply.retry_after_s)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                why, wait_s = f"{type(error).__name__}: {error}", delay_s
            if time.monotonic() + wait_s > give_up_at_s:
                raise ServerSilent(f"gave up after {self._patience_s:.0f} s; the last answer was {why}")
            time.sleep(wait_s * random.uniform(1.0, 1.2))
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _create(self, path: str, body: dict[str, str], identity: dict[str, str]) -> Reply:
        fingerprint = hashlib.sha256(json.dumps([path, identity], sort_keys=True).encode()).hexdigest()
        reply = self.request("POST", path, json.dumps(body).encode(), idempotency_key=f"replay-{fingerprint}")
        if reply.status not in (201, 409):
            raise RequestRefused(f"{path} for {identity['customer']}: {reply.reason}")
        return reply

    def _once(self, method: str, path: str, body: bytes | None, idempotency_key: str | None) -> Reply:
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        text, retry_after = response.read(), response.headers.get("Retry-After", "")
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        return Reply(
            response.status,
            decoded,
            float(retry_after) if retry_after.isdecimal() else 0.0,
            response.headers.get("Idempotent-Replayed") == "true",
        )


def _outcome(batch: Batch, answer: dict[str, Any]) -> Outcome:
    counts = Counter({status: answer[status] for status in STATUSES})
    remarks = [
        Remark(batch.source, batch.lines[item["index"]].number, item["id"], item["status"], item.get("detail", ""))
        for item in answer["results"]
    ]
    return Outcome(counts, remarks)
