"""Conversations as events come in: in order, late, grown, closed and voided."""

import datetime as dt
import itertools

import pytest
from django.db import transaction

from metering.catching_up import catch_up
from metering.usage_lock import take_usage_lock
from plans.models import Customer
from tests.cast import LATER, acme, at, close, report, send, settled, sittings_of, the_sitting
from tests.metering.waiting import change_stored

pytestmark = pytest.mark.django_db

MICROSECOND = dt.timedelta(microseconds=1)


def test_an_event_at_the_settling_instant_belongs_and_a_microsecond_later_opens_the_next() -> None:
    acme()
    send([report("e1", 0)])
    send([report("e2", 24)])
    send([report("e3", at(48) + MICROSECOND)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 2), (2, 1)]


def test_a_conversation_that_never_pauses_ends_at_the_maximum_age() -> None:
    acme()
    send([report(f"e{hour}", hour) for hour in range(0, 80, 8)])
    assert [(row.calls, row.settles_at) for row in sittings_of()] == [(10, at(72))]
    send([report("after", at(72) + MICROSECOND)])
    assert [row.calls for row in sittings_of()] == [10, 1]


def test_a_late_event_that_bridges_two_sittings_merges_them() -> None:
    acme()
    send([report("e1", 0)])
    send([report("e2", 40)])
    assert len(sittings_of()) == 2
    send([report("bridge", 20)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 3)]


def test_a_late_event_can_push_the_sittings_after_it_apart() -> None:
    """It opens earlier, so the maximum age comes earlier and cuts what was one sitting."""
    acme()
    send([report(f"e{hour}", hour) for hour in range(20, 90, 20)])
    assert [row.calls for row in sittings_of()] == [4]
    send([report("first", 0)])
    assert [row.calls for row in sittings_of()] == [4, 1]


def test_a_late_event_opens_a_settled_sitting_again_and_an_event_of_the_next_does_not() -> None:
    acme()
    send([report("e1", 0)])
    settled()
    send([report("next", 100)])
    assert [row.settled and row.settled.tier for row in sittings_of()] == ["simple", None]
    send([report("late", 1)])
    assert [row.settled for row in sittings_of()] == [None, None]


@pytest.mark.parametrize("order", list(itertools.permutations(["e1", "e2", "close"])))
def test_a_close_counts_whether_it_comes_before_or_after_the_events(order: tuple[str, ...]) -> None:
    acme()
    arrivals = {
        "e1": lambda: send([report("e1", 0)]),
        "e2": lambda: send([report("e2", 2)]),
        "close": lambda: close(1, outcome="resolved"),
    }
    for name in order:
        arrivals[name]()
    first, second = sittings_of()
    assert (first.calls, first.settles_at, first.closed_at, first.outcome) == (1, at(1), at(1), "resolved")
    assert (second.calls, second.settles_at, second.closed_at, second.outcome) == (1, at(26), None, None)


def test_a_call_at_the_instant_of_a_close_is_closed_by_it() -> None:
    acme()
    close(0)
    send([report("e1", 0)])
    assert the_sitting().settles_at == at(0)


def test_a_close_between_two_sittings_closes_nothing() -> None:
    acme()
    send([report("e1", 0), report("e2", 50)])
    close(30, outcome="lost")
    assert [(row.closed_at, row.outcome) for row in sittings_of()] == [(None, None)] * 2


def test_a_close_alone_makes_no_conversation() -> None:
    acme()
    close(0)
    assert sittings_of() == []


def correct(*event_ids: str, **changes: object) -> None:
    """Change stored events of Acme's the way a correction does, which folds at once."""
    owner = Customer.objects.get(key="acme")
    with transaction.atomic():
        take_usage_lock(owner.id)
        change_stored(owner, *event_ids, **changes)
        catch_up([owner.id], now=LATER)


def void(*event_ids: str) -> None:
    correct(*event_ids, voided=True)


def test_a_voided_event_vanishes_from_its_conversation() -> None:
    acme()
    send([report("e1", 0), report("e2", 1, outcome="resolved")])
    void("e2")
    assert (the_sitting().calls, the_sitting().last_event_at, the_sitting().outcome) == (1, at(0), None)


def test_voiding_a_bridge_parts_the_sittings_and_voiding_all_leaves_none() -> None:
    acme()
    send([report("e1", 0), report("bridge", 20), report("e2", 40)])
    void("bridge")
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 1), (2, 1)]
    void("e1", "e2")
    assert sittings_of() == []
    send([report("e3", 60)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 1)]


def test_a_voided_event_takes_no_more_reports() -> None:
    acme()
    send([report("e1", tokens=(1, 0, 0, 1, 0)), report("e2")])
    void("e1")
    assert send([report("e1", tokens=(1, 0, 0, 2, 0))]) == ["duplicate"]
    assert the_sitting().calls == 1


def test_an_amended_event_moves_to_the_conversation_and_time_it_is_given() -> None:
    acme()
    send([report("e1", 0), report("e2", 20), report("e3", 40)])
    correct("e2", conversation="mail", occurred_at=at(30))
    assert [row.calls for row in sittings_of()] == [1, 1]
    assert (the_sitting(conversation="mail").opened_at, the_sitting(conversation="mail").calls) == (at(30), 1)
