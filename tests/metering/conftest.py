"""Databases for the metering tests.

A test of the `db` fixture runs in a transaction that is rolled back. A test of several connections has to commit; it
takes `committed`. Such tests end with a flush of every table, which also takes what migrations put there: the default
tier scheme. Django's own remedy, `serialized_rollback`, would insert the stored rows as they are, and the trigger that
freezes published versions rightly refuses tiers added to one; so the scheme is published again, as production would.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from metering.supplier_rates import forget_book
from tests.cast import restore_default_scheme


@pytest.fixture(autouse=True)
def no_remembered_rates() -> Iterator[None]:
    forget_book()
    yield
    forget_book()


@pytest.fixture
def default_scheme_afterwards(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Torn down after the flush of `transactional_db`, because it is set up before it."""
    yield
    with django_db_blocker.unblock():
        restore_default_scheme()


@pytest.fixture
def committed(default_scheme_afterwards: None, transactional_db: None) -> None:
    """Real commits, seen by other connections; the default tier scheme is there, before and afterwards."""
    restore_default_scheme()


class Sessions:
    """Calls made at the same time, each on a database connection of its own."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def start(self, call: Callable[[], Any]) -> "Future[Any]":
        return self._pool.submit(_on_own_connection, call)

    def all(self, calls: list[Callable[[], Any]]) -> list[Any]:
        return [future.result(timeout=60) for future in [self.start(call) for call in calls]]


def _on_own_connection(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connections.close_all()


@pytest.fixture
def sessions(committed: None) -> Iterator[Sessions]:
    with ThreadPoolExecutor(16) as pool:
        yield Sessions(pool)
