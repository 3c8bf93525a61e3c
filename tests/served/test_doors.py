"""`POST /v1/events` has three ways in: short, long, and Django's view. The same request gets the same answer on each.

Every request goes as bytes over a socket to a running server: whole, or in pieces, or with a header that the short way
leaves alone; and to a plain WSGI server on the same database, where there is nothing but Django.
"""

import datetime as dt
import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from api.bodies import BODY_LIMIT
from config.embedded_postgres import EmbeddedPostgres
from config.event_protocol import whole_request
from tests.api.hostile_bodies import hostile_bodies
from tests.served.serving import ROOT, Served, environment
from tests.served.wire import PATIENCE_S, Answer, Line

NOW = dt.datetime.now(dt.UTC)
LATELY, LONG_AGO = (NOW - dt.timedelta(hours=1)).isoformat(), "2024-01-01T00:00:00Z"
HEADERS = ("content-type", "content-length", "cache-control", "www-authenticate", "ratelimit-limit")
WAITS = ("retry-after", "ratelimit-reset")
"""In seconds from the answer on; that they are there is enough."""
LONG = "X-Long: a\tb"
"""A header that the short way leaves to the parser."""
KEYS = """
import json
from django.utils import timezone
from api.keys import create_key
from api.rate_limits import RateLimit
from plans.customers import create_customer
now = timezone.now()
for key in ("acme", "cleo"):
    create_customer(key=key, name=key, currency="USD", now=now)
made = {"backend": create_key("backend", ["ingest"], now=now), "reader": create_key("reader", ["read"], now=now)}
made["historian"] = create_key("historian", ["ingest", "backfill"], now=now)
made["bound"] = create_key("bound", ["ingest"], customer_key="cleo", now=now)
for way in ("whole", "pieces", "header", "view"):
    made["slow-" + way] = create_key("slow", ["ingest"], rate_limit=RateLimit(1, 1), now=now)
print(json.dumps({name: plain for name, (key, plain) in made.items()}))
"""
STORED = """
SELECT event_id, conversation, input_tokens, output_tokens, byok FROM metering_event
UNION ALL SELECT event_id, 'in quarantine', 0, 0, false FROM metering_quarantinedevent ORDER BY 1, 2"""
DJANGO = """
from wsgiref.simple_server import WSGIRequestHandler, make_server
from config.wsgi import application
WSGIRequestHandler.log_message = lambda *arguments: None
server = make_server("127.0.0.1", 0, application)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Case(NamedTuple):
    """A request and the status it gets; headers given as None are left out, and as a list are sent several times."""

    name: str
    status: int
    body: Any
    key: str | None = "backend"
    path: str = "/v1/events"
    headers: dict[str, Any] = {}


def event(event_id: str, **said: Any) -> dict[str, Any]:
    usage = {"input_tokens": 900, "output_tokens": 100}
    named = {"id": event_id, "customer": "acme", "conversation": "chat", "occurred_at": LATELY}
    return named | {"provider": "openai", "model": "gpt-4o", "usage": usage} | said


def batch(*events: Any) -> dict[str, Any]:
    return {"events": list(events)}


def packed(body: Any) -> bytes:
    return gzip.compress(json.dumps(body).encode(), mtime=0)


THEIR_WORDS = {"prompt_tokens": 20, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 19}}
THEIRS = event("theirs", provider_usage=THEIR_WORDS)
MORE = {"input_tokens": 900, "output_tokens": 300}
GZIP = {"content-encoding": "gzip"}
BUSY = batch(*[event(f"slow{n}") for n in range(100)])

TAKEN = [
    Case("one event", 200, event("one")),
    Case("the same again", 200, event("one")),
    Case("grown", 200, event("one", usage=MORE)),
    Case("another call under its id", 200, event("one", model="gpt-5")),
    Case("a batch", 200, batch(event("b1"), event("b2", kind="tool"), event("b3", kind="embedding", byok=True))),
    Case("a batch of all sorts", 200, batch(
        event("new"), event("b1"), event("b2", kind="tool", usage=MORE), event("b3"), event("x", customer="nobody"),
        {"id": 7}, event("bad", turn=0), 7, event("new"), event("last", attempt=2, status="error", outcome="lost"),
    )),
    Case("the provider's words", 200, {name: said for name, said in THEIRS.items() if name != "usage"}),
    Case("every field", 200, event("full", turn=3, kind="other", outcome="resolved", feature="chat", byok=False)),
    Case("letters of all kinds", 200, event("ключ-語-𝕏", conversation="é" * 512)),
    Case("gzip", 200, packed(batch(event("packed"))), headers=GZIP),
    Case("gzip in capitals", 200, packed(event("packed")), headers={"content-encoding": "GZIP"}),
    Case("no packing, said so", 200, event("plain"), headers={"content-encoding": "identity"}),
    Case("a charset", 200, event("charset"), headers={"content-type": 'Application/JSON; charset="UTF-8"'}),
    Case("a scheme in small letters", 200, event("small"), headers={"authorization": "bearer {backend}"}),
    Case("a host without port", 200, event("host"), headers={"host": "localhost"}),
    Case("old events by who may", 200, batch(event("old", occurred_at=LONG_AGO)), key="historian"),
    Case("old events by who may not", 200, batch(event("older", occurred_at=LONG_AGO))),
    Case("a bound key's own customer and another", 200, batch(event("o", customer="cleo"), event("a")), key="bound"),
    Case("an idempotency key", 200, event("idempotent"), headers={"idempotency-key": "k"}),
]  # fmt: skip
HOSTILE = [
    Case(f"hostile: {one.name}", one.status, one.body, headers=dict(one.headers))
    for one in hostile_bodies(NOW)
    if len(one.body) <= BODY_LIMIT  # beyond that nobody reads on, and a server may hang up while it is being sent
]
REFUSED = [
    *HOSTILE,
    Case("a field too many beside events", 400, {"events": [1], "more": 1}),
    Case("a bad field", 400, event("bad", usage={"input_tokens": 1.5, "output_tokens": 1})),
    Case("a field too many", 400, event("bad", nonsense=1)),
    Case("the future", 400, event("bad", occurred_at=(NOW + dt.timedelta(days=1)).isoformat())),
    Case("an old event alone", 400, event("bad", occurred_at=LONG_AGO)),
    Case("another customer than the bound key's", 400, event("bad"), key="bound"),
    Case("no key", 401, event("bad"), key=None),
    Case("no known key", 401, event("bad"), headers={"authorization": "Bearer pk_0123456789abcdef_" + "0" * 64}),
    Case("no key at all", 401, event("bad"), headers={"authorization": "Bearer nonsense"}),
    Case("another scheme", 401, event("bad"), headers={"authorization": "Basic YTpi"}),
    Case("two keys", 401, event("bad"), headers={"authorization": ["Bearer {backend}", "Bearer {historian}"]}),
    Case("a key without the scope", 403, event("bad"), key="reader"),
    Case("a body in chunks", 411, b"0\r\n\r\n", headers={"content-length": None, "transfer-encoding": "chunked"}),
    Case("a body announced too large", 413, b"", headers={"content-length": str(BODY_LIMIT + 1)}),
    Case("too many events", 413, batch(*[0] * 1_001)),
    Case("no content type", 415, event("bad"), headers={"content-type": None}),
    Case("packed twice", 415, packed(event("bad")), headers={"content-encoding": ["gzip", "gzip"]}),
    Case("packed and more", 400, packed(event("bad")) + b"more", headers=GZIP),
    Case("somebody else's host", 400, event("bad"), headers={"host": "evil.example"}),
    Case("a host that is none", 400, event("bad"), headers={"host": "local host"}),
    Case("two hosts", 400, event("bad"), headers={"host": ["localhost", "evil.example"]}),
    Case("a parameter", 400, event("bad"), path="/v1/events?dry_run=1"),
    Case("a key in the URL", 400, event("bad"), path="/v1/events?api_key=pk_0", key=None),
    Case("a query that is no UTF-8", 400, event("bad"), path="/v1/events?%ff=1"),
    Case("more than its rate, once", 200, BUSY, key="slow-{way}"),
    Case("faster than its rate", 429, event("slow"), key="slow-{way}"),
]
CASES = [*TAKEN, *REFUSED]


def as_bytes(case: Case, keys: dict[str, str], way: str, extra: str = "") -> bytes:
    """The request as it goes over the wire."""
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, ensure_ascii=False).encode()
    usual: dict[str, Any] = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    if case.key is not None:
        usual["authorization"] = f"Bearer {keys[case.key.format(way=way)]}"
    lines = [f"POST {case.path} HTTP/1.1"]
    for name, said in (usual | case.headers).items():
        values = said if isinstance(said, list) else [said]
        lines += [f"{name}: {value.format(**keys)}" for value in values if value is not None]
    return "\r\n".join([*lines, *([extra] if extra else []), "", ""]).encode() + body


class Way:
    """Sends requests in one manner, on one connection as long as that lasts."""

    def __init__(self, name: str, port: int | None, *, pieces: int = 1, extra: str = "") -> None:
        self.name, self._port, self._pieces, self._extra = name, port, pieces, extra
        self._line: Line | None = None

    def ask(self, case: Case, keys: dict[str, str]) -> Answer:
        whole = as_bytes(case, keys, self.name, self._extra)
        places = [len(whole) * piece // self._pieces for piece in range(self._pieces + 1)]
        line = self._line = self._line or self._connect()
        for start, end in pairwise(places):
            line.send(whole[start:end])
            if end < len(whole):
                time.sleep(0.005)  # or the pieces would be one when they arrive
        answer = line.answer()
        unread = {"content-length", "transfer-encoding"} & case.headers.keys()  # and would be part of the next
        if unread or self.name == "view" or answer.headers.get("connection") == "close":
            self.hang_up()
        return answer

    def _connect(self) -> Line:
        connected = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Line(connected)

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.received.close()
            self._line.connected.close()
            self._line = None


@contextmanager
def django_alone(served: Served) -> Iterator[int]:
    """The port of a WSGI server on the same database."""
    named = {"DATABASE_URL": EmbeddedPostgres(served.data_dir).url, "PARLEY_WEB_WORKERS": "2"}
    command = [sys.executable, "-c", DJANGO]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(served.data_dir) | named, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


class Told(NamedTuple):
    """What came of all the requests in one way: the answers, and what was stored."""

    answers: dict[str, Answer]
    stored: list[tuple[Any, ...]]


def tell(served: Served, way: Way, keys: dict[str, str]) -> Told:
    served.forget_usage()
    answers = {case.name: way.ask(case, keys) for case in CASES}
    way.hang_up()
    return Told(answers, served.query(STORED))


@pytest.fixture(scope="module")
def told(served: Served) -> dict[str, Told]:
    """By way."""
    keys = json.loads(served.run("shell", "-v", "0", "-c", KEYS))
    port = urlsplit(served.url).port
    ways = [Way("whole", port), Way("pieces", port, pieces=3), Way("header", port, extra=LONG)]
    found = {way.name: tell(served, way, keys) for way in ways}
    with django_alone(served) as port:
        found["view"] = tell(served, Way("view", port), keys)
    return found


def relevant(answer: Answer) -> tuple[int, dict[str, str], bool, bytes]:
    headers = {name: value for name, value in answer.headers.items() if name in HEADERS}
    return answer.status, headers, all(int(answer.headers.get(name, 1)) > 0 for name in WAITS), answer.body


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_every_way_gives_the_same_answer(told: dict[str, Told], name: str) -> None:
    whole = relevant(told["whole"].answers[name])
    assert whole[0] == next(case.status for case in CASES if case.name == name), whole
    for way in ("pieces", "header", "view"):
        assert relevant(told[way].answers[name]) == whole, way


def test_every_way_stores_the_same(told: dict[str, Told]) -> None:
    ids = {row[0] for row in told["whole"].stored}
    assert {"one", "b3", "packed", "old", "o", "x", "slow99"} <= ids
    assert not {"bad", "hostile-1", "older", "a", "slow"} & ids
    assert told["whole"].stored == told["pieces"].stored == told["header"].stored == told["view"].stored


def test_the_requests_are_of_every_status_and_go_the_way_they_should() -> None:
    assert {case.status for case in CASES} == {200, 400, 401, 403, 411, 413, 415, 429}
    assert len({case.name for case in CASES}) == len(CASES)
    keys = dict.fromkeys(["backend", "reader", "historian", "bound", "slow-whole"], "pk_0")
    straight = [case for case in CASES if whole_request(as_bytes(case, keys, "whole")) is not None]
    assert {case.status for case in straight} == {200, 400, 401, 403, 413, 415, 429}
    assert len(straight) > len(CASES) - 12
    assert not any(whole_request(as_bytes(case, keys, "whole", LONG)) for case in CASES)
