"""How fast does a server take requests? Load from processes of their own: prebuilt requests on kept-alive connections.

Plain sockets, because every microsecond spent here is one that the server, on the same processors, does not get.
"""

import multiprocessing
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import Any

import msgspec

from benchmarks.workload import Stream, request_bodies

PROCESSES = 2
TIMEOUT_S = 120.0
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


def run_load(port: int, key: str, stream: Stream, *, connections: int, seconds: float) -> Load:
    """Send the stream for so many seconds (or to its end); raises RuntimeError on an answer it cannot use.

    Where the server says that it is overloaded, the request is sent again; its latency counts from the first try.
    """
    context = multiprocessing.get_context("spawn")
    processes = min(PROCESSES, connections)
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(
            target=_process,
            args=(port, key, stream, part, processes, connections // processes, seconds, barrier, results),
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
    barrier: Barrier,
    results: Any,
) -> None:
    load = Load()
    try:
        waiting = iter([_request(key, body) for body in request_bodies(stream, part=part, parts=parts)])
        sockets = [socket.create_connection(("127.0.0.1", port), TIMEOUT_S) for _ in range(connections)]
    except BaseException:
        barrier.abort()
        raise
    finally:
        barrier.wait(TIMEOUT_S)
    begin = time.monotonic()
    threads = [
        threading.Thread(target=_connection, args=(sock, waiting, begin + seconds, stream.batch, load))
        for sock in sockets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((begin, time.monotonic(), load))


def _request(key: str, body: bytes) -> bytes:
    head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _connection(sock: socket.socket, waiting: Any, until: float, batch: int, load: Load) -> None:
    """One connection's loop; taking from `waiting` and appending are single steps under the interpreter's lock."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = sock.makefile("rb")
    counts: Counter[str] = Counter()
    try:
        while time.monotonic() < until and (request := next(waiting, None)) is not None:
            begin = time.perf_counter()
            while True:
                sock.sendall(request)
                status, body = _answer(answers)
                if status not in OVERLOADED:
                    break
                counts["refused"] += 1
                time.sleep(PAUSE_S)
            load.latencies_s.append(time.perf_counter() - begin)
            if status != 200:
                load.errors.append(f"{status} {body[:300]!r}")
                break
            answer = msgspec.json.decode(body)
            counts["accepted"] += answer["accepted"]
            counts["other"] += batch - answer["accepted"]
    except (OSError, ValueError) as error:
        load.errors.append(repr(error))
    finally:
        answers.close()
        sock.close()
    with _adding:
        load.counts += counts


_adding = threading.Lock()


def _answer(answers: Any) -> tuple[int, bytes]:
    line = answers.readline()
    if not line:
        raise OSError("the server closed the connection")
    length = 0
    while (header := answers.readline()) not in (b"\r\n", b""):
        if header[:15].lower() == b"content-length:":
            length = int(header[15:])
    return int(line.split()[1]), answers.read(length)
