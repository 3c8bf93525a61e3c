"""How is the stand-in reached? An HTTP server on 127.0.0.1, in this process or run as a command of its own.

python -m sandbox.stripe_server --data DIR --port 0 --port-file FILE --webhook-url URL --webhook-secret SECRET
"""

import argparse
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sandbox.stripe_control import PREFIX, Control
from sandbox.stripe_faults import Faults
from sandbox.stripe_store import Store
from sandbox.stripe_till import Answer, Request, Till
from sandbox.stripe_webhooks import Courier

HOST = "127.0.0.1"
MAX_BODY = 1_048_576
ADVANCE_EVERY_S = 1.0


class StripeServer:
    """The whole stand-in over one folder. `clock` gives seconds since 1970."""

    def __init__(self, data: Path, *, port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.store = Store(data)
        self.faults = Faults()
        self.courier = Courier(self.store)
        self.till = Till(self.store, self.faults, clock, self.courier.wake)
        self._http = _Http((HOST, port), self.till, Control(self.store, self.till, self.faults, self.courier))
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.02,), name="stripe-http"),
            threading.Thread(target=self._advance, name="stripe-advance"),
        ]

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Returns when requests are answered."""
        self.courier.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets what is at work finish, then closes everything."""
        self._stopping.set()
        self._http.shutdown()
        for thread in self._threads:
            thread.join()
        self.courier.stop()
        self._http.hang_up()
        self._http.server_close()
        self.store.close()

    def _advance(self) -> None:
        while not self._stopping.wait(ADVANCE_EVERY_S):
            self.till.advance()


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], till: Till, control: Control) -> None:
        self.till, self.control = till, control
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Ends kept-alive connections, whose threads would wait for another request for ever."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:
                self._connections.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        length = self.headers.get("Content-Length", "0")
        if host not in (HOST, "localhost") or not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            return self._send(Answer(400, b"not for this server"))
        if int(length) > MAX_BODY:
            self.close_connection = True
            return self._send(Answer(413, b"too large"))
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, body if self.command == "POST" else query, headers)
        if path == PREFIX or path.startswith(f"{PREFIX}/"):
            return self._send(self.server.control.answer(request))
        return self._send(self.server.till.answer(request))

    def _send(self, answer: Answer) -> None:
        if answer.ending in ("reset", "silence"):
            time.sleep(answer.wait_s)
            return self._drop(reset=answer.ending == "reset")
        self.send_response(answer.status)
        for name, value in [("Content-Length", str(len(answer.body))), *answer.headers.items()]:
            self.send_header(name, value)
            if answer.ending == "doubled" and name != "Content-Length":
                self.send_header(name, value)
        self.end_headers()
        if answer.ending == "truncated":
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.wfile.flush()
            return self._drop(reset=False)
        self.wfile.write(answer.body)
        return self.wfile.flush()

    def _drop(self, *, reset: bool) -> None:
        """Ends the connection without the rest of an answer; `reset` lets the client see ECONNRESET."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: requests carry keys and customers' names, which belong in no log."""


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A Stripe stand-in on 127.0.0.1 for demo and tests")
    parser.add_argument("--data", type=Path, required=True, help="folder of its SQLite file")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port once requests are answered")
    parser.add_argument("--webhook-url", help="loopback URL that gets the events")
    parser.add_argument("--webhook-secret", default="", help="signing secret, whsec_...")
    asked = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = StripeServer(asked.data, port=asked.port)
    if asked.webhook_url:
        server.courier.deliver_to(asked.webhook_url, asked.webhook_secret)
    server.start()
    if asked.port_file:
        _write_atomically(asked.port_file, str(server.port))
    stopped.wait()
    server.stop()


def _write_atomically(target: Path, text: str) -> None:
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    unfinished.write_text(text)
    os.replace(unfinished, target)


if __name__ == "__main__":
    main()
