"""Whoever has very much usage, and reads it, is counted ahead; everybody else is told how it is this very moment."""

import datetime as dt

import pytest

from metering import watching
from metering.models import Tally, WatchedUsage
from metering.watching import GoingOn, Running, count_watched_ahead, going_on, watch_if_many
from plans.meters import EVERYTHING, Meters, PeakWindow
from plans.models import Customer
from tests.cast import acme, at, close, report, send, settled, the_settled

pytestmark = pytest.mark.django_db
MINUTE = dt.timedelta(minutes=1)
NOW = at(10)


@pytest.fixture
def customer(monkeypatch: pytest.MonkeyPatch) -> Customer:
    """Acme, for whom two open conversations are few, and three many."""
    monkeypatch.setattr(watching, "MANY_OPEN", 2)
    return acme()


def asked(customer: Customer, meters: Meters = EVERYTHING) -> Running:
    return Running(customer.id, at(0), at(100), meters)


def begin(*names: str, hours: float = 0) -> None:
    send([report(name, hours, conversation=name) for name in names])


def test_few_are_counted_at_the_moment_of_the_question(customer: Customer) -> None:
    begin("a", "b")
    assert going_on(asked(customer), now=NOW) == GoingOn({"simple": 2}, NOW, live=True, watched=False)
    assert not WatchedUsage.objects.exists()


def test_many_are_counted_once_in_a_while(customer: Customer) -> None:
    begin("a", "b", "c")
    assert going_on(asked(customer), now=NOW) == GoingOn({"simple": 3}, NOW, live=False, watched=True)
    begin("d")
    assert going_on(asked(customer), now=NOW + 3 * MINUTE) == GoingOn({"simple": 3}, NOW, live=False, watched=True)
    later = NOW + 4 * MINUTE
    assert going_on(asked(customer), now=later) == GoingOn({"simple": 4}, later, live=False, watched=True)


def test_another_question_gets_its_own_answer_at_once(customer: Customer) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW)
    window = PeakWindow(tuple(range(7)), 0, 24 * 60)
    at_peak = Meters(peak_hours=(window,), peak_tiers=frozenset({"simple", "large"}))
    assert going_on(asked(customer, at_peak), now=NOW).counts == {"simple@peak": 3}
    begin("d")
    assert going_on(asked(customer, at_peak), now=NOW + MINUTE).counts == {"simple@peak": 3}


def test_of_an_answer_from_the_future_nothing_is_kept(customer: Customer) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW + MINUTE)
    begin("d")
    assert going_on(asked(customer), now=NOW).counts == {"simple": 4}


def test_what_is_due_is_settled_before_the_rest_is_kept(customer: Customer) -> None:
    begin("a", "b", "c")
    begin("over", hours=-20)
    assert going_on(asked(customer), now=NOW).counts == {"simple": 3}
    assert the_settled(conversation="over").tier == "simple"


def test_when_they_have_become_few_each_question_is_answered_anew(customer: Customer) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW)
    close(1, conversation="a")
    count_watched_ahead(now=NOW + 2 * MINUTE)
    assert going_on(asked(customer), now=NOW + 2 * MINUTE) == GoingOn(
        {"simple": 2}, NOW + 2 * MINUTE, live=True, watched=True
    )


def test_the_sweep_counts_anew_what_is_a_minute_old(customer: Customer) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW)
    begin("d")
    count_watched_ahead(now=NOW + MINUTE)
    assert WatchedUsage.objects.get().going_on == {"simple": 3}
    count_watched_ahead(now=NOW + 2 * MINUTE)
    assert WatchedUsage.objects.get().going_on == {"simple": 4}


def test_whose_settled_conversations_are_many_is_watched_and_tallied(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MANY_SETTLED", 1)
    begin("a", "b")
    settled(30)
    found = going_on(asked(customer), now=at(30))
    watch_if_many(asked(customer), found, 1, now=at(30))
    assert not WatchedUsage.objects.exists()
    watch_if_many(asked(customer), found, 2, now=at(30))
    assert count_watched_ahead(now=at(30)) == 1
    assert Tally.objects.filter(hours=1).count() == 30
    assert going_on(asked(customer), now=at(30)).watched


def test_whoever_asks_no_more_for_a_day_is_forgotten(customer: Customer) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW)
    going_on(asked(customer), now=NOW + 11 * MINUTE)
    count_watched_ahead(now=NOW + dt.timedelta(days=1, minutes=10))
    assert (WatchedUsage.objects.count(), Tally.objects.exists()) == (1, True)
    count_watched_ahead(now=NOW + dt.timedelta(days=1, minutes=12))
    assert (WatchedUsage.objects.count(), Tally.objects.exists()) == (0, False)


def test_one_that_cannot_be_counted_holds_nobody_up(customer: Customer, caplog: pytest.LogCaptureFixture) -> None:
    begin("a", "b", "c")
    going_on(asked(customer), now=NOW)
    WatchedUsage.objects.update(meters="{")
    assert count_watched_ahead(now=NOW + 2 * MINUTE) == 1
    assert "counting ahead" in caplog.text
