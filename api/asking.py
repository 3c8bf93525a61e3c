"""How is a small question put to the database cheaply? Prepared once a connection, and answered in binary form.

A read of the API asks half a dozen questions, most of them a look into an index. Django's cursors prepare nothing, so
PostgreSQL would take longer to parse and plan such a question than to answer it, and the cursors themselves as long
again; this speaks to libpq through the driver (psycopg.pq). It is for reading alone: nothing is lost when a question
is put twice, so that one that finds its connection gone is put again on a new one, and no other check is needed that
the connection is still there. Within a transaction it is an ordinary statement of it.

An exchange takes longer than most answers. Whoever asks about the same thing again will ask the same questions, so all
of them are put in one exchange at the beginning (`asked_as_before`).
"""

import datetime as dt
import re
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple, TypeVar

import psycopg
from django.db import connection, models
from psycopg import abc
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from api.exchanging import Statement, Step, exchange
from api.prepared import NOT_AS_REMEMBERED, ConnectionLost, error_of, prepared_on

M = TypeVar("M", bound=models.Model)
Row = tuple[Any, ...]

_PARAMETER = re.compile(r"%\((\w+)\)s")
UNPREPARED = (
    *NOT_AS_REMEMBERED,
    psycopg.errors.FeatureNotSupported,  # a migration has changed the type of a column since
)


class Question:
    """SQL that reads, with parameters %(name)s, each of one database type whatever its value (no integers)."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.parameters = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
        self.statement = Statement(sql % {name: f"${place}" for place, name in enumerate(self.parameters, 1)})

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Of the parameters given, those of the question, in the order of the statement."""
        return [given[name] for name in self.parameters]


class _Asked(NamedTuple):
    """A question and the values that it was asked with."""

    question: Question
    values: list[Any]


class _Block(NamedTuple):
    """What is asked in a block of `asked_as_before`, and the answers at hand that nobody has asked for yet."""

    asked: list[_Asked]
    at_hand: list[tuple[_Asked, list[Row]]]

    def answer(self, asked: _Asked) -> list[Row] | None:
        """The rows, once, if they are at hand. None is older than one given before: whoever asks relies on that."""
        self.asked.append(asked)
        for place, (known, rows) in enumerate(self.at_hand):
            if known.question is asked.question and known.values == asked.values:
                del self.at_hand[: place + 1]
                return rows
        self.at_hand.clear()
        return None

    def forget(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Called for whatever else is done on the connection: it may change what the answers are about."""
        self.at_hand.clear()
        return execute(*arguments)


class _Remembered(NamedTuple):
    """What was asked in a block, and which instant was now."""

    asked: list[_Asked]
    now: dt.datetime

    def at(self, now: dt.datetime) -> list[_Asked]:
        """The same questions, asked at another instant."""
        return [
            _Asked(question, [now if value == self.now else value for value in values])
            for question, values in self.asked
        ]


MOST_REMEMBERED = 1_000
"""Subjects; some kilobytes each."""
MOST_TOGETHER = 20
"""Questions: a block that asks more is not remembered."""
_remembered: dict[Hashable, _Remembered] = {}
_remembering = threading.Lock()
_block: ContextVar[_Block | None] = ContextVar("questions of a block", default=None)


def ask(question: Question, given: Mapping[str, Any]) -> list[Row]:
    """The rows of the answer, on Django's connection; of the parameters `given`, the question takes its own.

    Raises what Django raises for it (DatabaseError with the driver's error as its cause).
    """
    connection.ensure_connection()
    block = _block.get()
    if block is not None and not connection.in_atomic_block:
        known = block.answer(_Asked(question, question.values(given)))
        if known is not None:
            return known
    with connection.wrap_database_errors:
        if connection.in_atomic_block:
            with psycopg.Cursor(connection.connection) as cursor:
                return cursor.execute(question.sql, given, binary=True).fetchall()
        try:
            rows = _answer(connection.connection, question, given)
        except psycopg.OperationalError as error:
            if connection.health_check_done or not _is_lost(error):  # type: ignore[attr-defined]
                raise
            connection.close()
            connection.connect()
            rows = _answer(connection.connection, question, given)
    connection.health_check_done = True  # type: ignore[attr-defined]  # of this request: a cursor need not ask again
    return rows


@contextmanager
def asked_as_before(subject: Hashable, *, now: dt.datetime) -> Iterator[None]:
    """What was asked in the last such block about the subject is put in one exchange; `ask` has each answer once.

    `now` stands for what was now then. Answers are as of the beginning of the block, in the order of the questions, and
    hold until anything else is done on the connection. Within a transaction, and where the exchange fails, each
    question is put as it comes. Raises what Django raises where the database is there and has no time for us.
    """
    if connection.in_atomic_block:
        yield
        return
    remembered = _remembered.pop(subject, None)  # and remembered again if all goes well
    block = _Block([], [] if remembered is None else _answered_together(remembered.at(now)))
    outer = _block.set(block)
    try:
        with connection.execute_wrapper(block.forget):
            yield
    finally:
        _block.reset(outer)
    if len(block.asked) <= MOST_TOGETHER:
        with _remembering:
            _remembered[subject] = _Remembered(block.asked, now)
            if len(_remembered) > MOST_REMEMBERED:
                del _remembered[next(iter(_remembered))]


def columns(model: type[models.Model], table: str) -> str:
    """The columns of a model's `table`, for `SELECT`: `instance` takes them in this order."""
    return ", ".join(f"{table}.{field.column}" for field in model._meta.concrete_fields)


def instance(model: type[M], row: Row) -> M:
    """The instance that a row of `columns` is, as the ORM would make it, of columns that need no conversion."""
    return model.from_db(connection.alias, _names(model), row)


@cache
def _names(model: type[models.Model]) -> tuple[str, ...]:
    return tuple(field.attname for field in model._meta.concrete_fields)


def _answered_together(asked: Sequence[_Asked]) -> list[tuple[_Asked, list[Row]]]:
    connection.ensure_connection()
    with connection.wrap_database_errors:
        shapes = [Transformer(connection.connection) for _ in asked]
        steps = [_step(question, values, shape) for (question, values), shape in zip(asked, shapes, strict=True)]
        try:
            answers, failure = exchange(connection.connection, steps)
        except BaseException as error:
            connection.close()  # nobody knows what it is in the middle of
            if isinstance(error, psycopg.OperationalError):
                return []
            raise
        if failure is None:
            connection.health_check_done = True  # type: ignore[attr-defined]  # as in `ask`
            rows = map(_rows, answers, shapes)
            return list(zip(asked, rows, strict=True))
        if _is_lost(failure) or isinstance(failure, psycopg.errors.FeatureNotSupported):
            connection.close()  # on a new one, everything is prepared anew
        elif isinstance(failure, psycopg.OperationalError):
            raise failure  # a limit of time, say, which is not to be waited for twice
        return []


def _is_lost(error: psycopg.Error) -> bool:
    return isinstance(error, ConnectionLost) or bool(connection.connection.closed)


def _answer(driver: "psycopg.Connection", question: Question, given: Mapping[str, Any]) -> list[Row]:
    link, known, statement = driver.pgconn, prepared_on(driver), question.statement
    shape = Transformer(driver)
    step = _step(question, question.values(given), shape)
    values: Sequence[Any] = step.parameters
    try:
        if statement.name not in known:
            _check(link, link.prepare(statement.name, statement.sql))
            known.add(statement.name)
        result = _check(link, link.exec_prepared(statement.name, values, step.formats, Format.BINARY))
    except UNPREPARED as error:
        known.discard(statement.name)
        if isinstance(error, psycopg.errors.DuplicatePreparedStatement):
            known.add(statement.name)
        result = _check(link, link.exec_params(statement.sql, values, None, step.formats, Format.BINARY))
    return _rows(result, shape)


def _step(question: Question, values: Sequence[Any], shape: abc.Transformer) -> Step:
    dumped: Sequence[Any] = shape.dump_sequence(values, [PyFormat.AUTO] * len(values))
    return Step(question.statement, dumped, shape.formats)


def _rows(answer: PGresult, shape: abc.Transformer) -> list[Row]:
    shape.set_pgresult(answer)
    return shape.load_rows(0, answer.ntuples, tuple)


def _check(link: PGconn, result: PGresult) -> PGresult:
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    if link.status == ConnStatus.BAD:
        raise ConnectionLost(link.get_error_message())
    raise error_of(result)
