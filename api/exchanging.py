"""How do a few statements go to the database, and their answers come, in one exchange?

Waiting for an answer costs more than what is waited for. So statements that need nothing of each other's answers are
sent together, prepared once a connection, with PostgreSQL's pipeline mode: what lies before its Sync message is one
transaction, of which everything is committed or nothing. This speaks to libpq through the driver (psycopg.pq), since a
cursor's way there takes several times as long.
"""

import select
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from api.prepared import ConnectionLost, error_of, name_of, prepared_on


class Statement:
    """SQL with parameters $1, $2 and so on."""

    def __init__(self, sql: str) -> None:
        self.sql = sql.encode()
        self.name = name_of(self.sql)


class Step(NamedTuple):
    """A statement and its parameters, all in binary form where no `formats` are said; answers are in binary form."""

    statement: Statement
    parameters: Sequence[bytes | None]
    formats: Sequence[Format] | None = None


class Exchanged(NamedTuple):
    """The answer to each step, or what went wrong; either way the connection is ready for what comes next."""

    answers: Sequence[PGresult]
    failure: psycopg.Error | None


def exchange(driver: "psycopg.Connection", steps: Sequence[Step]) -> Exchanged:
    """Put the steps to the database. Whatever is raised, nobody knows what the connection is in the middle of."""
    link, known = driver.pgconn, prepared_on(driver)
    new = {step.statement.name: step.statement for step in steps if step.statement.name not in known}
    link.enter_pipeline_mode()
    for statement in new.values():
        link.send_prepare(statement.name, statement.sql)
    for statement, parameters, formats in steps:
        link.send_query_prepared(
            statement.name, parameters, formats or [Format.BINARY] * len(parameters), result_format=Format.BINARY
        )
    link.pipeline_sync()
    results = list(_results(link))
    link.exit_pipeline_mode()
    failed = next((place for place, result in enumerate(results) if result.status == ExecStatus.FATAL_ERROR), None)
    known.update(islice(new, failed))  # whose answers come first
    if failed is None:
        return Exchanged(results[len(new) :], None)
    error = error_of(results[failed])
    if isinstance(error, psycopg.errors.InvalidSqlStatementName):
        known.clear()  # behind a pooler, a connection may be another one than it was
    elif isinstance(error, psycopg.errors.DuplicatePreparedStatement):
        known.update(islice(new, failed + 1))
    return Exchanged([], error)


def _results(link: PGconn) -> Iterator[PGresult]:
    """The results of all commands up to the Sync. Raises OperationalError if the connection breaks."""
    ready = select.poll()
    ready.register(link.socket, select.POLLIN | select.POLLOUT)
    while link.flush():
        ready.poll()
        link.consume_input()
    ready.modify(link.socket, select.POLLIN)
    while True:
        while link.is_busy():
            ready.poll()
            link.consume_input()
        result = link.get_result()
        if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
            return
        if result is not None:
            yield result
        elif link.status == ConnStatus.BAD:
            raise ConnectionLost(link.get_error_message())
