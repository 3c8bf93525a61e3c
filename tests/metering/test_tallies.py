"""A tally is right or not there: counts with tallies are counts without, whatever happens and whoever is beside it."""

import datetime as dt
import random
from collections import Counter

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.books.checking import check
from metering.catching_up import fold_waiting
from metering.ingest import ingest
from metering.models import SettledConversation, Tally, WatchedUsage
from metering.reading import count_settled
from metering.reports import Report
from metering.settling import settle_customers
from metering.usage_lock import share_usage_lock
from metering.watching import forget, missing_hours, tally
from plans.meters import EVERYTHING, Meters, PeakWindow, meter_of
from plans.models import Customer
from tests.cast import LATER, a_plan, a_scheme, acme, at, report, send, settled, subscribed
from tests.metering.conftest import Sessions
from tests.metering.histories import HOURS, histories, in_batches, instants, random_histories
from tests.metering.test_concurrency import wait_until_blocked
from tests.metering.test_folding import void
from tests.metering.test_service_ends import ends

pytestmark = pytest.mark.django_db

WINDOWS = (PeakWindow(tuple(range(7)), 9 * 60, 12 * 60 + 3),)
"""They end within the hour in which most of these histories settle, in some zones."""
all_ways = st.builds(
    Meters,
    billable_outcomes=st.sampled_from([None, ("resolved",), ("resolved", "escalated"), ()]),
    peak_hours=st.sampled_from([None, WINDOWS]),
    peak_tiers=st.sampled_from([frozenset(), frozenset({"simple"}), frozenset({"simple", "large"})]),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]),
)


def watched(customer: Customer) -> Customer:
    """The customer is watched from now on."""
    WatchedUsage.objects.create(
        customer=customer,
        asked_at=LATER,
        since=at(-1000),
        until=LATER,
        meters="{}",
        going_on={},
        taken_at=LATER,
    )
    return customer


@pytest.fixture
def customer() -> Customer:
    """Acme, watched; one conversation settled at 24 and one at 25.5, a day is tallied."""
    customer = watched(acme())
    send([report("e1", 0), report("e2", 1.5, conversation="other")])
    settled(30)
    assert tally(customer.id, since=at(10), now=at(30.7)) == 20
    return customer


def counted_one_by_one(customer: Customer, start: dt.datetime, end: dt.datetime, meters: Meters) -> Counter[str | None]:
    rows = SettledConversation.objects.filter(customer=customer, settled_at__gte=start, settled_at__lt=end)
    return Counter(meter_of(meters, *row) for row in rows.values_list("tier", "outcome", "settled_at"))


def tallied(customer: Customer) -> int:
    return Tally.objects.filter(customer=customer).count()


def test_a_count_adds_up_tallies(customer: Customer) -> None:
    Tally.objects.filter(start=at(24)).update(tiers=["simple", "made up"], outcomes=[None, "x"], counts=[5, 7])
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 6, "made up": 7}
    assert count_settled(customer.id, at(24.001), at(100)) == {"simple": 1}
    assert count_settled(customer.id, at(24), at(25)) == {"simple": 5, "made up": 7}
    assert count_settled(customer.id, at(24), at(24.999)) == {"simple": 1}


def test_a_tally_of_an_hour_that_peak_hours_cut_is_not_used(customer: Customer) -> None:
    send([report("e3", 0.1, conversation="third")])
    settled(30)
    tally(customer.id, since=at(10), now=at(30))
    meters = Meters(peak_hours=WINDOWS, peak_tiers=frozenset({"simple"}))
    assert count_settled(customer.id, at(0), at(100), meters=meters) == {"simple@peak": 1, "simple": 2}


def test_a_day_is_tallied_from_its_hours_and_saves_them_to_a_count(customer: Customer) -> None:
    day = at(12)
    tally(customer.id, since=day, now=at(40))
    assert Tally.objects.filter(hours=24).values_list("start", "counts").get() == (day, [2])
    Tally.objects.filter(hours=24).update(counts=[100])
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 100}
    assert count_settled(customer.id, at(12.001), at(100)) == {"simple": 2}
    send([report("late", 2)])
    assert not Tally.objects.filter(hours=24).exists()


def test_hours_that_have_not_ended_are_not_tallied(customer: Customer) -> None:
    assert missing_hours(customer.id, at(10), at(31)) == [at(30)]
    assert missing_hours(customer.id, at(10.5), at(30.99)) == []
    assert missing_hours(customer.id, at(9.5), at(30)) == []
    assert missing_hours(customer.id, at(9), at(30)) == [at(9)]


def test_a_change_forgets_the_hours_it_touches_and_no_others(customer: Customer) -> None:
    send([report("late", 2)])  # from 24 to 26
    assert missing_hours(customer.id, at(10), at(30)) == [at(24), at(26)]
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 1}
    settled(30)
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 2}


def test_what_settles_later_than_it_was_due_forgets_its_hour(customer: Customer) -> None:
    send([report("e3", 3, conversation="third")])
    tally(customer.id, since=at(10), now=at(30))
    assert missing_hours(customer.id, at(10), at(30)) == []
    settle_customers([customer.id], as_of=at(30))
    assert missing_hours(customer.id, at(10), at(30)) == [at(27)]


def test_a_sweep_forgets_the_hours_of_what_it_settles(customer: Customer) -> None:
    send([report("e3", 3, conversation="third")])
    tally(customer.id, since=at(10), now=at(30))
    assert settled(30) == 1
    assert missing_hours(customer.id, at(10), at(30)) == [at(27)]


def test_whoever_is_not_watched_any_more_has_no_tallies(customer: Customer) -> None:
    forget(customer.id)
    assert (tallied(customer), WatchedUsage.objects.count()) == (0, 0)


@random_histories
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    change=st.one_of(st.none(), instants),
    meters=all_ways,
    bounds=st.tuples(instants, instants),
)
def test_counting_with_tallies_is_counting_one_by_one(
    history: list[Report],
    seed: int,
    change: dt.datetime | None,
    meters: Meters,
    bounds: tuple[dt.datetime, dt.datetime],
) -> None:
    chance, (start, end) = random.Random(seed), sorted(bounds)
    with transaction.atomic():
        customer = watched(acme())
        a_scheme(idle_hours=12, max_age_hours=30, tiers=[("small", 2, 900), ("large", None, None)])
        plan = a_plan(tier_scheme="support", rates={"small": "0.01", "large": "0.02"})
        acts = [lambda batch=batch: send(batch) for batch in in_batches(history, chance)]
        acts.insert(chance.randint(0, len(acts)), lambda: void("e0"))
        acts.insert(chance.randint(0, len(acts)), lambda: ends(subscribed(customer, plan, since=-50), change))
        for act in acts:
            act()
            if chance.random() < 0.5:
                settled(at(chance.choice(HOURS)))
            if chance.random() < 0.5:
                tally(customer.id, since=at(-60), now=at(chance.choice(HOURS)))
            for one in (meters, EVERYTHING):
                expected = counted_one_by_one(customer, start, end, one)
                del expected[None]  # what costs nothing
                assert count_settled(customer.id, start, end, meters=one) == expected
            assert check(LATER, only=["tally_is_what_settled_in_its_time"]) == []
        transaction.set_rollback(True)


# Beside others


def test_a_tally_waits_for_a_settling_that_has_begun_and_has_it(sessions: Sessions) -> None:
    customer = watched(acme())
    send([report("e1", 0)])
    with transaction.atomic():
        settle_customers([customer.id], as_of=at(30))
        tallying = sessions.start(lambda: tally(customer.id, since=at(20), now=at(30)))
        wait_until_blocked()
    assert tallying.result() == 10
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 1}
    assert check(LATER, only=["tally_is_what_settled_in_its_time"]) == []


def test_a_fold_that_waited_for_a_tally_forgets_it(sessions: Sessions) -> None:
    customer = watched(acme())
    send([report("e1", 0)])
    settled(30)
    ingest([report("late", 2)], now=LATER)
    with transaction.atomic():
        share_usage_lock([customer.id])
        tallying = sessions.start(lambda: tally(customer.id, since=at(20), now=at(30)))
        wait_until_blocked()
        folding = sessions.start(lambda: fold_waiting(now=LATER))  # what it sees is what is there now
        wait_until_blocked(2)
    tallying.result(), folding.result()
    settled(30)
    assert count_settled(customer.id, at(0), at(100)) == {"simple": 1}
    assert check(LATER, only=["tally_is_what_settled_in_its_time"]) == []


def test_clients_settlers_and_talliers_together_leave_no_wrong_tally(sessions: Sessions) -> None:
    customer = watched(acme())
    wrong: list[object] = []

    def client(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(15):
            send([report(f"{seed}-{number}", chance.randrange(0, 100), conversation=f"c{chance.randrange(5)}")])

    def look() -> None:
        for _ in range(20):
            tally(customer.id, since=at(0), now=at(150))
            wrong.extend(check(LATER, only=["tally_is_what_settled_in_its_time"]))

    settlers = [lambda: [settled(150) for _ in range(10)]] * 2
    sessions.all([look, *settlers, *[lambda n=n: client(n) for n in range(4)]])
    assert wrong == []
    settled(150)
    tally(customer.id, since=at(0), now=at(150))
    assert count_settled(customer.id, at(0), at(200)) == counted_one_by_one(customer, at(0), at(200), EVERYTHING)
