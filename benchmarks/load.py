"""How fast does a server take requests? Load from processes of their own: prebuilt requests on kept-alive connections.

Plain sockets, because every microsecond spent here is one that the server, on the same processors, does not get.
"""

import multiprocessing
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.synchronize import Barrier
from typing import Any

import msgspec

from benchmarks.workload import Stream, request_bodies

PROCESSES = 2
TIMEOUT_S = 120.0
READ_BYTES = 64 * 1024
OVERLOADED, PAUSE_S = (429, 503), 0.02


@dataclass
class Load:
    """What came of it: events by what they became, seconds from first request to last answer, latencies of requests."""

    counts: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def events_a_second(self) -> float:
        return self.counts["accepted"] / self.elapsed_s

    def latency_ms(self, quantile: float) -> float:
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def run_load(port: int, key: str, stream: Stream, *, connections: int, seconds: float, ready_made: bool = True) -> Load:
    """Send the stream for so many seconds (or to its end); raises RuntimeError on an answer it cannot use.

    Where the server says that it is overloaded, the request is sent again; its latency counts from the first try.
    Requests are made beforehand, unless they would be too many to keep.
    """
    context = multiprocessing.get_context("spawn")
    processes = min(PROCESSES, connections)
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(
            target=_process,
            args=(port, key, stream, part, processes, connections // processes, seconds, ready_made, barrier, results),
        )
        for part in range(processes)
    ]
    for process in started:
        process.start()
    gathered = [results.get() for _ in started]
    for process in started:
        process.join()
    return _together(gathered)


def _together(parts: list[tuple[float, float, Load]]) -> Load:
    whole = Load(elapsed_s=max(end for _, end, _ in parts) - min(begin for begin, _, _ in parts))
    for _, _, part in parts:
        whole.counts += part.counts
        whole.latencies_s += part.latencies_s
        whole.errors += part.errors
    if whole.errors:
        raise RuntimeError(f"{len(whole.errors)} requests failed; the first: {whole.errors[0]}")
    return whole


def _process(
    port: int,
    key: str,
    stream: Stream,
    part: int,
    parts: int,
    connections: int,
    seconds: float,
    ready_made: bool,
    barrier: Barrier,
    results: Any,
) -> None:
    load = Load()
    try:
        requests = (_request(key, body) for body in request_bodies(stream, part=part, parts=parts))
        waiting = iter(list(requests)) if ready_made else requests
        sockets = [socket.create_connection(("127.0.0.1", port), TIMEOUT_S) for _ in range(connections)]
    except BaseException:
        barrier.abort()
        raise
    finally:
        barrier.wait(TIMEOUT_S)
    begin = time.monotonic()
    _exchange(sockets, waiting, begin + seconds, stream.batch, load)
    results.put((begin, time.monotonic(), load))


def _request(key: str, body: bytes) -> bytes:
    head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Connection:
    """One kept-alive connection: the request under way and when it was first sent, and what of its answer has come."""

    socket: socket.socket
    request: bytes = b""
    sent_at_s: float = 0.0
    answer: bytes = b""

    def send(self, request: bytes) -> None:
        self.request, self.sent_at_s = request, time.perf_counter()
        self.socket.sendall(request)


def _exchange(sockets: list[socket.socket], waiting: Iterator[bytes], until: float, batch: int, load: Load) -> None:
    """Keep one request under way on every connection until the time is over, and then take what is still answered."""
    ready = select.epoll()
    under_way = {sock.fileno(): Connection(sock) for sock in sockets}
    for number, connection in list(under_way.items()):
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.register(number, select.EPOLLIN)
        _send_next(connection, waiting, under_way)
    while under_way:
        over = time.monotonic() >= until
        for number, _ in ready.poll(TIMEOUT_S) or _nobody_answers():
            connection = under_way[number]
            connection.answer += connection.socket.recv(READ_BYTES) or _nobody_answers()
            if (answered := _whole_answer(connection.answer)) is None:
                continue
            connection.answer = b""
            if _note(answered, connection, batch, load):
                _send_next(connection, iter(()) if over else waiting, under_way)
            else:
                time.sleep(PAUSE_S)
                connection.socket.sendall(connection.request)


def _send_next(connection: Connection, waiting: Iterator[bytes], under_way: dict[int, Connection]) -> None:
    request = next(waiting, None)
    if request is None:
        del under_way[connection.socket.fileno()]
        connection.socket.close()
    else:
        connection.send(request)


def _whole_answer(answer: bytes) -> tuple[int, bytes] | None:
    """Status and body, once all of it has come."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return None
    status, length = _read_head(head)
    return None if len(body) < length else (status, body)


@lru_cache(maxsize=64)
def _read_head(head: bytes) -> tuple[int, int]:
    """Status and length of the body; most answers begin alike."""
    return int(head[9:12]), int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def _note(answered: tuple[int, bytes], connection: Connection, batch: int, load: Load) -> bool:
    """Count an answer; False where the request has to be sent again."""
    status, body = answered
    if status in OVERLOADED:
        load.counts["refused"] += 1
        return False
    load.latencies_s.append(time.perf_counter() - connection.sent_at_s)
    if status == 200:
        accepted = _read_accepted(body)
        load.counts["accepted"] += accepted
        load.counts["other"] += batch - accepted
    else:
        load.errors.append(f"{status} {body[:300]!r}")
    return True


@lru_cache(maxsize=64)
def _read_accepted(body: bytes) -> int:
    return int(msgspec.json.decode(body)["accepted"])


def _nobody_answers() -> Any:
    raise OSError("the server closed the connection, or was silent for too long")
