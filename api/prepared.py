"""Which statements has a connection prepared? Each is parsed and planned once a connection, and known by its name.

Django's cursors prepare nothing. The name says what the statement is: behind a pooler, other processes, and other
releases, prepare theirs on the same connection, and a connection may be another one than it was.
"""

from hashlib import sha256
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

NOT_AS_REMEMBERED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)
"""What the database says where a pooler has given us another connection."""

_names: "WeakKeyDictionary[psycopg.Connection, set[bytes]]" = WeakKeyDictionary()


class ConnectionLost(psycopg.OperationalError):
    """What libpq says by itself, and not the server."""


def error_of(failed: PGresult) -> psycopg.Error:
    """What went wrong. The server always says an SQLSTATE; where there is none, it is the server that is missing."""
    if failed.error_field(DiagnosticField.SQLSTATE) is None:
        return ConnectionLost(failed.get_error_message())
    return psycopg.errors.error_from_result(failed)


def name_of(sql: bytes) -> bytes:
    """The name under which a statement is prepared."""
    return b"parley_" + sha256(sql).hexdigest()[:32].encode()


def prepared_on(driver: "psycopg.Connection") -> set[bytes]:
    """The names of what this connection has prepared, for whoever prepares more."""
    return _names.setdefault(driver, set())
