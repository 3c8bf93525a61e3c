"""Folds beside each other and beside everything else: nothing is lost, and nothing counts twice."""

import random
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import catching_up, conversation_rows, conversation_writes
from metering.catching_up import catch_up
from metering.models import Conversation, LateChange, UnfoldedEvents
from metering.reading import take_reading
from metering.recutting import recut_changed_schemes, recut_customer
from metering.reports import Report
from metering.settling import settle_customers
from metering.usage_lock import slot_of, take_usage_lock
from plans.models import Customer
from tests.cast import LATER, a_plan, a_scheme, acme, at, report, settled, subscribed, the_settled, the_sitting
from tests.metering.conftest import Sessions
from tests.metering.histories import histories, in_batches, random_histories
from tests.metering.test_catching_up import STRICT
from tests.metering.test_concurrency import counted_by_day, paused_after, wait_until_blocked
from tests.metering.test_late_changes import noted
from tests.metering.waiting import (
    assert_all_is_folded_once,
    calls_stored_folded_and_waiting,
    fold,
    new_customer,
    store,
)


def test_what_is_stored_while_a_reference_is_cut_anew_is_counted_by_the_next_fold(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by this one, which has not taken it from the queue and must not see it among the events either."""
    customer = acme()
    store(report("e1", 0), report("e2", 40)), fold()
    store(report("bridge", 20))
    with paused_after(monkeypatch, conversation_rows, "heads") as (reached, go_on):
        folding = sessions.start(fold)
        reached.wait(20)
        store(report("e3", 41))
        go_on.set()
    assert folding.result() == 1
    assert the_sitting().calls == 3
    fold()
    assert the_sitting().calls == 4
    assert_all_is_folded_once(customer)


def test_a_fold_beside_settling_opens_again_what_was_settled_meanwhile(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = acme()
    store(report("e1", 0)), fold()
    store(report("e2", 1))
    with paused_after(monkeypatch, conversation_rows, "heads") as (reached, go_on):
        folding = sessions.start(fold)
        reached.wait(20)
        assert settle_customers([customer.id], as_of=LATER) == 1
        go_on.set()
    assert folding.result() == 1
    assert (the_sitting().settled, the_sitting().calls) == (None, 2)
    assert_all_is_folded_once(customer)


def test_settling_beside_a_fold_judges_what_the_fold_has_made(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = acme()
    store(report("e1", 0)), fold()
    store(report("e2", 1, tokens=(90_000, 0, 0, 0, 0)))
    with paused_after(monkeypatch, conversation_writes, "note_late_changes") as (reached, go_on):
        folding = sessions.start(fold)
        reached.wait(20)
        settling = sessions.start(lambda: settle_customers([customer.id], as_of=LATER))
        wait_until_blocked()
        go_on.set()
    assert (folding.result(), settling.result()) == (1, 1)
    assert (the_settled().tier, the_settled().turns) == ("enterprise", 2)


def strict_plan_and_waiting_events() -> tuple[Customer, Any]:
    """Acme's first call is folded, two wait which the plan would have in a sitting of their own."""
    a_scheme(**STRICT)
    plan = a_plan(tier_scheme="support", rates={"small": "1", "large": "2"})
    customer = acme()
    store(report("e1", 0)), fold()
    store(report("e2", 13), report("e3", 14))
    return customer, plan


def test_a_scheme_that_changes_beside_a_fold_is_not_missed(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold works by the old rule, of its snapshot; the recut comes after it."""
    customer, plan = strict_plan_and_waiting_events()
    with paused_after(monkeypatch, conversation_rows, "heads") as (reached, go_on):
        folding = sessions.start(fold)
        reached.wait(20)
        recutting = sessions.start(lambda: (subscribed(customer, plan, since=-1), recut_changed_schemes(now=LATER)))
        wait_until_blocked()
        go_on.set()
    folding.result(), recutting.result()
    settled()
    assert_all_is_folded_once(customer)
    assert the_sittings_calls() == [1, 2]


def test_a_fold_that_waited_for_a_recut_does_not_work_by_the_old_rule(sessions: Sessions) -> None:
    """Its snapshot is older than the recut, which has taken what it saw in the queue."""
    customer, plan = strict_plan_and_waiting_events()
    with transaction.atomic():
        subscribed(customer, plan, since=-1)
        take_usage_lock(customer.id)
        folding = sessions.start(fold)
        wait_until_blocked()
        recut_customer(customer.id, now=LATER)
    folding.result()
    assert_all_is_folded_once(customer)
    assert the_sittings_calls() == [1, 2]


def the_sittings_calls() -> list[int]:
    return list(Conversation.objects.order_by("reference", "ordinal").values_list("calls", flat=True))


def test_a_fold_that_waited_for_a_reading_notes_nothing_that_was_counted(sessions: Sessions) -> None:
    customer = acme()
    store(report("e1", 0))
    with transaction.atomic():
        take_usage_lock(customer.id)
        folding = sessions.start(fold)
        wait_until_blocked()
        take_reading(customer.id, up_to=at(100), now=LATER)
    folding.result()
    assert not LateChange.objects.exists()
    assert_all_is_folded_once(customer)


def test_what_is_stored_beside_a_reading_is_noted_as_late_when_it_is_folded(sessions: Sessions) -> None:
    customer = acme()
    with transaction.atomic():
        take_reading(customer.id, up_to=at(100), now=LATER)
        storing = sessions.start(lambda: store(report("e1", 0)))
        wait_until_blocked()
    assert storing.result() == ["accepted"]
    fold()
    assert noted(customer) == [at(24).date()]


def test_catching_up_in_a_transaction_sees_its_own_events_and_those_others_have_committed(sessions: Sessions) -> None:
    customer = acme()
    with transaction.atomic():
        store(report("mine"))
        sessions.start(lambda: store(report("other", 1))).result()
        catch_up([customer.id], now=LATER)
        assert the_sitting().calls == 2
        later = sessions.start(lambda: store(report("later", 2)))
        wait_until_blocked()
        transaction.set_rollback(True)
    assert later.result() == ["accepted"]
    fold()
    assert the_sitting().calls == 2
    assert_all_is_folded_once(customer)


def test_catching_up_with_many_takes_their_locks_in_the_order_of_everybody(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are windowed: else it would deadlock with who takes two at once."""
    monkeypatch.setattr(catching_up, "WINDOW_BYTES", 1)
    first, second = a_pair_whose_slots_are_the_other_way_round()
    store(report("e1", customer=first.key), report("e2", customer=second.key))
    with transaction.atomic():
        take_usage_lock(second.id)
        catching = sessions.start(lambda: in_a_transaction(lambda: catch_up([first.id, second.id], now=LATER)))
        wait_until_blocked()
        take_usage_lock(first.id)
    catching.result()
    assert not UnfoldedEvents.objects.exists()


def in_a_transaction(call: Callable[[], object]) -> None:
    with transaction.atomic():
        call()


def a_pair_whose_slots_are_the_other_way_round() -> list[Customer]:
    while True:
        pair = sorted((new_customer() for _ in range(2)), key=lambda customer: customer.id)
        if slot_of(pair[0].id) > slot_of(pair[1].id):
            return pair


# All at once


@settings(random_histories, max_examples=6)
@given(history=histories(), seed=st.integers(0, 2**32))
def test_whoever_stores_folds_counts_and_settles_at_once_each_call_counts_once_at_every_moment(
    sessions: Sessions, history: list[Report], seed: int
) -> None:
    chance = random.Random(seed)
    customer = new_customer()
    everything = in_batches([msgspec.structs.replace(one, customer=customer.key) for one in history], chance)
    stored = threading.Event()
    counts: list[dict[Any, int]] = []

    def until_all_is_stored(act: Callable[[], object]) -> None:
        while not stored.is_set():
            act()
        act()

    def look() -> None:
        stored, folded, waiting = calls_stored_folded_and_waiting()
        assert stored == folded + waiting

    folders: list[Callable[[], object]] = [
        fold,
        lambda: catch_up([customer.id], now=LATER),
        lambda: in_a_transaction(lambda: catch_up([customer.id], now=LATER)),
        lambda: settle_customers([customer.id], as_of=LATER),
        lambda: counts.append(counted_by_day(customer, read_to=at(100))),
        look,
    ]
    working = [sessions.start(lambda act=act: until_all_is_stored(act)) for act in folders]
    sending = [sessions.start(lambda n=n: [store(*batch) for batch in everything[n::3]]) for n in range(3)]
    for sender in sending:
        sender.result(timeout=60)
    stored.set()
    for one in working:
        one.result(timeout=60)
    assert_all_is_folded_once(customer)
    late, actual = noted(customer), counted_by_day(customer, read_to=at(100))
    assert {day for day in {*actual, *counts[-1]} if actual.get(day) != counts[-1].get(day)} <= {*late}


def test_folders_of_many_customers_at_once_neither_double_nor_hang(sessions: Sessions) -> None:
    customers = [new_customer() for _ in range(12)]
    ids = [customer.id for customer in customers]

    def sender(number: int) -> None:
        for turn in range(10):
            store(*[report(f"{number}-{turn}", turn, customer=customer.key) for customer in customers])

    def folder(number: int) -> None:
        chance = random.Random(number)
        for _ in range(10):
            catch_up(chance.sample(ids, 6), now=LATER)
            fold()

    sessions.all([*[lambda n=n: sender(n) for n in range(3)], *[lambda n=n: folder(n) for n in range(4)]])
    fold()
    for customer in customers:
        assert_all_is_folded_once(customer)
        assert the_sitting(customer.key).calls == 30
