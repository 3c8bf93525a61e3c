"""A bill run spread over processes: the same bills, whoever fails or is killed on the way."""

import datetime as dt
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from django.db import transaction

from billing import billing
from billing.ledger import credit_balance
from billing.models import Invoice
from plans.models import Customer, Subscription
from tests.billing.books import DEC_2, GRACE, assert_books_balance, conversation, happened
from tests.billing.test_bill_run import rename_tier
from tests.cast import NOON, a_plan, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked
from tests.served.serving import ROOT, eventually

DUE = DEC_2 + GRACE
CUSTOMERS = 5


@pytest.fixture
def subscriptions(committed: None, monkeypatch: pytest.MonkeyPatch) -> list[Subscription]:
    """Five, in three batches, with a start and a cycle to be billed each."""
    monkeypatch.setattr(billing, "SUBSCRIPTIONS_A_BATCH", 2)
    made = []
    for number in range(CUSTOMERS):
        customer = Customer.objects.create(key=f"customer-{number}", currency="USD", created_at=NOON)
        made.append(subscribed(customer, a_plan(f"plan-{number}")))
        happened(*[conversation(f"c{n}", customer=customer.key) for n in range(3)], now=NOON)
    return made


def bill_in_processes(now: dt.datetime = DUE) -> billing.BillRun:
    return billing.bill(as_of=now, now=now, processes=2)


def assert_all_is_billed_once() -> None:
    for kind in ("start", "cycle"):
        assert Invoice.objects.filter(kind=kind, status="finalized").count() == CUSTOMERS
    numbers = sorted(int(number[-6:]) for number in Invoice.objects.values_list("number", flat=True) if number)
    assert numbers == list(range(numbers[0], numbers[0] + 2 * CUSTOMERS))
    assert_books_balance()


def test_other_processes_make_the_invoices(subscriptions: list[Subscription], monkeypatch: pytest.MonkeyPatch) -> None:
    def not_here(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(billing, "bill_steps", not_here)
    seen: list[int] = []
    run = billing.bill(as_of=DUE, now=DUE, processes=2, progress=seen.append)
    assert (run.settled, len(run.invoices), run.failed, sum(seen)) == (15, 10, 0, 10)
    assert_all_is_billed_once()


def test_one_that_cannot_be_billed_is_put_off_and_stops_nobody(subscriptions: list[Subscription]) -> None:
    rename_tier(subscriptions[2], "simple", "lost")
    run = bill_in_processes()
    assert (len(run.invoices), run.failed) == (9, 1)
    rename_tier(subscriptions[2], "lost", "simple")
    assert len(bill_in_processes(DUE + billing.RETRY_AFTER).invoices) == 1
    assert_all_is_billed_once()


def test_a_killed_process_loses_nothing(subscriptions: list[Subscription], sessions: Sessions) -> None:
    with transaction.atomic():
        credit_balance(subscriptions[3].customer, "USD")
        run = sessions.start(bill_in_processes)
        wait_until_blocked(within_s=30)
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            run.result(30)
    bill_in_processes()
    assert_all_is_billed_once()


SLEEPING = """
import time
from billing.in_processes import map_over
with map_over(2) as each_done:
    list(each_done(time.sleep, [300, 300]))
"""


def test_processes_end_with_the_one_that_started_them_even_if_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "manage.py", "shell", "--no-imports", "-c", SLEEPING], cwd=ROOT) as program:
        try:
            assert eventually(lambda: len(workers_of(program.pid)) == 2, within_s=30)
            workers = workers_of(program.pid)
        finally:
            program.kill()
    assert eventually(lambda: not any(map(command, workers)), within_s=20)


def workers_of(pid: int) -> list[int]:
    """The processes that a pool has started, without the one that keeps count of what they share."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in command(int(child))]


def command(pid: int) -> str:
    """What a process runs; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
