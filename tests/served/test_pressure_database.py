"""Without a database nothing is stored, nothing is lost and everybody is told to come again; then all goes on."""

import datetime as dt
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from api.health import LOOKED_FOR_S
from config.embedded_postgres import EmbeddedPostgres
from tests.api.hostile_bodies import an_event
from tests.served.serving import Served, eventually
from tests.served.wire import Answer, ask

NOW = dt.datetime.now(dt.UTC)
BACK_WITHIN_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def acme(served: Served) -> None:
    served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})


def report(served: Served, event_id: str) -> Answer:
    return ask(served, "POST", "/v1/events", json.dumps(an_event(NOW, id=event_id)).encode())


def stored(served: Served) -> set[str]:
    return {event_id for (event_id,) in served.query("SELECT event_id FROM metering_event")}


def is_told_to_come_again(answer: Answer) -> None:
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1


def all_goes_on(served: Served) -> None:
    def is_ready_for_a_while() -> bool:
        """For longer than any process believes that it is not."""
        since_s = time.monotonic()
        while ask(served, "GET", "/readyz").status == 200:
            if time.monotonic() - since_s > LOOKED_FOR_S:
                return True
        return False

    assert eventually(is_ready_for_a_while, within_s=BACK_WITHIN_S)
    # A connection that broke is found out by the request that is the first to use it.
    assert eventually(lambda: report(served, "afterwards").status == 200, within_s=BACK_WITHIN_S)
    assert eventually(lambda: ask(served, "GET", "/v1/customers").status == 200, within_s=BACK_WITHIN_S)


@contextmanager
def database_down(served: Served) -> Iterator[None]:
    """Stopped, and not started again before the end: whoever starts it waits for the lock on that."""
    with (served.data_dir / "start.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        EmbeddedPostgres(served.data_dir).stop()
        yield


def test_while_the_database_is_down_nothing_is_taken_and_afterwards_nothing_is_missing(served: Served) -> None:
    assert report(served, "before").status == 200
    with database_down(served):
        for attempt in range(5):
            is_told_to_come_again(report(served, f"down-{attempt}"))
            is_told_to_come_again(ask(served, "GET", "/v1/customers"))
        assert ask(served, "GET", "/livez").status == 200
        assert ask(served, "GET", "/readyz").document["type"] == "/problems/not-ready"
    all_goes_on(served)
    assert stored(served) == {"before", "afterwards"}


def test_while_no_connection_is_to_be_had_nothing_is_taken(served: Served) -> None:
    url = EmbeddedPostgres(served.data_dir).url
    with ExitStack() as taken:
        first = taken.enter_context(psycopg.connect(url, autocommit=True))
        while take_connection(taken, url) or end_all_others(first):
            pass
        is_told_to_come_again(report(served, "crowded-out"))
        is_told_to_come_again(ask(served, "GET", "/v1/customers"))
        is_told_to_come_again(ask(served, "GET", "/readyz"))
        assert ask(served, "GET", "/livez").status == 200
    all_goes_on(served)
    assert "crowded-out" not in stored(served)


def take_connection(taken: ExitStack, url: str) -> bool:
    try:
        taken.enter_context(psycopg.connect(url, application_name="crowd", autocommit=True))
    except psycopg.OperationalError:
        return False
    return True


def end_all_others(first: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Whether anybody else still had a connection."""
    others = "backend_type = 'client backend' AND application_name <> 'crowd' AND pid <> pg_backend_pid()"
    ended = first.execute(f"SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE {others}").fetchall()
    return bool(ended)


def test_a_connection_that_broke_unnoticed_costs_no_request_more_than_a_second_try(served: Served) -> None:
    served.query("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    answers = [report(served, "broken").status for _ in range(8)]
    assert answers.count(200) >= 4
    assert set(answers) <= {200, 503}
    assert "broken" in stored(served)


def test_a_lock_that_is_not_to_be_had_is_not_waited_for_until_the_caller_has_gone(served: Served) -> None:
    with psycopg.connect(EmbeddedPostgres(served.data_dir).url) as other:
        other.execute("LOCK TABLE plans_customer")
        is_told_to_come_again(ask(served, "GET", "/v1/customers"))
    all_goes_on(served)
