"""Requests that wait together are committed together, whoever is alone does not wait, and everybody is answered."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from metering import group_commit
from metering.group_commit import GroupCommit, Overloaded
from metering.models import Event, UnfoldedEvents
from metering.receiving import Reply, Sent
from metering.usage_lock import take_usage_lock
from tests.cast import acme, the_sitting
from tests.metering.loops import PATIENCE_S, Loop, loop
from tests.metering.requests import an_event, authorization, said, sent
from tests.metering.test_concurrency import end_the_blocked, wait_until_blocked
from tests.metering.waiting import calls_stored_folded_and_waiting, fold

__all__ = ["loop"]

NEVER_S = 600.0
"""To wait so long for company is to fail: no test waits for an answer so long."""


class Door:
    """Takes requests to a group commit of its own."""

    def __init__(self, loop: Loop) -> None:
        self.commit = GroupCommit()
        self.loop = loop
        self.backend = authorization()

    def send(self, *requests: Sent) -> "Future[list[Reply]]":
        """The answers to requests that come at the same time."""

        async def at_once() -> list[Reply]:
            return await asyncio.gather(*map(self.commit.answer, requests))

        return self.loop.start(at_once())

    def requests(self, number: int, name: str = "e", **fields: Any) -> list[Sent]:
        return [sent(self.backend, an_event(f"{name}{index}", **fields)) for index in range(number)]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Meanwhile it is storing one event of Acme's and cannot go on."""
        with transaction.atomic():
            take_usage_lock(acme().id)
            stored = self.send(*self.requests(1, "stuck"))
            wait_until_blocked()
            yield
            self.loop.has_begun_all()
        assert stored.result(PATIENCE_S)[0].status == 200


@pytest.fixture
def door(loop: Loop) -> Door:
    acme()
    return Door(loop)


def commits() -> int:
    """How many transactions have stored something of Acme's: each has left one row."""
    return UnfoldedEvents.objects.count()


def all_accepted(replies: list[Reply]) -> bool:
    return all(reply.status == 200 and said(reply) == {"accepted": 1} for reply in replies)


def test_whoever_is_alone_does_not_wait_for_company(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMPANY_S", NEVER_S)
    for number in range(5):
        assert all_accepted(door.send(*door.requests(1, f"e{number}-")).result(PATIENCE_S))
    assert commits() == 5


def test_what_comes_while_a_group_is_stored_is_stored_together(door: Door) -> None:
    with door.busy():
        waiting = door.send(*door.requests(40))
    assert all_accepted(waiting.result(PATIENCE_S))
    assert (commits(), Event.objects.count()) == (2, 41)


def test_who_was_just_answered_is_waited_for_and_nobody_else(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five who come again and again the last to come completes each group."""
    with door.busy():
        waiting = door.send(*door.requests(5))
    waiting.result(PATIENCE_S)
    door.send(*door.requests(5, "again")).result(PATIENCE_S)
    before = commits()
    monkeypatch.setattr(group_commit, "COMPANY_S", NEVER_S)
    for turn in range(4):
        first = door.send(*door.requests(4, f"{turn}-"))
        door.loop.has_begun_all()
        assert not first.done()
        last = door.send(*door.requests(1, f"{turn}-last"))
        assert all_accepted(first.result(PATIENCE_S) + last.result(PATIENCE_S))
    assert commits() == before + 4


def test_those_who_came_meanwhile_are_stored_with_who_was_answered_meanwhile(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMPANY_S", NEVER_S)
    with door.busy():
        waiting = door.send(*door.requests(5))
    door.loop.has_begun_all()
    assert not waiting.done()
    again = door.send(*door.requests(1, "again"))
    assert all_accepted(waiting.result(PATIENCE_S) + again.result(PATIENCE_S))
    assert commits() == 2


def test_company_that_does_not_come_is_waited_for_once(door: Door) -> None:
    with door.busy():
        waiting = door.send(*door.requests(5))
    waiting.result(PATIENCE_S)
    assert all_accepted(door.send(*door.requests(1, "alone")).result(PATIENCE_S))
    assert door.commit._company == 1


def test_a_group_is_bounded_in_bytes_and_one_larger_than_that_goes_alone(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {len(one.body) for one in door.requests(9)}
    monkeypatch.setattr(group_commit, "GROUP_BYTES", 3 * max(sizes))
    large = sent(door.backend, *[an_event(f"large{n}") for n in range(9)])
    with door.busy():
        waiting = door.send(*door.requests(7), large, *door.requests(1, "after"))
    assert [reply.status for reply in waiting.result(PATIENCE_S)] == [200] * 9
    assert commits() == 1 + 3 + 1 + 1


def test_beyond_its_bounds_requests_are_turned_away_and_those_kept_are_answered(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, beyond = door.requests(3), door.requests(2, "beyond")
    monkeypatch.setattr(group_commit, "MOST_WAITING_BYTES", sum(len(one.body) for one in kept) - 1)
    with door.busy():
        waiting = door.send(*kept)
        for one in beyond:
            with pytest.raises(Overloaded):
                door.send(one).result(PATIENCE_S)
    assert all_accepted(waiting.result(PATIENCE_S))
    assert all_accepted(door.send(beyond[0]).result(PATIENCE_S))
    assert not Event.objects.filter(event_id="beyond1").exists()


def test_answers_are_delivered_in_the_event_loop(door: Door) -> None:
    delivered: Future[threading.Thread] = Future()

    async def submit() -> None:
        door.commit.submit(*door.requests(1), lambda reply: delivered.set_result(threading.current_thread()))

    door.loop.run(submit())
    assert delivered.result(PATIENCE_S) is door.loop.thread


def test_who_has_left_is_stored_all_the_same_and_disturbs_nobody(door: Door) -> None:
    with door.busy():
        waiting = door.send(*door.requests(2))
        left = door.send(*door.requests(1, "left"))
        door.loop.has_begun_all()
        assert left.cancel()
        others = door.send(*door.requests(2, "other"))
    assert all_accepted(waiting.result(PATIENCE_S) + others.result(PATIENCE_S))
    assert Event.objects.filter(event_id="left0").exists()


def test_an_event_that_several_send_at_once_is_accepted_once(door: Door) -> None:
    with door.busy():
        same = [door.send(*door.requests(1, "same", output=100 + n)) for n in range(6)]
    counts = [said(reply) for one in same for reply in one.result(PATIENCE_S)]
    assert counts == [{"accepted": 1}, *[{"updated": 1}] * 5]
    fold()
    assert (the_sitting().calls, the_sitting().output_tokens) == (2, 100 + 105)


def test_when_the_database_is_lost_everybody_is_answered_and_the_next_are_stored(door: Door) -> None:
    with transaction.atomic():
        take_usage_lock(acme().id)
        lost = door.send(*door.requests(1))
        wait_until_blocked()
        waiting = door.send(*door.requests(4, "waiting"))
        door.loop.has_begun_all()
        end_the_blocked()
    assert [reply.status for reply in lost.result(PATIENCE_S)] == [503]
    assert all_accepted(waiting.result(PATIENCE_S))
    assert all_accepted(door.send(*door.requests(1)).result(PATIENCE_S))
    assert calls_stored_folded_and_waiting() == (5, 0, 5)


def test_whatever_goes_wrong_everybody_is_answered_and_the_next_are_stored(door: Door) -> None:
    def broken(requests: Any, **named: Any) -> Any:
        raise ZeroDivisionError("planted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_commit, "receive", broken)
        replies = door.send(*door.requests(3)).result(PATIENCE_S)
    assert [reply.status for reply in replies] == [500] * 3
    assert all_accepted(door.send(*door.requests(3)).result(PATIENCE_S))


def test_an_answer_that_cannot_be_delivered_takes_no_other_with_it(door: Door) -> None:
    """Its connection is broken in a way that nobody has thought of."""

    async def send() -> Reply:
        door.commit.submit(door.requests(1, "gone")[0], lambda reply: 1 / 0)
        return await door.commit.answer(door.requests(1, "there")[0])

    assert door.loop.start(send()).result(PATIENCE_S).status == 200


def test_a_small_body_that_unpacks_to_a_large_one_goes_alone(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GROUP_BYTES", 2_000)
    packed = [
        one._replace(body=gzip.compress(one.body + b" " * 3_000), content_encoding="gzip") for one in door.requests(3)
    ]
    with door.busy():
        replies = door.send(*packed)
    assert all_accepted(replies.result(PATIENCE_S))
    assert commits() == 1 + 3


def test_a_connection_that_broke_in_a_quiet_time_costs_nobody_an_answer(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all_accepted(door.send(*door.requests(1)).result(PATIENCE_S))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    monkeypatch.setattr(group_commit, "QUIET_S", 0.0)
    assert all_accepted(door.send(*door.requests(1, "next")).result(PATIENCE_S))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_followed_by_another(door: Door, loop: Loop) -> None:
    """It ended because the loop in which it was to answer had gone."""
    door.loop = Loop()
    with transaction.atomic():
        take_usage_lock(acme().id)
        door.send(*door.requests(1, "unanswered"))
        wait_until_blocked()
        door.loop.end()
    door.commit._thread.join(PATIENCE_S)
    door.loop = loop
    assert all_accepted(door.send(*door.requests(1)).result(PATIENCE_S))
    assert Event.objects.count() == 2
