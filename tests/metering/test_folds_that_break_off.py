"""Folds that break off, at whatever statement: nothing is lost, nothing counts twice, and nobody else waits."""

import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection, transaction

from metering.catching_up import catch_up
from metering.models import LateChange, UnfoldedEvents
from metering.supplier_models import ALWAYS, SupplierRate
from tests.cast import LATER, acme, at, report, the_sitting
from tests.metering.test_concurrency import counted_by_day, end_the_blocked, wait_until_blocked
from tests.metering.test_late_changes import noted
from tests.metering.waiting import (
    an_end,
    assert_all_is_folded_once,
    calls_stored_folded_and_waiting,
    change_stored,
    fold,
    new_customer,
    store,
)
from tests.served.serving import ROOT, eventually


class Interrupted(Exception):
    """What is planted."""


@contextmanager
def interrupted_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The driver fails at so many-th statement from here on."""
    left = itertools.count(1)

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(left) == number:
                raise Interrupted
            return original(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", failing(psycopg.Cursor.execute))
        patched.setattr(psycopg.Cursor, "copy", failing(psycopg.Cursor.copy))
        yield


@pytest.mark.parametrize("inside", [False, True], ids=["by itself", "in a transaction"])
def test_a_fold_interrupted_at_any_statement_is_done_again_whole(
    committed: None, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    customer = acme()
    store(report("e1", 0), report("e2", 40), report("e3", 200), report("f1", 0, conversation="mail"))
    assert counted_by_day(customer, read_to=at(100))
    store(report("bridge", 20), report("e4", 201), report("f2", 1, conversation="mail"))
    store(report("new", conversation="post"), an_end(202))
    change_stored(customer, "e3", voided=True)
    before = calls_stored_folded_and_waiting()
    for number in itertools.count(1):
        try:
            with interrupted_at(number, monkeypatch), transaction.atomic() if inside else nullcontext():
                catch_up([customer.id], now=LATER)
            break
        except Interrupted:
            assert calls_stored_folded_and_waiting() == before
            assert not LateChange.objects.exists()
    assert number > 10
    assert_all_is_folded_once(customer)
    assert noted(customer)


def test_a_fold_that_keeps_losing_gives_up_and_leaves_everything(
    committed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = acme()
    store(report("e1"))
    with losing("true"), pytest.raises(psycopg.errors.SerializationFailure):
        fold()
    assert calls_stored_folded_and_waiting() == (1, 0, 1)
    fold()
    assert_all_is_folded_once(customer)


def test_a_fold_that_loses_against_whoever_folds_beside_it_is_done_alone(committed: None) -> None:
    customer = acme()
    store(report("e1"))
    with losing(f"NOT EXISTS ({LOCKED_ALONE})"):
        fold()
    assert_all_is_folded_once(customer)


def test_a_customer_whose_events_cannot_be_folded_keeps_nobody_else_waiting(
    committed: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred calls of the most tokens, at a price beyond reason, cost more than a column holds."""
    a_rate(provider="nobody", model="gold", usd="999999")
    customers = sorted((new_customer() for _ in range(3)), key=lambda customer: customer.id)
    golden = [report(f"g{n}", customer=customers[1].key, model="gold", tokens=(0, 0, 0, 10**9, 0)) for n in range(100)]
    store(*golden, *[report("e1", customer=customer.key) for customer in customers])
    with caplog.at_level(logging.ERROR, "metering.catching_up"):
        assert fold() == 3
    assert [record.args for record in caplog.records] == [(customers[1].id,)]
    assert set(UnfoldedEvents.objects.values_list("customer", flat=True)) == {customers[1].id}
    with pytest.raises(OverflowError):
        catch_up([customers[1].id], now=LATER)
    assert_all_is_folded_once(customers[0])
    assert_all_is_folded_once(customers[2])


def a_rate(*, provider: str, model: str, usd: str) -> None:
    names = ("input", "cache_read", "cache_write", "output")
    prices = {f"{name}_usd_per_million": Decimal(usd) for name in names}
    SupplierRate.objects.create(source="operator", provider=provider, model=model, starts_at=ALWAYS, **prices)


RACE = """
CREATE OR REPLACE FUNCTION pg_temp.race() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        IF {} THEN RAISE EXCEPTION 'a race' USING ERRCODE = 'serialization_failure'; END IF;
        RETURN OLD;
    END $$;
CREATE TRIGGER race BEFORE DELETE ON metering_unfoldedevents FOR EACH ROW EXECUTE FUNCTION pg_temp.race()"""
LOCKED_ALONE = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND pid = pg_backend_pid()"""


@contextmanager
def losing(when: str) -> Iterator[None]:
    """Whoever takes from the queue `when` this is true has lost a race."""
    with connection.cursor() as cursor:
        cursor.execute(RACE.format(when))
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER race ON metering_unfoldedevents")


@pytest.fixture
def folder(committed: None) -> Iterator["subprocess.Popen[bytes]"]:
    """`manage.py fold` at work on the test's database."""
    of = connection.get_connection_params()
    place = f"host={quote(of['host'], safe='')}&port={of.get('port') or 5432}"
    url = f"postgresql://{of['user']}:{of.get('password', '')}@/{of['dbname']}?{place}"
    program = subprocess.Popen(
        [sys.executable, "manage.py", "fold"], cwd=ROOT, env=os.environ | {"DATABASE_URL": url}, stderr=subprocess.PIPE
    )
    with program:
        yield program
        program.kill()


def test_the_program_that_folds_survives_the_loss_of_its_connection_and_ends_when_told(
    folder: "subprocess.Popen[bytes]",
) -> None:
    acme()
    store(report("e1"))
    with transaction.atomic():
        list(UnfoldedEvents.objects.select_for_update())
        wait_until_blocked(within_s=30)
        end_the_blocked()
    assert eventually(lambda: not UnfoldedEvents.objects.exists(), within_s=20)
    assert (folder.poll(), the_sitting().calls) == (None, 1)
    folder.send_signal(signal.SIGTERM)
    assert folder.wait(10) == 0
