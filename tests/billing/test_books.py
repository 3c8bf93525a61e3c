"""The check of the books: silent on a healthy story, and loud about each thing that could be wrong with it."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from billing.books import INVARIANTS, UnknownInvariant, Violation, check
from billing.books.conversations import FOLDS
from billing.finalizing import void_invoice
from metering.supplier_rates import forget_book
from plans.customers import create_customer
from sandbox.stripe_sandbox import StripeSandbox
from tests.billing.planted import PLANTED
from tests.billing.story import DECEMBER, JANUARY, NOW, billed, tell_story
from tests.cast import NOON, a_plan, acme, report, send, subscribed

# What a test does to the story is undone after it, like with any other test of the database.
pytestmark = [pytest.mark.usefixtures("story"), pytest.mark.django_db]
NAMES = [invariant.name for invariant in INVARIANTS]
# Test databases may be run without fsync. Unqualified names find this before the system's own view.
DURABLE = """
CREATE TEMPORARY TABLE pg_settings (name, setting) ON COMMIT DROP AS VALUES ('fsync', 'on');
SET LOCAL search_path = pg_temp, public, pg_catalog
"""


@pytest.fixture(scope="module")
def story(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Told once, in a transaction that is rolled back after the last test of this module."""
    with (
        django_db_blocker.unblock(),
        pytest.MonkeyPatch.context() as patch,
        StripeSandbox(clock=NOW.timestamp) as sandbox,
        transaction.atomic(),
    ):
        patch.setattr("django.conf.settings.STRIPE_API_KEY", "sk_test_parley")
        patch.setattr("django.conf.settings.STRIPE_API_BASE", sandbox.url)
        tell_story()
        forget_book()
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield
        transaction.set_rollback(True)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def plant(sql: str) -> None:
    """As somebody does whom no trigger and no foreign key holds up."""
    execute("SET LOCAL session_replication_role = replica")
    execute(sql)
    execute("SET LOCAL session_replication_role = origin")


def found(*names: str) -> list[Violation]:
    return check(NOW, only=names or None)


def test_the_books_of_a_healthy_story_hold() -> None:
    execute(DURABLE)
    assert [(violation.invariant.name, violation.rows) for violation in found()] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_breaks_an_invariant_is_found(name: str) -> None:
    plant(PLANTED[name])
    (violation,) = found(name)
    assert violation.invariant.name == name
    assert violation.rows


def test_for_every_invariant_something_is_planted() -> None:
    assert sorted(PLANTED) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("column", FOLDS)
def test_no_column_of_a_conversation_can_be_off(column: str) -> None:
    step = "interval '1 second'" if column.endswith("_at") else "1"
    plant(f"UPDATE metering_conversation SET {column} = {column} + {step} WHERE {column} IS NOT NULL")
    assert found("conversation_is_the_fold_of_its_events")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM metering_settledconversation",
        "UPDATE metering_settledconversation SET settled_at = settled_at - interval '1 microsecond'",
        "DELETE FROM metering_conversation",
    ],
    ids=["neither", "at another instant", "nothing to settle"],
)
def test_no_conversation_is_neither_open_nor_settled_nor_settled_by_itself(sql: str) -> None:
    plant(sql)
    assert found("conversation_is_either_open_or_settled")


def test_a_late_change_that_waits_for_its_invoice_is_no_violation() -> None:
    assert send([report("later", 3, conversation="later", customer="bolt")], now=NOW) == ["accepted"]
    assert not found("invoiced_period_is_billed_as_counted_today")
    plant("DELETE FROM metering_latechange")
    plant("UPDATE metering_settledconversation SET tier = 'simple' WHERE tier = 'enterprise'")
    assert found("invoiced_period_is_billed_as_counted_today")


def test_a_late_change_that_waits_hides_nothing_of_other_periods() -> None:
    subscribed(create_customer(key="dora", currency="USD", now=NOON), a_plan("dear", base_fee="0"))
    send([report("d1", 1, conversation="d1", customer="dora")], now=DECEMBER)
    billed(DECEMBER)
    billed(JANUARY)
    send([report("d2", DECEMBER, conversation="d2", customer="dora")], now=JANUARY)
    assert not found("invoiced_period_is_billed_as_counted_today")
    plant("UPDATE metering_settledconversation SET tier = 'standard' WHERE tier = 'simple'")
    assert found("invoiced_period_is_billed_as_counted_today")


def test_an_adjustment_on_a_void_invoice_is_given_up() -> None:
    subscribed(create_customer(key="dora", currency="USD", now=NOON), a_plan("dear", base_fee="0"))
    billed(DECEMBER)
    send([report("d1", 1, conversation="d1", customer="dora")], now=DECEMBER)
    (invoice,) = billed(JANUARY)
    assert invoice.total == 2
    void_invoice(invoice.pk, reason="wrong", now=JANUARY)
    assert not found("invoiced_period_is_billed_as_counted_today")


def test_a_written_off_invoice_that_is_void_at_stripe_is_done() -> None:
    plant("UPDATE billing_collection SET state = 'done', stripe_status = 'void' WHERE stripe_status = 'uncollectible'")
    assert not found("collection_agrees_with_its_invoice")


def test_a_scheme_change_that_is_not_worked_off_is_no_violation() -> None:
    plant("UPDATE metering_settledconversation SET tier = 'complex' WHERE tier = 'simple'")
    plant("INSERT INTO plans_schemechange (id, customer_id, since) SELECT id, id, now() FROM plans_customer")
    assert not found("settled_conversation_is_in_its_tier")


def test_a_violation_counts_all_rows_and_shows_the_first() -> None:
    plant("UPDATE metering_event SET input_tokens = -1")
    (violation,) = check(NOW, only=["event_usage_is_possible"], shown=2)
    assert len(violation.rows) == 2
    assert violation.found > 10


def test_searches_in_python_count_all_rows_too() -> None:
    plant(PLANTED["usage_line_reprices_to_its_amount"])
    (violation,) = check(NOW, only=["usage_line_reprices_to_its_amount"], shown=1)
    assert len(violation.rows) == 1
    assert violation.found > 1


def test_an_invariant_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownInvariant):
        check(NOW, only=["all_is_well"])


def test_the_command_says_how_many_invariants_hold() -> None:
    assert told("--only", "event_is_stored_once", "--only", "event_usage_is_possible") == "2 invariants hold\n"


def test_the_command_fails_and_names_what_is_wrong() -> None:
    plant(PLANTED["event_usage_is_possible"])
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 invariants do not hold"):
        call_command("check_books", "--only", "event_usage_is_possible", stdout=out)
    assert f"customer={acme().pk}  event_id=a1" in out.getvalue()


def test_the_command_lists_what_must_hold() -> None:
    assert told("--list").count("\n") == len(NAMES)


def told(*arguments: str) -> str:
    out = io.StringIO()
    call_command("check_books", *arguments, stdout=out)
    return out.getvalue()


def test_the_largest_counts_that_are_taken_can_be_checked(db):
    most = 10**9
    acme()
    send([report("e1", tokens=(most, most, most, most, 0))])
    assert not [found for found in check(NOW) if found.invariant.name.startswith("conversation_is")]
