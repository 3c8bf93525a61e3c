"""Clients that are slow, broken or hostile are told so and lose their connection; all others are served meanwhile."""

import datetime as dt
import gzip
import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.hostile_bodies import an_event, bomb, hostile_bodies
from tests.served.killing import WEB, children
from tests.served.serving import Served
from tests.served.wire import ask, line, request

NOW = dt.datetime.now(dt.UTC)
MEBIBYTE = 1024 * 1024
DOORS = ["/v1/events", "/v1/customers"]
"""One of each kind: the bare door, and Django."""


def customer(key: str) -> bytes:
    return json.dumps({"key": key, "name": key, "currency": "USD"}).encode()


def others_are_served(served: Served) -> None:
    """Soon, too."""
    since_s = time.monotonic()
    assert ask(served, "GET", "/v1/customers").status == 200
    assert ask(served, "POST", "/v1/events", json.dumps(an_event(NOW, id="other")).encode()).status == 200
    assert time.monotonic() - since_s < 3


def test_slow_bodies_hold_up_nobody_and_are_given_up(served: Served) -> None:
    with ExitStack() as slow:
        lines = [slow.enter_context(line(served)) for _ in range(40)]
        for number, connected in enumerate(lines):
            connected.send(request(served, "POST", DOORS[number % 2], customer("slow"))[:-5])
        others_are_served(served)
        for connected in lines:
            answer = connected.answer()
            assert (answer.status, answer.headers["content-type"]) == (408, "application/problem+json")


def test_slow_heads_and_silence_hold_up_nobody_and_are_given_up(served: Served) -> None:
    whole = request(served, "GET", "/v1/customers")
    with ExitStack() as slow:
        silent, *lines = [slow.enter_context(line(served)) for _ in range(40)]
        deadline_s = time.monotonic() + 25
        for sent in range(len(whole)):
            try:
                for connected in lines:
                    connected.send(whole[sent : sent + 1])
            except ConnectionError:
                break  # the server has had enough
            assert time.monotonic() < deadline_s, "the server goes on waiting"
            time.sleep(0.2)
        others_are_served(served)
        assert all(connected.is_over() for connected in lines)
        assert silent.answer().status == 408


@pytest.mark.parametrize("path", DOORS)
def test_who_closes_his_side_after_a_whole_request_is_answered(served: Served, path: str) -> None:
    with line(served) as connected:
        connected.send(request(served, "POST", path, b"{}"))
        connected.send_no_more()
        assert connected.answer().status == 400


@pytest.mark.parametrize("path", DOORS)
def test_who_closes_his_side_in_the_middle_of_a_body_has_sent_nothing(served: Served, path: str) -> None:
    with line(served) as connected:
        connected.send(request(served, "POST", path, customer("half"))[:-5])
        connected.send_no_more()
        connected.is_over()
    others_are_served(served)
    assert ask(served, "GET", "/v1/customers/half").status == 404


def test_garbage_behind_a_request_does_not_keep_its_answer_back(served: Served) -> None:
    with line(served) as connected:
        connected.send(request(served, "GET", "/v1/customers") + b"\x16\x03\x01\r\n\r\n" * 100)
        assert connected.answer().status == 200
        assert connected.is_over()


def test_what_is_no_http_is_refused(served: Served) -> None:
    with line(served) as connected:
        connected.send(b"\x16\x03\x01\r\n\r\n" * 100)
        assert connected.answer().headers["content-type"] == "application/problem+json"
        assert connected.is_over()


def test_requests_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    one, other = request(served, "POST", "/v1/events", b"["), request(served, "GET", "/v1/customers")
    with line(served) as connected:
        connected.send(one + other + one)
        assert [connected.answer().status for _ in range(3)] == [400, 200, 400]


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("size", [17 * 1024, 300 * 1024])
def test_a_head_beyond_16_kibibytes_is_refused(served: Served, path: str, size: int) -> None:
    with line(served) as connected:
        connected.send(request(served, "POST", path, b"{}", x_long="x" * size))
        assert connected.answer().status == 431


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "-1"}, 400),
        ({"content_length": "abc"}, 400),
        ({"content_length": "9" * 30}, 400),
        ({"content_length": "2", "transfer_encoding": "chunked"}, 400),
        ({"content_length": "", "transfer_encoding": "chunked, identity"}, 400),
        ({"content_length": str(2 * MEBIBYTE)}, 413),
        ({"host": "evil.test"}, 400),
    ],
)
def test_a_head_that_cannot_be_true_is_refused(served: Served, path: str, headers: dict[str, str], status: int) -> None:
    assert ask(served, "POST", path, b"{}", **headers).status == status
    others_are_served(served)


@pytest.mark.parametrize("path", DOORS)
def test_chunks_are_not_read(served: Served, path: str) -> None:
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    assert ask(served, "POST", path, chunks, content_length="", transfer_encoding="chunked").status == 411


def test_the_door_refuses_hostile_bodies_as_the_view_does(served: Served) -> None:
    before = served.count("metering_event")
    for hostile in hostile_bodies(NOW):
        headers = {name.replace("-", "_"): value for name, value in hostile.headers.items()}
        answer = ask(served, "POST", "/v1/events", hostile.body, **headers)
        assert (answer.status, answer.headers["content-type"]) == (hostile.status, "application/problem+json"), (
            hostile.name
        )
        if hostile.pointer is not None:
            assert answer.document["errors"][0]["pointer"] == hostile.pointer, hostile.name
    assert served.count("metering_event") == before


def test_bombs_cost_less_than_16_mebibytes(served: Served) -> None:
    workers = children(served, WEB)
    packed, event = bomb(), json.dumps(an_event(NOW, id="packed")).encode()
    for _ in range(4):  # whatever is loaded and kept at first is so by now
        assert ask(served, "POST", "/v1/events", gzip.compress(event), content_encoding="gzip").status == 200
        assert ask(served, "POST", "/v1/events", packed[:-9], content_encoding="gzip").status == 413
    before = {pid: resident(pid, "VmRSS") for pid in workers}
    for pid in workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted anew
    for _ in range(8):
        assert ask(served, "POST", "/v1/events", packed, content_encoding="gzip").status == 413
    assert max(resident(pid, "VmHWM") - before[pid] for pid in workers) < 16 * MEBIBYTE


def resident(pid: int, field: str) -> int:
    """Bytes of memory, now (VmRSS) or at most since the peak was counted anew (VmHWM)."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith(f"{field}:"):
            return int(text.split()[1]) * 1024
    raise LookupError(field)
