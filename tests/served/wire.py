"""What do the tests send that no client library would? Bytes, as slowly and as wrongly as they like."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.served.serving import Served

PATIENCE_S = 30.0


class Answer(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Line:
    """A connection to the web server."""

    def __init__(self, connected: socket.socket) -> None:
        self.connected = connected
        self.received = connected.makefile("rb")
        self.send = connected.sendall

    def answer(self) -> Answer:
        """The next answer. Raises ConnectionError if none comes any more, TimeoutError if none does soon."""
        start = self.received.readline().split()
        if not start:
            raise ConnectionError("there is no further answer")
        headers = {name.lower(): value for name, value in http.client.parse_headers(self.received).items()}
        return Answer(int(start[1]), headers, self.received.read(int(headers["content-length"])))

    def send_no_more(self) -> None:
        """Closes this side of the connection; the other is still listened to."""
        self.connected.shutdown(socket.SHUT_WR)

    def is_over(self) -> bool:
        """Waits until the server closes the connection; whether it does."""
        try:
            while self.received.read(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


@contextmanager
def line(served: Served) -> Iterator[Line]:
    """A connection, for as long as the block lasts."""
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as connected:
        opened = Line(connected)
        with opened.received:
            yield opened


def request(served: Served, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request with the server's key, whole; a header given as "" is left out."""
    usual = {"host": urlsplit(served.url).netloc, "authorization": f"Bearer {served.key}"}
    usual |= {"content-length": str(len(body)), "content-type": "application/json"}
    named = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items() if value)]
    return "\r\n".join([*head, "", ""]).encode() + body


def ask(served: Served, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """One request on a connection of its own."""
    with line(served) as connected:
        connected.send(request(served, method, path, body, **headers))
        return connected.answer()
