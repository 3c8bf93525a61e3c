"""Statements sent as one: all of them are committed or none, and the connection is usable afterwards, come what may."""

import os
import socket

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from api.asking import Question, ask
from api.exchanging import Statement, Step
from metering.one_exchange import commit_in_one_exchange
from metering.packed_arrays import texts

ADD = Statement("INSERT INTO exchanged_word SELECT unnest($1::text[])")
BREAK_OFF = Statement("SELECT pg_terminate_backend(pg_backend_pid())")


def adding(*words: str) -> Step:
    return Step(ADD, [texts(words)])


def words() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT word FROM exchanged_word ORDER BY word")
        return [word for (word,) in cursor.fetchall()]


@pytest.fixture(autouse=True)
def table(committed: None, request: pytest.FixtureRequest) -> None:
    def run(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    run("CREATE TABLE exchanged_word (word text PRIMARY KEY)")
    request.addfinalizer(lambda: run("DROP TABLE exchanged_word"))


def test_what_is_sent_together_is_committed_together() -> None:
    commit_in_one_exchange([adding("one"), adding("two", "three")])
    assert words() == ["one", "three", "two"]


def test_what_fails_leaves_nothing_and_the_connection_goes_on() -> None:
    commit_in_one_exchange([adding("one")])
    for _ in range(3):
        with pytest.raises(IntegrityError) as caught:
            commit_in_one_exchange([adding("two"), adding("one"), adding("three")])
        assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
        assert words() == ["one"]
    commit_in_one_exchange([adding("four")])
    assert words() == ["four", "one"]


def test_a_statement_that_cannot_be_read_is_said_every_time() -> None:
    nonsense = Step(Statement("SELECT nothing FROM nowhere"), [])
    for _ in range(2):
        with pytest.raises(DatabaseError, match="nowhere"):
            commit_in_one_exchange([adding("one"), nonsense, adding("two")])
    commit_in_one_exchange([adding("one")])
    assert words() == ["one"]


def test_it_is_no_part_of_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        commit_in_one_exchange([adding("one")])
    assert words() == []


def test_a_connection_that_breaks_off_is_replaced() -> None:
    with pytest.raises(OperationalError):
        commit_in_one_exchange([adding("one"), Step(BREAK_OFF, []), adding("two")])
    commit_in_one_exchange([adding("three")])
    assert words() == ["three"]


def test_a_connection_that_forgot_what_was_prepared_learns_it_again() -> None:
    """As behind a pooler, which may give another connection every time."""
    commit_in_one_exchange([adding("one")])
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    with pytest.raises(DatabaseError):
        commit_in_one_exchange([adding("two")])
    commit_in_one_exchange([adding("three")])
    assert words() == ["one", "three"]


def test_a_connection_that_has_it_prepared_already_is_as_good() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"PREPARE {ADD.name.decode()} (text[]) AS INSERT INTO exchanged_word SELECT unnest($1)")
    with pytest.raises(DatabaseError):
        commit_in_one_exchange([adding("one")])
    commit_in_one_exchange([adding("two")])
    assert words() == ["two"]


def test_a_large_exchange_is_sent_and_answered_in_pieces() -> None:
    many = [f"{number:07}" for number in range(200_000)]
    commit_in_one_exchange([adding(*many[:100_000]), adding(*many[100_000:])])
    assert len(words()) == 200_000


def cut_off() -> None:
    """The connection ends without a word, as when the server's machine does."""
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.pgconn.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_ends_without_a_word_is_lost_and_replaced() -> None:
    commit_in_one_exchange([adding("one")])
    cut_off()
    with pytest.raises(OperationalError):
        commit_in_one_exchange([adding("two")])
    commit_in_one_exchange([adding("three")])
    assert words() == ["one", "three"]


def test_a_question_on_a_connection_that_ended_without_a_word_is_put_again() -> None:
    question = Question("SELECT word FROM exchanged_word")
    commit_in_one_exchange([adding("one")])
    for _ in range(2):
        connection.health_check_done = False  # as at the beginning of a request
        cut_off()
        assert ask(question, {}) == [("one",)]
