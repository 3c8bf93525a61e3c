"""How is a small question put to the database cheaply? Prepared once a connection, and answered in binary form.

A read of the API asks half a dozen questions, most of them a look into an index. Django's cursors prepare nothing, so
PostgreSQL would take longer to parse and plan such a question than to answer it, and the cursors themselves as long
again; this speaks to libpq through the driver (psycopg.pq). It is for reading alone: nothing is lost when a question
is put twice, so that one that finds its connection gone is put again on a new one, and no other check is needed that
the connection is still there. Within a transaction it is an ordinary statement of it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import connection, models
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from api.prepared import NOT_AS_REMEMBERED, ConnectionLost, error_of, name_of, prepared_on

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
        self.numbered = (sql % {name: f"${place}" for place, name in enumerate(self.parameters, 1)}).encode()
        self.name = name_of(self.numbered)


def ask(question: Question, given: Mapping[str, Any]) -> list[Row]:
    """The rows of the answer, on Django's connection; of the parameters `given`, the question takes its own.

    Raises what Django raises for it (DatabaseError with the driver's error as its cause).
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        if connection.in_atomic_block:
            with psycopg.Cursor(connection.connection) as cursor:
                return cursor.execute(question.sql, given, binary=True).fetchall()
        try:
            rows = _answer(connection.connection, question, given)
        except psycopg.OperationalError as error:
            lost = isinstance(error, ConnectionLost) or connection.connection.closed
            if connection.health_check_done or not lost:  # type: ignore[attr-defined]
                raise
            connection.close()
            connection.connect()
            rows = _answer(connection.connection, question, given)
    connection.health_check_done = True  # type: ignore[attr-defined]  # of this request: a cursor need not ask again
    return rows


def columns(model: type[models.Model], table: str) -> str:
    """The columns of a model's `table`, for `SELECT`: `instance` takes them in this order."""
    return ", ".join(f"{table}.{field.column}" for field in model._meta.concrete_fields)


def instance(model: type[M], row: Row) -> M:
    """The instance that a row of `columns` is, as the ORM would make it, of columns that need no conversion."""
    return model.from_db(connection.alias, [field.attname for field in model._meta.concrete_fields], row)


def _answer(driver: "psycopg.Connection", question: Question, given: Mapping[str, Any]) -> list[Row]:
    link, known = driver.pgconn, prepared_on(driver)
    shape = Transformer(driver)
    wanted = [given[name] for name in question.parameters]
    values: Sequence[Any] = shape.dump_sequence(wanted, [PyFormat.AUTO] * len(wanted))
    formats = shape.formats
    try:
        if question.name not in known:
            _check(link, link.prepare(question.name, question.numbered))
            known.add(question.name)
        result = _check(link, link.exec_prepared(question.name, values, formats, Format.BINARY))
    except UNPREPARED as error:
        known.discard(question.name)
        if isinstance(error, psycopg.errors.DuplicatePreparedStatement):
            known.add(question.name)
        result = _check(link, link.exec_params(question.numbered, values, None, formats, Format.BINARY))
    shape.set_pgresult(result)
    return shape.load_rows(0, result.ntuples, tuple)


def _check(link: PGconn, result: PGresult) -> PGresult:
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    if link.status == ConnStatus.BAD:
        raise ConnectionLost(link.get_error_message())
    raise error_of(result)
