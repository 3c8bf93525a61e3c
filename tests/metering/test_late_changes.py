"""Whatever changes usage that somebody has counted notes its day, and nothing else does."""

import datetime as dt

import pytest

from metering.late_changes import take_late_days
from metering.models import GoneConversation, LateChange, MeterReading
from metering.reading import changed_since, count_settled, take_reading
from plans.meters import Meters
from plans.models import Customer
from tests.cast import LATER, a_plan, a_scheme, acme, at, bolt, close, report, send, settled, subscribed
from tests.metering.test_folding import void

pytestmark = pytest.mark.django_db


def day(hours: float) -> dt.date:
    return at(hours).date()


def noted(customer: Customer) -> list[dt.date]:
    return sorted(LateChange.objects.filter(customer=customer).values_list("day", flat=True))


@pytest.fixture
def customer() -> Customer:
    """Acme, with a conversation from 0 to 1 that settled at 25 and was counted; the reading goes to 200."""
    customer = acme()
    send([report("e1", 0), report("e2", 1)])
    settled()
    MeterReading.objects.create(customer=customer, read_to=at(200))
    return customer


def test_before_anybody_counted_nothing_is_late() -> None:
    acme(), send([report("e1", 0)]), send([report("e1", -30)])
    assert not LateChange.objects.exists()


def test_a_late_event_notes_the_day_it_leaves_and_the_day_it_makes(customer: Customer) -> None:
    send([report("late", 24.5)])
    assert noted(customer) == [day(25), day(48.5)]


def test_a_new_conversation_of_the_past_is_late(customer: Customer) -> None:
    send([report("x", 100, conversation="forgotten")])
    assert noted(customer) == [day(124)]


def test_growth_a_void_and_a_close_of_counted_usage_are_late(customer: Customer) -> None:
    send([report("e2", 1, tokens=(900, 0, 0, 200, 0))])
    assert noted(customer) == [day(25)]
    LateChange.objects.all().delete()
    close(3)
    assert noted(customer) == [day(3), day(25)]
    LateChange.objects.all().delete()
    void("e1")
    assert noted(customer) == [day(3)]


def test_voiding_all_of_a_conversation_is_late(customer: Customer) -> None:
    void("e1", "e2")
    assert noted(customer) == [day(25)]


def test_a_scheme_that_rules_the_past_is_late(customer: Customer) -> None:
    a_scheme(idle_hours=2, tiers=[("all", None, None)])
    subscribed(customer, a_plan(tier_scheme="support", rates={"all": "1"}), since=0)
    settled()
    assert noted(customer) == [day(3), day(25)]


def test_a_scheme_that_puts_into_another_tier_what_it_does_not_cut_is_late(customer: Customer) -> None:
    a_scheme(tiers=[("all", None, None)])
    subscribed(customer, a_plan(tier_scheme="support", rates={"all": "1"}), since=10)
    settled()
    assert noted(customer) == [day(25)]


def test_what_settles_at_the_reading_or_later_is_not_late(customer: Customer) -> None:
    send([report("x", 176, conversation="next"), report("y", 300, conversation="later")])
    assert noted(customer) == []


def test_the_next_sitting_of_a_counted_conversation_is_not_late(customer: Customer) -> None:
    send([report("next", 190)])
    assert noted(customer) == []


def test_an_outcome_that_is_learnt_late_is_late_usage_and_names_its_conversation(customer: Customer) -> None:
    meters, start, end = Meters(billable_outcomes=("resolved",)), at(0), at(100)
    counts = []
    for now, learnt in ((at(300), {"outcome": "lost"}), (at(301), {"outcome": "resolved"}), (at(302), {})):
        LateChange.objects.all().delete()
        send([report("e2", 1, **learnt)], now=now)
        settled()
        late = day(25) in noted(customer), changed_since(customer.id, start, end, now - dt.timedelta(minutes=1))
        counts.append((*late, count_settled(customer.id, start, end, meters=meters)))
    assert counts == [(True, ["chat"], {}), (True, ["chat"], {"simple": 1}), (False, [], {"simple": 1})]


def test_a_late_close_makes_billable_what_was_not(customer: Customer) -> None:
    close(25, outcome="resolved")
    settled()
    assert noted(customer) == [day(25)]
    meters = Meters(billable_outcomes=("resolved",))
    assert count_settled(customer.id, at(0), at(100), meters=meters) == {"simple": 1}


def test_duplicates_conflicts_labels_and_settling_are_not_late(customer: Customer) -> None:
    send([report("e1", 0), report("e1", 0, model="gpt-5"), report("e1", 0, feature="support")])
    settled()
    assert noted(customer) == []


def test_anothers_usage_is_not_acmes(customer: Customer) -> None:
    bolt()
    send([report("e1", 0, customer="bolt")])
    assert noted(customer) == []


def test_a_close_that_closes_nothing_is_not_late(customer: Customer) -> None:
    close(100)
    assert noted(customer) == []


def named(customer: Customer, start: float, end: float) -> list[str]:
    """Whom a correction of the count of these hours names, if it was counted at hour 200."""
    return changed_since(customer.id, at(start), at(end), at(200))


def test_a_conversation_that_is_gone_from_what_was_counted_is_named(customer: Customer) -> None:
    send([report("e3", 50, conversation="moved"), report("e4", 50, conversation="same")], now=at(200))
    send([report("late", 60, conversation="moved")])
    void("e1", "e2")
    settled()
    assert named(customer, 20, 30) == ["chat"]
    assert named(customer, 70, 80) == ["moved"]
    assert named(customer, 80, 90) == ["moved"]
    assert named(customer, 0, 20) == []


def test_a_conversation_that_only_grew_is_not_gone(customer: Customer) -> None:
    send([report("e2", 1, tokens=(900, 0, 0, 200, 0))])
    assert not GoneConversation.objects.exists()


def test_what_nobody_has_counted_is_not_kept_when_it_goes(customer: Customer) -> None:
    send([report("a", 190, conversation="open"), report("b", 0, customer=bolt().key)])
    send([report("c", 195, conversation="open"), report("d", 5, customer="bolt")])
    assert not GoneConversation.objects.exists()


def test_what_goes_twice_is_named_again(customer: Customer) -> None:
    for now in (at(201), at(202)):
        send([report(f"x{now}", 2)], now=now)
        assert GoneConversation.objects.get(settled_at=at(25)).noted_at == now
        void(f"x{now}")


def test_late_days_are_taken_once(customer: Customer) -> None:
    send([report("late", 24.5)])
    assert sorted(take_late_days(customer.id)) == [day(25), day(48.5)]
    assert take_late_days(customer.id) == []


def test_a_reading_below_an_earlier_one_counts_whatever_the_days_it_takes_hold(customer: Customer) -> None:
    send([report("late", 101, conversation="other")])  # settles at 125 h, and 200 h has been read
    assert take_reading(customer.id, up_to=at(60), now=LATER) == [day(125)]
    assert count_settled(customer.id, at(100), at(200)) == {"simple": 1}
