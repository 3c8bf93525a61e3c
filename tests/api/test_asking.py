"""Prepared questions: the same answers within a transaction and without, whatever becomes of the connection."""

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError, connection, transaction
from psycopg.pq import TransactionStatus

from api import asking
from api.asking import Question, Row, _remembered, ask, asked_as_before
from api.prepared import prepared_on

SAID = Question("SELECT %(said)s::text || %(said)s::text, %(other)s::text")
PID = Question("SELECT pg_backend_pid()")
VALUES: dict[str, Any] = {
    "text": "Größe",
    "uuid": uuid.UUID("01a1fd8e-6d45-71a9-84f9-b0189ea145b3"),
    "timestamptz": dt.datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=dt.UTC),
    "text[]": ["a", "b"],
    "uuid[]": [uuid.UUID(int=1)],
    "boolean": True,
}


@pytest.fixture(autouse=True)
def outside(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """In no transaction, which leaves nothing behind where all that is done is to ask."""
    with django_db_blocker.unblock():
        connection.close()
        yield
        connection.close()


def twice_and_within_a_transaction(question: Question, **given: Any) -> list[list[Row]]:
    answers = [ask(question, given), ask(question, given)]
    with transaction.atomic():
        return [*answers, ask(question, given)]


def break_off() -> None:
    """What an administrator does to our connection."""
    ((pid,),) = ask(PID, {})
    with psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_parameters_have_names_and_may_come_twice() -> None:
    given = {"said": "so", "other": None, "unasked": object()}
    assert ask(SAID, given) == ask(SAID, given) == [("soso", None)]


@pytest.mark.parametrize("kind", VALUES)
def test_values_go_and_come_as_they_are(kind: str) -> None:
    question = Question(f"SELECT %(value)s::{kind}, NULL::{kind}")
    assert twice_and_within_a_transaction(question, value=VALUES[kind]) == [[(VALUES[kind], None)]] * 3


def test_documents_come_read() -> None:
    question = Question("""SELECT '{"simple": 2}'::jsonb""")
    assert twice_and_within_a_transaction(question) == [[({"simple": 2},)]] * 3


def test_within_a_transaction_it_is_a_part_of_it_though_it_comes_first() -> None:
    with transaction.atomic():
        ask(PID, {})
        assert connection.connection.info.transaction_status == TransactionStatus.INTRANS


def test_a_new_request_does_not_mind_that_the_connection_has_gone() -> None:
    before = ask(PID, {})
    break_off()
    connection.close_if_unusable_or_obsolete()  # as when a request begins
    assert ask(PID, {}) != before


def test_a_connection_that_goes_in_the_midst_of_a_request_is_said() -> None:
    break_off()
    with pytest.raises(OperationalError):
        ask(PID, {})


# Asked as before

TIME = Question("SELECT clock_timestamp(), %(said)s::text")
AGAIN = {"said": "again", "other": None}
THEN, LATER = dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC), dt.datetime(2026, 11, 20, 11, tzinfo=dt.UTC)


@pytest.fixture
def subject() -> Iterator[str]:
    """Something nobody has asked about yet."""
    yield "something"
    _remembered.pop("something", None)


def time_now() -> dt.datetime:
    """By the clock of the database, without asking for it."""
    connection.ensure_connection()
    row = psycopg.Cursor(connection.connection).execute("SELECT clock_timestamp()").fetchone()
    assert row is not None and isinstance(row[0], dt.datetime)
    return row[0]


def asked_before(subject: str, *asked: tuple[Question, dict[str, Any]], now: dt.datetime = THEN) -> None:
    with asked_as_before(subject, now=now):
        for question, given in asked:
            ask(question, given)


def test_the_second_time_the_answers_are_at_hand_once_for_whoever_asks_the_same(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}), (TIME, {"said": "b"}), (SAID, AGAIN))
    with asked_as_before(subject, now=LATER):
        until = time_now()
        ((first, a),), ((second, b),) = ask(TIME, {"said": "a", "unasked": 1}), ask(TIME, {"said": "b"})
        assert (a, b) == ("a", "b") and first < second < until
        assert ask(SAID, AGAIN) == [("againagain", None)]
        assert ask(TIME, {"said": "a"})[0][0] > until


@pytest.mark.parametrize("first", ["b", "other"], ids=["a later question", "another question"])
def test_no_answer_is_older_than_one_given_before(subject: str, first: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}), (TIME, {"said": "b"}), (TIME, {"said": "a"}))
    with asked_as_before(subject, now=LATER):
        until = time_now()
        assert (ask(TIME, {"said": first})[0][0] < until) is (first == "b")
        assert (ask(TIME, {"said": "a"})[0][0] < until) is (first == "b")
        assert ask(TIME, {"said": "b"})[0][0] > until


def test_what_was_now_is_now_again(subject: str) -> None:
    question = Question("SELECT clock_timestamp(), %(since)s::timestamptz, %(now)s::timestamptz")
    for now in (THEN, LATER):
        with asked_as_before(subject, now=now):
            until = time_now()
            ((at, since, said),) = ask(question, {"since": THEN - dt.timedelta(1), "now": now})
            assert (since, said) == (THEN - dt.timedelta(1), now)
            assert (at < until) == (now == LATER)


def test_other_questions_than_before_are_put_as_they_come_and_remembered(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}))
    for expected in (False, True):
        with asked_as_before(subject, now=LATER):
            until = time_now()
            assert (ask(TIME, {"said": "b"})[0][0] < until) is expected


def test_what_nobody_asked_for_is_gone_with_the_block(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}))
    with asked_as_before(subject, now=LATER):
        until = time_now()
    assert ask(TIME, {"said": "a"})[0][0] > until


def test_whatever_else_is_done_on_the_connection_may_have_changed_the_answers(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}))
    with asked_as_before(subject, now=LATER):
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (until,) = cursor.fetchone()
        assert ask(TIME, {"said": "a"})[0][0] > until


def test_a_block_that_fails_is_not_remembered(subject: str) -> None:
    with pytest.raises(ZeroDivisionError), asked_as_before(subject, now=THEN):
        ask(TIME, {"said": "a"})
        raise ZeroDivisionError
    assert subject not in _remembered


def test_a_block_that_fails_is_forgotten_and_so_is_one_that_asks_too_much(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}))
    with pytest.raises(ZeroDivisionError), asked_as_before(subject, now=THEN):
        raise ZeroDivisionError
    assert subject not in _remembered
    asked_before(subject, *[(PID, {})] * (asking.MOST_TOGETHER + 1))
    assert subject not in _remembered


def test_the_longest_remembered_is_forgotten_first(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_REMEMBERED", len(_remembered) + 2)
    for name in (subject, "another", subject, "a third"):
        asked_before(name, (PID, {}))
    assert _remembered.keys() >= {subject, "a third"} and "another" not in _remembered
    del _remembered["a third"]


def test_within_a_transaction_every_question_is_put_as_it_comes(subject: str) -> None:
    asked_before(subject, (TIME, {"said": "a"}))
    with transaction.atomic(), asked_as_before(subject, now=LATER):
        until = time_now()
        assert ask(TIME, {"said": "a"})[0][0] > until
    with asked_as_before(subject, now=LATER), transaction.atomic():
        until = time_now()
        assert ask(TIME, {"said": "a"})[0][0] > until


def test_questions_that_cannot_be_put_together_are_put_as_they_come(subject: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE passing AS SELECT 1 AS said")
    passing = Question("SELECT said FROM passing")
    asked_before(subject, (SAID, AGAIN), (passing, {}), (PID, {}))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE passing")
    for _ in range(2):
        with asked_as_before(subject, now=LATER):
            assert (ask(SAID, AGAIN), len(ask(PID, {}))) == ([("againagain", None)], 1)
            with pytest.raises(ProgrammingError, match="passing"):
                ask(passing, {})


def test_questions_together_do_not_mind_what_has_become_of_the_connection(subject: str) -> None:
    for break_it in (break_off, prepared_no_more, remembered_no_more):
        asked_before(subject, (SAID, AGAIN), (PID, {}))
        break_it()
        for _ in range(2):
            with asked_as_before(subject, now=LATER):
                assert (ask(SAID, AGAIN), len(ask(PID, {}))) == ([("againagain", None)], 1)


def test_a_column_may_change_its_type_between_questions_together(subject: str) -> None:
    question = Question("SELECT said, clock_timestamp() FROM changing_together")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE changing_together AS SELECT 1 AS said")
    try:
        for kind, expected in (("int", 1), ("text", "1"), ("int USING said::int", 1)):
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE changing_together ALTER said TYPE {kind}")
            for _ in range(3):
                with asked_as_before(subject, now=LATER):
                    until = time_now()
                    ((said, at),) = ask(question, {})
                    assert (said, len(ask(PID, {}))) == (expected, 1)
            assert at < until  # in the end they are put together again
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE changing_together")


def test_a_limit_of_time_is_not_waited_for_twice(subject: str) -> None:
    sleep = Question("SELECT pg_sleep(0.3)::text")
    asked_before(subject, (sleep, {}))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '100ms'")
    with pytest.raises(OperationalError, match="statement timeout"), asked_as_before(subject, now=LATER):
        raise AssertionError("there is no answer at hand")
    assert len(ask(PID, {})) == 1
    assert subject not in _remembered


def prepared_no_more() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")


def remembered_no_more() -> None:
    prepared_on(connection.connection).clear()


# Poolers, and what else happens to a connection


def test_behind_a_pooler_the_connection_may_be_another_one_than_it_was() -> None:
    for _ in range(3):
        assert ask(SAID, {"said": "so", "other": ""}) == [("soso", "")]
        prepared_no_more()


def test_behind_a_pooler_somebody_else_may_have_prepared_the_same() -> None:
    for _ in range(3):
        assert ask(SAID, {"said": "so", "other": ""}) == [("soso", "")]
        remembered_no_more()


def test_a_column_may_change_its_type() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE changing AS SELECT 1 AS said")
        question = Question("SELECT said FROM changing")
        assert ask(question, {}) == [(1,)]
        cursor.execute("ALTER TABLE changing ALTER said TYPE text")
        assert [ask(question, {}) for _ in range(3)] == [[("1",)]] * 3


def test_other_threads_go_on_while_the_database_thinks() -> None:
    with ThreadPoolExecutor(1) as pool:
        thinking = pool.submit(ask_apart, Question("SELECT pg_sleep(0.3)::text"))
        turns = 0
        while not thinking.done():
            time.sleep(0.001)
            turns += 1
    assert thinking.result() == [("",)] and turns > 10


def ask_apart(question: Question) -> list[Row]:
    try:
        return ask(question, {})
    finally:
        connection.close()


def test_a_question_that_cannot_be_read_is_said_every_time() -> None:
    for _ in range(2):
        with pytest.raises(ProgrammingError, match="nowhere"):
            ask(Question("SELECT nothing FROM nowhere"), {})
    assert len(ask(PID, {})) == 1
