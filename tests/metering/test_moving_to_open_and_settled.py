"""Does a database with conversations become one of open and settled rows, and can it go back?"""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from billing.books.checking import check
from tests.cast import LATER, acme, bolt, report, send, settled, the_sitting

pytestmark = pytest.mark.django_db

BEFORE, AFTER = [("metering", "0008_quarantined_again")], [("metering", "0009_open_and_settled")]
TABLES = ("metering_conversation", "metering_openconversation", "metering_settledconversation")


@pytest.fixture
def some_settled() -> None:
    acme(), bolt()
    send(report(f"{who}{n}", n, conversation=f"c{n % 4}", customer=who) for n in range(12) for who in ("acme", "bolt"))
    assert settled(30) == 0
    assert settled(34) > 0
    send([report("open", 40, conversation="open", outcome="resolved")])


def rows(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def stored() -> list[list[Any]]:
    return [rows(f"SELECT id::text, to_jsonb(t) FROM {table} t ORDER BY customer_id, id") for table in TABLES]


def migrate(to: list[tuple[str, str]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    MigrationExecutor(connection).migrate(to)


@pytest.mark.usefixtures("some_settled")
def test_there_and_back_nothing_is_lost() -> None:
    new = stored()
    open_ids, settled_ids = ({one for one, _ in table} for table in new[1:])
    assert open_ids and settled_ids
    migrate(BEFORE)
    old = rows("SELECT id::text, settled_at = settles_at, tier, turns FROM metering_conversation")
    assert {one for one, at_its_instant, _, _ in old if at_its_instant} == settled_ids
    assert {one for one, _, tier, turns in old if tier is None and turns is None} == open_ids
    migrate(AFTER)
    assert stored() == new
    assert check(LATER, only=["conversation_is_either_open_or_settled"]) == []
    assert the_sitting(conversation="open").settled is None
