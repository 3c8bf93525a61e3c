"""Is the short way for events the same HTTP as the long way? Whatever comes in whichever pieces, in order, whole."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import event_protocol, http_protocol
from config.event_protocol import whole_request
from metering import group_commit
from metering.models import Event
from tests.config.lines import LONG, Answer, Answers, Desk, Line, as_sent, desk, who
from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates
from tests.metering.loops import loop
from tests.metering.test_concurrency import wait_until_blocked

__all__ = ["committed", "default_scheme_afterwards", "desk", "loop", "no_remembered_rates"]

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Pieces


def test_a_request_that_comes_in_two_pieces_is_the_same_wherever_it_is_cut(desk: Desk) -> None:
    whole = desk.event("e1")
    assert whole_request(whole) is not None

    async def each() -> list[bytes]:
        await (await desk.line(whole)).answer()  # from now on a duplicate
        lines = [await desk.line(whole[:place], whole[place:]) for place in range(1, len(whole) + 1)]
        return [line.wire.written for line in lines if await line.answer()]

    *pieced, straight = desk.run(each())
    assert len(pieced) == len(whole) - 1 > 300
    assert set(pieced) == {straight}
    assert (Answers(straight).whole[0].status, who(Answers(straight).whole[0])) == (200, "e1")


def test_a_request_may_come_byte_by_byte_and_after_empty_lines(desk: Desk) -> None:
    whole = b"\r\n\r\n" + desk.event("e1")

    async def piecemeal() -> list[Answer]:
        one = await desk.line(*[whole[place : place + 1] for place in range(len(whole))])
        other = await desk.line(b"\r\n", desk.event("e1"))
        return [await one.answer(), await other.answer()]

    assert [answer.status for answer in desk.run(piecemeal())] == [200, 200]
    assert Event.objects.count() == 1


@pytest.mark.parametrize("before", ["in a head", "in a body"])
def test_what_looks_like_a_request_within_another_is_none(desk: Desk, before: str) -> None:
    """It comes as a piece of its own, and once after the other has been answered, but not been read to its end."""
    within = desk.event("within")
    beginning = {
        "in a head": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Quoted: ",
        "in a body": b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n",
    }[before]

    async def pieces() -> bytes:
        line = await desk.line(beginning)
        await asyncio.sleep(0.05)
        line.send(within)
        await asyncio.sleep(0.05)
        return line.wire.written

    assert [answer.status for answer in Answers(desk.run(pieces())).whole] == [{"in a head": 200}.get(before, 413)]
    assert not Event.objects.exists()


KINDS: dict[str, Callable[[Desk, str], bytes]] = {
    "short": lambda desk, name: desk.event(name),
    "long": lambda desk, name: desk.event(name, *LONG),
    "refused": lambda desk, name: as_sent(b"{}"),
    "probe": lambda desk, name: LIVEZ,
}
STATUS = {"short": 200, "long": 200, "refused": 401, "probe": 200}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(sorted(STATUS)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 3_000), max_size=8),
    patience=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_requests_on_one_connection_are_answered_in_order_however_they_come(
    desk: Desk, kinds: list[str], cuts: list[int], patience: list[bool]
) -> None:
    stream = b"".join(KINDS[kind](desk, f"e{index}") for index, kind in enumerate(kinds))
    places = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]

    async def send() -> list[Answer]:
        line = Line()
        for index, wait in zip(range(len(places) - 1), patience, strict=False):
            line.send(stream[places[index] : places[index + 1]])
            if wait:
                await asyncio.sleep(0.001)
        return await line.answers(len(kinds))

    answers = desk.run(send())
    assert [answer.status for answer in answers] == [STATUS[kind] for kind in kinds]
    told = [who(answer) for kind, answer in zip(kinds, answers, strict=True) if kind in ("short", "long")]
    assert told == [f"e{index}" for index, kind in enumerate(kinds) if kind in ("short", "long")]


# Ends


@pytest.mark.parametrize(
    ("headers", "version"), [(("Connection: close",), "1.1"), (("Connection: Close", *LONG), "1.1"), ((), "1.0")]
)
def test_who_wants_the_connection_closed_gets_his_answer_and_that(
    desk: Desk, headers: tuple[str, ...], version: str
) -> None:
    async def closed() -> Answer:
        line = await desk.line(desk.event("e1", *headers, version=version), desk.event("e2"))
        return await line.answer() if await line.is_closed() else None

    answer = desk.run(closed())
    assert (answer.status, answer.headers["connection"], who(answer)) == (200, "close", "e1")
    assert [event.event_id for event in Event.objects.all()] == ["e1"]


@pytest.mark.parametrize("headers", [(), ("Connection: keep-alive",), LONG], ids=["plain", "keep-alive", "long"])
def test_a_connection_is_kept_for_a_while_after_an_answer_and_not_cut_off_before_it(
    desk: Desk, headers: tuple[str, ...]
) -> None:
    async def send(piece: bytes) -> None:
        line.send(piece)

    line = desk.run(desk.line(desk.event("e1", *headers), timeout_keep_alive=0.5))
    assert "connection" not in desk.run(line.answer()).headers
    with desk.busy():
        desk.run(send(desk.event("e2", *headers)))
        desk.run(asyncio.sleep(0.8))
        assert not line.wire.closed
    assert [who(answer) for answer in desk.run(line.answers(2))] == ["e1", "e2"]
    assert not line.wire.closed
    assert desk.run(line.is_closed())


@pytest.mark.parametrize("headers", [(), LONG], ids=["short", "long"])
def test_who_has_been_promised_an_answer_gets_it_before_the_server_ends(desk: Desk, headers: tuple[str, ...]) -> None:
    async def end() -> None:
        line.protocol.shutdown()

    with desk.busy():
        line = desk.run(desk.line(desk.event("e1", *headers)))
        desk.run(asyncio.sleep(0.05))
        desk.run(end())
        assert not line.wire.closed
    assert desk.run(line.is_closed())
    assert [who(answer) for answer in Answers(line.wire.written).whole] == ["e1"]
    idle = desk.run(desk.line())
    idle.protocol.shutdown()
    assert idle.wire.closed


def test_a_client_that_leaves_before_its_answer_is_no_trouble(desk: Desk) -> None:
    async def leave() -> None:
        line.wire.close()
        line.protocol.connection_lost(None)

    with desk.busy():
        line = desk.run(desk.line(desk.event("e1")))
        desk.run(leave())
    assert desk.run(desk.run(desk.line(desk.event("e1"))).answer()).status == 200
    assert line.wire.written == b""


def test_who_sends_ahead_is_not_read_until_he_is_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (desk.event(f"e{number}") for number in (1, 2, 3))
    monkeypatch.setattr(event_protocol, "ENOUGH_EARLY_BYTES", len(second))
    with desk.busy():
        patient = desk.run(desk.line(first, second[:9], second[9:]))
        hasty = desk.run(desk.line(first, second, third[:9]))
        assert (patient.wire.is_read, hasty.wire.is_read) == (True, False)
    assert [who(answer) for answer in desk.run(patient.answers(2))] == ["e1", "e2"]
    assert [who(answer) for answer in desk.run(hasty.answers(2))] == ["e1", "e2"]
    assert hasty.wire.is_read


def test_who_does_not_read_his_answers_gets_no_more_of_them(desk: Desk) -> None:
    async def story() -> Line:
        line = await desk.line()
        line.protocol.pause_writing()
        line.send(desk.event("e1"))
        return line

    line = desk.run(story())
    assert desk.run(desk.run(desk.line(desk.event("e2"))).answer()).status == 200
    assert line.wire.written == b""

    async def reads() -> None:
        line.protocol.resume_writing()

    desk.run(reads())
    assert who(desk.run(line.answer())) == "e1"


def test_beyond_what_is_kept_waiting_requests_are_answered_503(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST_WAITING_BYTES", 0)
    with desk.busy():
        stuck = desk.run(desk.line(desk.event("stuck")))
        wait_until_blocked()
        kept = desk.run(desk.line(desk.event("kept")))
        away = [desk.run(desk.line(desk.event("away", *headers))) for headers in ((), LONG)]
        answers = [desk.run(line.answer()) for line in away]
    assert [(answer.status, int(answer.headers["retry-after"]) > 0) for answer in answers] == [(503, True)] * 2
    assert [desk.run(line.answer()).status for line in (stuck, kept)] == [200, 200]
    assert not Event.objects.filter(event_id="away").exists()


def test_the_deadline_of_a_head_counts_from_the_answer_before_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_DEADLINE_S", 0.2)
    with desk.busy():
        line = desk.run(desk.line(desk.event("e1"), desk.event("e2")[:40]))
        desk.run(asyncio.sleep(0.5))
        assert line.wire.written == b""
    assert desk.run(line.is_closed())
    assert [answer.status for answer in Answers(line.wire.written).whole] == [200, 408]
