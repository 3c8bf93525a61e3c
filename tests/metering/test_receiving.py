"""Requests that are stored together: each keeps its own answer, and what is wrong with one touches no other."""

from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, transaction

from api import keys
from api.rate_limits import RateLimit
from metering import receiving
from metering.models import Event
from metering.receiving import Reply, Sent, receive
from metering.usage_lock import slot_of, take_usage_lock
from plans.customers import erase_customer
from tests.cast import acme, at, cleo, the_sitting
from tests.metering.conftest import Sessions
from tests.metering.requests import accept_events, an_event, authorization, refuse_events, said, sent
from tests.metering.test_concurrency import end_the_blocked, wait_until_blocked
from tests.metering.waiting import calls_stored_folded_and_waiting, fold


def received(*requests: Sent) -> list[Reply]:
    return receive(requests, now=at(1))


def stored() -> list[str]:
    return sorted(Event.objects.values_list("event_id", flat=True))


@pytest.fixture
def backend(committed: None) -> str:
    """The key of Acme's backend."""
    acme()
    return authorization()


@pytest.fixture
def refusing(committed: None) -> Iterator[Callable[[str], None]]:
    """refusing(sqlstate) makes the database refuse the event `refused` with that; no more after the test."""
    yield refuse_events
    accept_events()


def test_each_sender_of_a_group_gets_its_own_verdicts(backend: str) -> None:
    cleo()
    bound = authorization("ingest", customer_key="cleo")
    replies = received(
        sent(backend, an_event("a1"), an_event("a2")),
        sent(bound, an_event("c1", customer="cleo"), an_event("a3")),
        sent("Bearer nonsense", an_event("x")),
        sent(backend, body=b'{"id": 1'),
        sent(authorization("read"), an_event("x")),
        sent(backend, an_event("s1", customer="stranger"), {"id": 7}, an_event("a4")),
        sent(backend, body=b"{}", content_type="text/plain"),
        sent(backend, an_event("x"), host="elsewhere.example"),
    )
    assert [reply.status for reply in replies] == [200, 200, 401, 400, 403, 200, 415, 400]
    assert said(replies[0]) == {"accepted": 2}
    assert said(replies[1]) == {"accepted": 1, "rejected": 1}
    assert said(replies[5]) == {"accepted": 1, "quarantined": 1, "rejected": 1}
    assert stored() == ["a1", "a2", "a4", "c1"]


def test_an_event_in_several_requests_of_a_group_is_new_in_the_first_and_grows_in_the_next(backend: str) -> None:
    replies = received(
        sent(backend, an_event("e1")),
        sent(backend, an_event("e1", output=300), an_event("e2")),
        sent(backend, an_event("e1", output=200), an_event("e2", model="another")),
    )
    assert [said(reply) for reply in replies] == [
        {"accepted": 1},
        {"accepted": 1, "updated": 1},
        {"duplicate": 1, "conflict": 1},
    ]
    again = received(sent(backend, an_event("e1", output=300)), sent(backend, an_event("e1", output=301)))
    assert [said(reply) for reply in again] == [{"duplicate": 1}, {"updated": 1}]
    fold()
    assert (the_sitting().calls, the_sitting().output_tokens) == (2, 401)


@pytest.mark.parametrize(("sqlstate", "status"), [("22003", 400), ("P0001", 500), ("53100", 503)])
def test_a_request_that_cannot_be_stored_spoils_no_other(
    backend: str, refusing: Callable[[str], None], sqlstate: str, status: int
) -> None:
    refusing(sqlstate)
    group = [sent(backend, an_event(f"e{n}"), an_event(f"f{n}")) for n in range(4)]
    group.insert(2, sent(backend, an_event("beside"), an_event("refused")))
    replies = received(*group)
    assert [reply.status for reply in replies] == [200, 200, status, 200, 200]
    assert stored() == sorted([f"e{n}" for n in range(4)] + [f"f{n}" for n in range(4)])
    assert calls_stored_folded_and_waiting() == (8, 0, 8)


def test_who_loses_every_race_is_asked_to_come_again_and_the_others_are_stored(
    backend: str, refusing: Callable[[str], None]
) -> None:
    refusing("40001")
    replies = received(sent(backend, an_event("refused")), sent(backend, an_event("e1")))
    assert [reply.status for reply in replies] == [503, 200]
    assert int(replies[0].headers["Retry-After"]) > 0
    assert stored() == ["e1"]


def lose_connection(sessions: Sessions) -> None:
    """The server ends this thread's connection, as it does when it restarts."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    sessions.start(lambda: terminate(pid)).result()


def terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert cursor.fetchone() == (True,)


@pytest.mark.parametrize("remembered", [True, False], ids=["key remembered", "key not remembered"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_connection_lost_between_two_groups_costs_one_group_at_most_an_answer(
    backend: str, sessions: Sessions, remembered: bool, size: int
) -> None:
    received(sent(backend, an_event("before")))
    lose_connection(sessions)
    if not remembered:
        keys._cache.clear()
    all_are_stored_once(lambda: received(*[sent(backend, an_event(f"e{n}")) for n in range(size)]), size)


@pytest.mark.parametrize("size", [1, 3])
def test_a_connection_lost_in_the_middle_of_a_group_costs_it_at_most_an_answer(
    backend: str, sessions: Sessions, size: int
) -> None:
    group = [sent(backend, an_event(f"e{n}")) for n in range(size)]
    with transaction.atomic():
        take_usage_lock(acme().id)
        receiving = sessions.start(lambda: all_are_stored_once(lambda: received(*group), size))
        wait_until_blocked()
        end_the_blocked()
    receiving.result()


def all_are_stored_once(group: Callable[[], list[Reply]], size: int) -> None:
    """A group that meets a lost connection is stored, or told to come again; when it does, all of it is stored."""
    for reply in group():
        assert reply.status == 200 or (reply.status == 503 and int(reply.headers["Retry-After"]) > 0)
    assert [reply.status for reply in group()] == [200] * size
    assert [said(reply) for reply in group()] == [{"duplicate": 1}] * size
    assert {f"e{n}" for n in range(size)} <= set(stored())
    assert calls_stored_folded_and_waiting()[0] == calls_stored_folded_and_waiting()[2]


def slots_apart() -> bool:
    return slot_of(acme().id) != slot_of(cleo().id)


def test_who_waits_for_a_lock_too_long_keeps_nobody_else_waiting(backend: str, sessions: Sessions) -> None:
    while not slots_apart():
        erase_customer(cleo(), now=at(0))
    group = [sent(backend, an_event(f"a{n}")) for n in range(6)] + [sent(backend, an_event("c1", customer="cleo"))]

    def impatient() -> list[Reply]:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        return received(*group)

    with transaction.atomic():
        take_usage_lock(acme().id)
        waited: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            together = receiving.ingest_together
            patch.setattr(receiving, "SHORT_WAIT_S", 0.05)
            patch.setattr(
                receiving, "ingest_together", lambda *given, **named: waited.append("") or together(*given, **named)
            )
            replies = sessions.start(impatient).result()
    assert [reply.status for reply in replies] == [503] * 6 + [200]
    assert len(waited) == 3  # all together, and then Acme's, and Cleo's
    assert stored() == ["c1"]


def test_where_the_database_is_away_it_is_waited_for_once_a_group(backend: str) -> None:
    tries: list[None] = []

    def away() -> None:
        tries.append(None)
        raise OperationalError("nobody answers")

    connection.close()
    keys._cache.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "connect", away)
        strangers = [sent(f"Bearer pk_{n:016x}_{n:064x}", an_event(f"e{n}")) for n in range(5)]
        replies = received(*strangers, sent(backend, an_event("e5")))
    assert [reply.status for reply in replies] == [503] * 6
    assert len(tries) == 1


def test_events_that_are_rejected_count_against_the_rate_too(backend: str) -> None:
    slow = authorization("ingest", rate_limit=RateLimit(events_per_s=1, events_burst=5))
    nonsense = [{"id": n} for n in range(1000)]
    assert [received(sent(slow, *nonsense))[0].status for _ in range(2)] == [200, 429]
