"""What is an invariant of the books? A name that says what must hold, and a way to find what breaks it."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.db import connection

PAGE = 2_000

Row = dict[str, Any]
"""One offending row, in columns a person can read."""
Search = Callable[[dt.datetime], Iterator[Row]]
"""Finds the offending rows as of `now`, where that takes Python: prices and the calendar."""


class Invariant(NamedTuple):
    """Something that must hold.

    `breaches` finds what breaks it: a query, which may name `%(now)s` (so a literal per cent sign is written twice), or
    a search.
    """

    name: str
    promise: str
    breaches: str | Search


def paged(sql: str, **params: Any) -> Iterator[Row]:
    """The rows of a query, page by page, so that memory does not grow with the books. Inside a transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, params)
        while rows := cursor.fetchmany(PAGE):
            names = [column.name for column in cursor.description]
            for row in rows:
                yield dict(zip(names, row, strict=True))
