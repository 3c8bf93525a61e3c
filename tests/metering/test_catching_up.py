"""Whoever looks finds every stored event in its conversation, once: whenever it is folded, by whom, in what order."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from metering import catching_up
from metering.catching_up import catch_up
from metering.models import Conversation, LateChange, UnfoldedEvents
from metering.reading import count_settled, take_reading
from metering.reports import Report
from plans.models import Customer
from tests.cast import LATER, a_plan, a_scheme, acme, at, bolt, report, settled, subscribed, the_sitting
from tests.metering.histories import HOURS, histories, in_batches, random_histories
from tests.metering.test_late_changes import noted
from tests.metering.waiting import (
    an_end,
    assert_all_is_folded_once,
    calls_stored_folded_and_waiting,
    change_stored,
    fold,
    store,
)
from tests.rest import Caller

pytestmark = pytest.mark.django_db

STRICT = {"idle_hours": 12, "max_age_hours": 30, "tiers": [("small", 2, 900), ("large", None, None)]}


def test_what_is_stored_waits_until_somebody_catches_up_with_its_customer() -> None:
    customer, other = acme(), bolt()
    store(report("e1"), report("e2", customer="bolt"))
    assert not Conversation.objects.exists()
    catch_up([customer.id], now=LATER)
    assert [row.customer_id for row in Conversation.objects.all()] == [customer.id]
    assert [row.customer_id for row in UnfoldedEvents.objects.all()] == [other.id]
    assert (fold(), fold()) == (1, 0)


def test_what_changes_no_event_leaves_nothing_to_fold() -> None:
    acme()
    store(report("e1"))
    fold()
    answers = store(report("e1"), report("e1", model="another"), report("x", customer="stranger"))
    assert answers == ["duplicate", "conflict", "quarantined"]
    assert not UnfoldedEvents.objects.exists()


def test_calls_that_change_while_they_wait_count_as_they_are_by_then() -> None:
    customer = acme()
    store(report("grown", tokens=(1, 0, 0, 1, 0)), report("gone", 1), report("moved", 2), report("stays", 3))
    store(report("grown", tokens=(1, 0, 0, 9, 0)), report("next", 90))
    change_stored(customer, "gone", voided=True)
    change_stored(customer, "moved", conversation="mail", occurred_at=at(50))
    fold()
    assert_all_is_folded_once(customer)
    assert (the_sitting(conversation="mail").opened_at, the_sitting(conversation="mail").calls) == (at(50), 1)
    assert [*Conversation.objects.filter(reference="chat").values_list("output_tokens", flat=True)] == [109, 100]


def test_a_reference_cut_anew_does_not_count_twice_what_waits_of_it() -> None:
    """It is read from all events stored, and those in the queue are among them."""
    customer = acme()
    store(report("e1", 0), report("e2", 40))
    fold()
    store(report("in order", 41))
    store(report("bridge", 20))
    store(report("of another", 20, conversation="mail"))
    change_stored(customer, "e1", output_tokens=5)
    catch_up([customer.id], now=LATER)
    assert (the_sitting().calls, the_sitting(conversation="mail").calls) == (4, 1)
    assert_all_is_folded_once(customer)


@pytest.mark.parametrize("order", [*itertools.permutations(["e1", "e2", "e3"])])
def test_of_several_changes_that_wait_the_earliest_says_where_to_cut(order: tuple[str, ...]) -> None:
    customer = acme()
    store(report("e1", 0), report("e2", 50), report("e3", 100))
    fold()
    for name in order:
        change_stored(customer, name, output_tokens=7)
    fold()
    assert [*Conversation.objects.order_by("ordinal").values_list("output_tokens", flat=True)] == [7, 7, 7]


def test_a_close_that_waits_alone_closes_what_was_folded_before() -> None:
    customer = acme()
    store(report("e1", 0), report("e2", 2))
    fold()
    store(an_end(1))
    catch_up([customer.id], now=LATER)
    assert [row.closed_at for row in Conversation.objects.order_by("ordinal")] == [at(1), None]


def test_changing_the_scheme_beside_waiting_events_counts_each_once() -> None:
    customer = acme()
    a_scheme(**STRICT)
    store(report("e1", 0))
    fold()
    store(report("e2", 13), report("e3", 14))
    subscribed(customer, a_plan(tier_scheme="support", rates={"small": "1", "large": "2"}), since=-1)
    settled()
    assert [row.calls for row in Conversation.objects.order_by("ordinal")] == [1, 2]
    assert_all_is_folded_once(customer)


def test_a_reading_counts_what_waits_and_notes_what_waits_of_days_already_counted() -> None:
    customer = acme()
    store(report("e1"))
    assert take_reading(customer.id, up_to=at(100), now=LATER) == []
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 1}
    store(report("late", 1, conversation="mail"))
    assert noted(customer) == []
    fold()
    assert noted(customer) == [at(25).date()]
    store(report("later", 50, conversation="mail"))
    days = take_reading(customer.id, up_to=at(100), now=LATER)
    assert days == [at(25).date(), at(74).date()]
    assert not LateChange.objects.exists()


def test_conversations_read_over_rest_hold_all_that_was_stored(caller: Callable[..., Caller]) -> None:
    acme(), bolt()
    desk = caller("read")
    store(report("e1"), report("f1", customer="bolt"))
    (row,) = desk.get("/v1/conversations?customer=acme").json()["data"]
    assert row["calls"] == 1
    assert UnfoldedEvents.objects.count() == 1
    assert len(desk.get("/v1/conversations").json()["data"]) == 2
    store(report("e2", 1))
    assert desk.get(f"/v1/conversations/{row['id']}").json()["calls"] == 2


def test_windows_hold_whole_customers_and_all_of_them_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "WINDOW_BYTES", 100)
    customers = [acme(), bolt()]
    store(*[report(f"e{n}", n) for n in range(9)], report("f", customer="bolt"))
    store(report("last", 9))
    assert fold() == 2
    for customer in customers:
        assert_all_is_folded_once(customer)


ACTS: dict[str, Callable[[Customer, random.Random], object]] = {
    "fold": lambda customer, chance: fold(),
    "catch up": lambda customer, chance: catch_up([customer.id], now=LATER),
    "settle": lambda customer, chance: settled(at(chance.choice(HOURS))),
    "count": lambda customer, chance: count(customer, at(chance.choice(HOURS))),
    "correct": lambda customer, chance: correct_any(customer, chance),
    "nothing": lambda customer, chance: None,
}


def count(customer: Customer, up_to: Any) -> None:
    with transaction.atomic():
        take_reading(customer.id, up_to=up_to, now=LATER)


def correct_any(customer: Customer, chance: random.Random) -> None:
    """Void or move one of the calls, which may have been folded by then or not, or not even be stored."""
    changes = chance.choice([{"voided": True}, {"conversation": "mail"}, {"occurred_at": at(chance.choice(HOURS))}])
    change_stored(customer, f"e{chance.randrange(9)}", **changes)


@random_histories
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    acts=st.lists(st.sampled_from(sorted(ACTS)), min_size=6, max_size=6),
)
def test_whenever_they_are_folded_conversations_are_those_of_all_stored_events(
    history: list[Report], seed: int, acts: list[str]
) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        for batch, act in itertools.zip_longest(in_batches(history, chance), acts, fillvalue=None):
            store(*(batch or ()))
            ACTS[act or "nothing"](customer, chance)
        catch_up([customer.id], now=LATER)
        assert_all_is_folded_once(customer)
        transaction.set_rollback(True)


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32))
def test_at_any_moment_a_stored_call_is_in_the_queue_or_in_a_conversation(history: list[Report], seed: int) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        for batch in in_batches(history, chance):
            store(*batch)
            ACTS[chance.choice(["fold", "catch up", "settle", "count", "nothing"])](customer, chance)
            stored, folded, waiting = calls_stored_folded_and_waiting()
            assert stored == folded + waiting
        transaction.set_rollback(True)


def test_catching_up_where_nothing_waits_is_one_look_and_no_lock(django_assert_num_queries: Any) -> None:
    customer = acme()
    with django_assert_num_queries(0):  # beside the one look, for which Django makes no cursor
        catch_up([customer.id], now=LATER)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone() == (0,)
