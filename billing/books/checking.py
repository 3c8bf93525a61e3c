"""Do the books hold? Every invariant is looked at, all in one snapshot of the database, which is left as it is."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from django.db import connection, transaction

from billing.books.collecting import COLLECTING
from billing.books.conversations import CONVERSATIONS
from billing.books.coupons import COUPONS
from billing.books.credit_notes import CREDIT_NOTES
from billing.books.database import DATABASE
from billing.books.events import EVENTS
from billing.books.invariant import Invariant, Row
from billing.books.invoices import INVOICES
from billing.books.ledger import LEDGER
from billing.books.periods import PERIODS
from billing.books.postings import POSTINGS
from billing.books.prices import PRICES
from billing.books.taxes import TAXES
from billing.books.wallets import WALLETS

INVARIANTS: tuple[Invariant, ...] = (
    *LEDGER,
    *POSTINGS,
    *INVOICES,
    *COUPONS,
    *PRICES,
    *PERIODS,
    *WALLETS,
    *TAXES,
    *CREDIT_NOTES,
    *EVENTS,
    *CONVERSATIONS,
    *COLLECTING,
    *DATABASE,
)
SHOWN = 20
"""How many offending rows a violation carries."""

# Sorts and hashes of a million events stay in memory; compiling queries that run once does not pay.
SETTINGS = "SET LOCAL work_mem = '128MB'; SET LOCAL jit = off"


class UnknownInvariant(LookupError):
    """No invariant has this name."""


class Violation(NamedTuple):
    """An invariant that does not hold: how many rows break it, and the first of them."""

    invariant: Invariant
    found: int
    rows: list[Row]


def check(
    now: dt.datetime,
    *,
    only: Collection[str] | None = None,
    shown: int = SHOWN,
    progress: Callable[[Invariant], object] = lambda invariant: None,
) -> list[Violation]:
    """The invariants that do not hold as of `now`, each with at most `shown` rows; none: the books are right.

    `only` names those to look at; `progress` is told of each before it is looked at. Raises UnknownInvariant.
    """
    violations = []
    chosen = _chosen(only)
    with _one_snapshot():
        for invariant in chosen:
            progress(invariant)
            count, rows = _breaches(invariant, now, shown)
            if count:
                violations.append(Violation(invariant, count, rows))
    return violations


def _chosen(only: Collection[str] | None) -> list[Invariant]:
    unknown = set(only or ()) - {invariant.name for invariant in INVARIANTS}
    if unknown:
        raise UnknownInvariant(", ".join(sorted(unknown)))
    return [invariant for invariant in INVARIANTS if only is None or invariant.name in only]


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """A read-only transaction that sees one state of the database, unless the caller has begun one already."""
    outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(SETTINGS)
        yield


def _breaches(invariant: Invariant, now: dt.datetime, shown: int) -> tuple[int, list[Row]]:
    if isinstance(invariant.breaches, str):
        return _query(invariant.breaches, now, shown)
    found = invariant.breaches(now)
    rows = list(islice(found, shown))
    return len(rows) + sum(1 for _ in found), rows


def _query(sql: str, now: dt.datetime, shown: int) -> tuple[int, list[Row]]:
    limited = f"SELECT breach.*, count(*) OVER () FROM ({sql}) breach LIMIT %(shown)s"
    with connection.cursor() as cursor:
        cursor.execute(limited, {"now": now, "shown": shown})
        names = [column.name for column in cursor.description][:-1]
        found = cursor.fetchall()
    return (found[0][-1] if found else 0), [dict(zip(names, row[:-1], strict=True)) for row in found]
