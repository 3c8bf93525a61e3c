"""Who is told what happened? Signed delivery of events to one webhook endpoint, at least once, until it answers 2xx.

What is still to be delivered is stored with the event, so a restart loses nothing. Only loopback addresses are called:
the stand-in must never reach another machine.
"""

import hashlib
import hmac
import http.client
import ipaddress
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.stripe_store import Store

BATCH = 500
FIRST_RETRY_S, LAST_RETRY_S = 0.25, 60.0
TIMEOUT_S = 10.0
IDLE_S = 0.1


class NotLoopback(Exception):
    """The webhook URL does not point to this machine."""


@dataclass
class Conduct:
    """How deliveries misbehave: sent `duplicate` more times at once, shuffled, delayed by up to `delay_s`, or held."""

    duplicate: int = 0
    shuffle: bool = False
    delay_s: float = 0.0
    paused: bool = False
    seed: int = 0


def signature(payload: bytes, secret: str, at: int) -> str:
    """The `Stripe-Signature` header for a body signed at that second."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def loopback_address(url: str) -> tuple[str, int, str]:
    """Host, port and path of a URL; raises NotLoopback for anything but plain HTTP to this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        address = "127.0.0.1" if host == "localhost" else host
        local = ipaddress.ip_address(address).is_loopback
    except ValueError as problem:
        raise NotLoopback(url) from problem
    if parts.scheme != "http" or not local or parts.username is not None:
        raise NotLoopback(url)
    return address, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class Courier:
    """Delivers from a thread of its own, between `start` and `stop`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._awake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="stripe-courier", daemon=True)
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="stripe-delivery")
        self._dice = random.Random(0)
        self.conduct = Conduct()

    def deliver_to(self, url: str, secret: str) -> None:
        """Sends everything that happens from now on to this endpoint."""
        loopback_address(url)
        with self._store.transaction():
            self._store.set("webhook_url", url)
            self._store.set("webhook_secret", secret)

    def behave(self, conduct: Conduct) -> None:
        self.conduct = conduct
        self._dice = random.Random(conduct.seed)
        self.wake()

    def resend(self, event: str) -> None:
        """Delivers a stored event once more."""
        with self._store.transaction():
            self._store.write(
                "UPDATE deliveries SET delivered_at = NULL, due_at = ? WHERE event = ?", time.time(), event
            )
        self.wake()

    def waiting(self) -> int:
        """How many events are not delivered yet."""
        return int(self._store.rows("SELECT count(*) FROM deliveries WHERE delivered_at IS NULL")[0][0])

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._awake.set()

    def stop(self) -> None:
        self._stopping = True
        self.wake()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopping:
            self._awake.clear()
            if self.conduct.paused or not self._deliver_due():
                self._awake.wait(IDLE_S)

    def _deliver_due(self) -> int:
        # Delays are drawn from the event's id, so that a delayed event stays delayed until its time.
        due = [
            row["event"]
            for row in self._store.rows(
                "SELECT event, due_at FROM deliveries WHERE delivered_at IS NULL AND due_at <= ? ORDER BY due_at, rowid"
                " LIMIT ?",
                time.time(),
                BATCH,
            )
            if row["due_at"] + self._delay(row["event"]) <= time.time()
        ]
        if self.conduct.shuffle:
            self._dice.shuffle(due)
        for event in due:
            if self._stopping or self.conduct.paused:
                break
            self._deliver(event)
        return len(due)

    def _delay(self, event: str) -> float:
        return self.conduct.delay_s * random.Random(f"{self.conduct.seed}{event}").random()

    def _deliver(self, event: str) -> None:
        body = self._store.get(event)
        payload = json.dumps(body, indent=2).encode()
        copies = [self._pool.submit(self._send, payload) for _ in range(1 + self.conduct.duplicate)]
        outcomes = [copy.result() for copy in copies]
        arrived = all(outcome.startswith("2") for outcome in outcomes)
        with self._store.transaction():
            attempts = self._store.rows("SELECT attempts FROM deliveries WHERE event = ?", event)[0]["attempts"]
            pause = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts, 16))
            self._store.write(
                "UPDATE deliveries SET attempts = attempts + 1, outcome = ?, delivered_at = ?, due_at = ?"
                " WHERE event = ?",
                outcomes[-1],
                time.time() if arrived else None,
                time.time() + pause,
                event,
            )

    def _send(self, payload: bytes) -> str:
        """The HTTP status that came back, or what went wrong."""
        host, port, path = loopback_address(self._store.setting("webhook_url"))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(payload, self._store.setting("webhook_secret"), int(time.time())),
        }
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, payload, headers)
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as problem:
            return type(problem).__name__
        finally:
            connection.close()
