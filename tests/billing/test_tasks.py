"""The sweeps that Celery wakes: the bill run gives its batches to whichever workers there are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine

from billing import billing, tasks
from billing.models import Invoice
from config.celery import app
from tests.billing.books import DEC_2, GRACE, conversation, happened
from tests.cast import NOON, a_plan, acme, bolt, cleo, subscribed

pytestmark = pytest.mark.usefixtures("db")
DUE = DEC_2 + GRACE


@pytest.fixture
def batches_sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A worker does at once whatever it is sent; the batches of the bill run that it was."""
    monkeypatch.setattr(billing, "SUBSCRIPTIONS_A_BATCH", 1)
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    sent: list[Any] = []
    send = tasks.bill_batch.apply_async

    def noted(arguments: Any, **options: Any) -> Any:
        sent.append(arguments)
        return send(arguments, **options)

    monkeypatch.setattr(tasks.bill_batch, "apply_async", noted)
    yield sent
    app.conf.update(task_always_eager=False, task_eager_propagates=False)


def test_a_bill_sweep_bills_every_step_that_is_due_a_message_a_batch(batches_sent: list[Any]) -> None:
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
        happened(conversation("c", customer=customer.key), now=NOON)
    with time_machine.travel(DUE, tick=False):
        tasks.bill_due()
    assert sorted(Invoice.objects.values_list("customer__key", "kind")) == [
        (who, kind) for who in ("acme", "bolt", "cleo") for kind in ("cycle", "start")
    ]
    assert len(batches_sent) == 3


def test_a_batch_that_comes_twice_or_late_bills_nothing_again(batches_sent: list[Any]) -> None:
    subscribed(acme(), a_plan())
    with time_machine.travel(DUE, tick=False):
        tasks.bill_due()
        for arguments in list(batches_sent):
            tasks.bill_batch(*arguments)
        tasks.bill_due()
    assert (Invoice.objects.count(), len(batches_sent)) == (2, 1)


def test_more_than_a_sweep_gives_out_waits_for_the_next(
    batches_sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BATCHES_A_SWEEP", 2)
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
    with time_machine.travel(NOON, tick=False):
        tasks.bill_due()
        assert Invoice.objects.count() == len(batches_sent) == 2
        tasks.bill_due()
    assert Invoice.objects.count() == len(batches_sent) == 3


def test_taking_things_to_stripe_ends_in_time_and_looks_at_everything_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def always_more(name: str) -> Callable[..., int]:
        return lambda *, now: looked.append(name) or 1  # type: ignore[func-returns-value]

    monkeypatch.setattr(tasks, "AT_STRIPE", (always_more("tax"), always_more("collect")))
    monkeypatch.setattr(tasks, "AT_STRIPE_FOR_S", 0.0)
    tasks.collect_due()
    assert looked == ["tax", "collect"]
