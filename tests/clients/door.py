"""A stand-in for Parley's door, for what Parley itself does not do on demand: be away, slow, overloaded or broken.

It keeps the contract of `POST /v1/events`: an id is stored once, and one bad event spoils none beside it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

STATUSES = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")


class Request(NamedTuple):
    """What came in."""

    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in json.loads(self.body)["events"]]


class Says(NamedTuple):
    """An answer of its own, in place of Parley's; status 0 hangs up without one."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    takes_effect: bool = False
    after_s: float = 0.0
    then_hangs_up: bool = False


class Door:
    """What came in, what is stored, and the answers it will give first."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.events: dict[str, dict[str, Any]] = {}
        self.closes: list[dict[str, Any]] = []
        self.answers: list[Says] = []
        self.verdict: Callable[[dict[str, Any]], str] = lambda event: "accepted"
        self.unreadable = "\0"
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Says:
        with self._lock:
            self.requests.append(request)
            said = self.answers.pop(0) if self.answers else None
            if said is None or said.takes_effect:
                usual = self._as_parley_would(request)
        if said is not None:
            time.sleep(said.after_s)
            return said
        return usual

    def _as_parley_would(self, request: Request) -> Says:
        if request.path == "/v1/conversations/close":
            self.closes.append(json.loads(request.body))
            return Says(200, b'{"status": "accepted"}')
        events = json.loads(request.body)["events"]
        if any(self.unreadable in str(event["conversation"]) for event in events):
            fault = {"title": "Bad request", "errors": [{"pointer": "/events", "detail": "NUL"}]}
            return Says(400, json.dumps(fault).encode())
        answer: dict[str, Any] = dict.fromkeys(STATUSES, 0) | {"results": []}
        for index, event in enumerate(events):
            status = "duplicate" if event["id"] in self.events else self.verdict(event)
            answer[status] += 1
            if status == "accepted":
                self.events[event["id"]] = event
            elif status != "duplicate":
                answer["results"].append({"index": index, "id": event["id"], "status": status, "detail": "because"})
        return Says(200, json.dumps(answer).encode())


@contextmanager
def open_door(port: int = 0) -> Iterator[Door]:
    """A door on a port of this machine, and nothing of it afterwards."""
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed
                self.close_connection = True
                return
            said = door.answer(Request(self.path, body, dict(self.headers)))
            self.close_connection = said.status == 0 or said.then_hangs_up
            if said.status == 0:
                return
            self.send_response(said.status)
            for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        block_on_close = False

        def handle_error(self, *args: Any) -> None:
            """A client that left early is no error here."""

    with Server(("127.0.0.1", port), Handler) as server:
        door.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield door
        finally:
            server.shutdown()
            thread.join()
