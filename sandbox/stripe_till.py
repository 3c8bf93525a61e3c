"""How does one request become one answer? Key, contract, faults, idempotency, the operation."""

import base64
import hashlib
import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.stripe_contract import API_VERSION, Contract, Operation
from sandbox.stripe_desk import Desk
from sandbox.stripe_faults import Fault, Faults
from sandbox.stripe_form import Form, decode
from sandbox.stripe_payments import advance_invoice
from sandbox.stripe_reading import expand
from sandbox.stripe_refunds import USUAL_FAILURE, advance_refund, move_on
from sandbox.stripe_refusal import Refusal, not_played
from sandbox.stripe_routes import PLAYED
from sandbox.stripe_store import Object, Store

KEY_KEPT_S = 86_400
LISTS_LAG_S = 60


@dataclass(frozen=True)
class Request:
    """What arrived. `sent` is the form: the query of a GET, the body of a POST; header names are in lower case."""

    method: str
    path: str
    sent: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What goes back. `ending` tells how it is sent: complete, reset, silence, truncated or doubled."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    ending: str = "complete"
    wait_s: float = 0.0


class Till:
    """Answers requests against one store. `clock` gives seconds since 1970, `wake` is called when events wait."""

    def __init__(self, store: Store, faults: Faults, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._store = store
        self._faults = faults
        self._clock = clock
        self._wake = wake
        self._contract = Contract()
        self._in_flight: set[str] = set()
        self._gate = threading.Lock()

    def now(self) -> int:
        """The stand-in's own time; it can be moved forward, never back."""
        return int(self._clock()) + int(self._store.setting("clock_ahead_s", "0"))

    def move_clock(self, seconds: int) -> None:
        with self._store.transaction():
            ahead = int(self._store.setting("clock_ahead_s", "0")) + max(0, seconds)
            self._store.set("clock_ahead_s", str(ahead))
        self.advance()

    def advance(self) -> None:
        """Does what Stripe does by itself: finalizes, collects and refunds what is due by now."""
        for wanted in self._store.acting(self.now()):
            with self._store.transaction():
                move = advance_refund if wanted.startswith("re_") else advance_invoice
                move(Desk(self._store, self.now()), wanted)
            self._wake()

    def move_refund(self, wanted: str, status: str, reason: str = USUAL_FAILURE) -> None:
        """A bank's answer to a refund. Raises NoSuchCourse; Refusal where there is no such refund."""
        with self._store.transaction():
            move_on(Desk(self._store, self.now()), wanted, status, reason)
        self._wake()

    def answer(self, request: Request) -> Answer:
        """The answer to one API request; never raises."""
        request_id = f"req_{secrets.token_hex(7)}"
        try:
            answer = self._answer(request, request_id)
        except Refusal as refusal:
            answer = _refused(refusal)
        except Exception:
            # A mistake of the stand-in looks to the client as one of Stripe's would; nothing was committed.
            traceback.print_exc()
            answer = _refused(_server_error())
        headers = {
            "Content-Type": "application/json",
            "Request-Id": request_id,
            "Stripe-Version": API_VERSION,
        }
        return replace(answer, headers={**headers, **answer.headers})

    def _answer(self, request: Request, request_id: str) -> Answer:
        _check_key(request.headers)
        operation, ids = self._contract.find(request.method, request.path)
        fault = self._faults.next_for(operation.name)
        early = _before(fault)
        if early is not None:
            return early
        form = decode(request.sent)
        params = self._contract.check(operation, form)
        if operation.name not in PLAYED:
            raise not_played(f"the operation {operation.name}")
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        with self._alone(key):
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            desk = Desk(self._store, self.now(), request_id, key)
            answer = self._once(desk, operation, ids, params, _fingerprint(request, form), fault)
        self._wake()
        return _spoiled(answer, fault)

    @contextmanager
    def _alone(self, key: str | None) -> Iterator[None]:
        """Two requests with one idempotency key never run at the same time; the second is refused with 409."""
        with self._gate:
            if key in self._in_flight:
                raise _key_in_use()
            if key is not None:
                self._in_flight.add(key)
        try:
            yield
        finally:
            with self._gate:
                self._in_flight.discard(key or "")

    def _once(
        self,
        desk: Desk,
        operation: Operation,
        ids: list[str],
        params: dict[str, Any],
        fingerprint: str,
        fault: Fault | None,
    ) -> Answer:
        if desk.idempotency_key is None:
            with self._store.transaction():
                return _json(*self._carry_out(desk, operation, ids, params, fault))
        with self._store.transaction():
            self._store.write("DELETE FROM answers WHERE at <= ?", desk.now - KEY_KEPT_S)
            stored = self._store.rows("SELECT * FROM answers WHERE key = ?", desk.idempotency_key)
            if stored:
                if stored[0]["fingerprint"] != fingerprint:
                    raise _other_params()
                return Answer(stored[0]["status"], stored[0]["body"].encode(), {"Idempotent-Replayed": "true"})
            answer = _json(*self._carry_out(desk, operation, ids, params, fault))
            if fault and fault.kind == "ok-but-500-stored":
                answer = _refused(_server_error())
            self._store.write(
                "INSERT INTO answers (key, fingerprint, status, body, at) VALUES (?, ?, ?, ?, ?)",
                desk.idempotency_key,
                fingerprint,
                answer.status,
                answer.body.decode(),
                desk.now,
            )
            return answer

    def _carry_out(
        self, desk: Desk, operation: Operation, ids: list[str], params: dict[str, Any], fault: Fault | None
    ) -> tuple[int, Object]:
        desk.declines_all = bool(fault and fault.kind == "402-card-declined")
        desk.listed_at = desk.now + LISTS_LAG_S if fault and fault.kind == "list-lags" else 0
        refused: Refusal | None = None
        result: Object = {}
        try:
            with self._store.attempt():
                try:
                    result = desk.shown(PLAYED[operation.name](desk, params, *ids))
                    result = expand(desk, result, params.get("expand", []))
                except Refusal as refusal:
                    if not refusal.keeps_changes:
                        raise
                    refused = refusal
        except Refusal as refusal:
            refused = refusal
        return (refused.status, refused.body) if refused else (200, result)


def _check_key(headers: Mapping[str, str]) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode("ascii").partition(":")[0]
        except ValueError:
            given = ""
    if not given:
        raise Refusal(401, "You did not provide an API key. Use Authorization: Bearer YOUR_SECRET_KEY.")
    if not given.startswith(("sk_test_", "rk_test_")):
        raise Refusal(401, f"Invalid API Key provided: {given[:8]}****")
    version = headers.get("stripe-version", API_VERSION)
    if version != API_VERSION:
        raise Refusal(400, f"Invalid Stripe API version: {version}; this stand-in speaks {API_VERSION}.")


def _fingerprint(request: Request, form: Form) -> str:
    sent = json.dumps([request.method, request.path, form], sort_keys=True)
    return hashlib.sha256(sent.encode("utf-8", "surrogatepass")).hexdigest()


def _json(status: int, body: Object) -> Answer:
    return Answer(status, json.dumps(body, separators=(",", ":")).encode())


def _refused(refusal: Refusal, **headers: str) -> Answer:
    answer = _json(refusal.status, refusal.body)
    return replace(answer, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _server_error() -> Refusal:
    return Refusal(500, "An unknown error occurred.", kind="api_error")


def _key_in_use() -> Refusal:
    return Refusal(
        409,
        "There is currently another in-progress request using this Idempotent Key.",
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


def _other_params() -> Refusal:
    return Refusal(
        400,
        "Keys for idempotent requests can only be used with the same parameters they were first used with.",
        kind="idempotency_error",
    )


def _before(fault: Fault | None) -> Answer | None:
    """The answer of those faults that strike before anything happens."""
    match fault.kind if fault else "":
        case "reset-before":
            return Answer(500, b"", ending="reset")
        case "500-before":
            return _refused(_server_error())
        case "500-should-retry-false":
            return _refused(_server_error(), Stripe_Should_Retry="false")
        case "502-html":
            page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
            return Answer(502, page, {"Content-Type": "text/html"})
        case "503":
            return _refused(Refusal(503, "Stripe is temporarily unavailable.", kind="api_error"), Retry_After="1")
        case "429":
            return _refused(Refusal(429, "Request rate limit exceeded.", code="rate_limit"), Retry_After="1")
        case "429-lock-timeout":
            return _refused(Refusal(429, "This object cannot be accessed right now.", code="lock_timeout"))
        case "409":
            return _refused(_key_in_use())
    return None


def _spoiled(answer: Answer, fault: Fault | None) -> Answer:
    """What the client gets to see of an answer whose work is done."""
    match fault.kind if fault else "":
        case "ok-then-reset":
            return replace(answer, ending="reset")
        case "ok-then-timeout":
            return replace(answer, ending="silence", wait_s=fault.seconds if fault else 0)
        case "ok-then-500":
            return _refused(_server_error())
        case "ok-but-500-stored" if answer.status < 500:
            return _refused(_server_error())
        case "truncated-json":
            return replace(answer, ending="truncated")
        case "duplicate-header":
            return replace(answer, ending="doubled")
    return answer
