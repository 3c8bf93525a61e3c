"""Whoever leaves is billed for the conversations that are going on: they end with the subscription."""

import datetime as dt

import pytest
from django.db import transaction

from metering.models import MeterReading
from metering.reading import count_settled, take_reading
from metering.recutting import recut_changed_schemes, recut_customer
from plans.changing import cancel, uncancel
from plans.models import Customer, SchemeChange, Subscription
from plans.schemes import scheme_spans
from tests.cast import LATER, a_plan, a_scheme, acme, at, bolt, close, report, send, settled, sittings_of, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked
from tests.metering.test_late_changes import day, noted

pytestmark = pytest.mark.django_db

MICROSECOND = dt.timedelta(microseconds=1)


def ends(subscription: Subscription, hours: float | dt.datetime | None) -> None:
    """Set, move or undo (None) the end of a subscription, whatever the clock says."""
    subscription.refresh_from_db()
    before, ends_at = subscription.ends_at, None if hours is None else at(hours)
    if before is not None and (ends_at is None or ends_at > before):
        uncancel(subscription.pk, now=subscription.starts_at)
    if ends_at is not None and ends_at != before:
        cancel(subscription.pk, when="now", now=ends_at)
    subscription.refresh_from_db()


@pytest.fixture
def subscription() -> Subscription:
    """Acme's, from hour -1 on."""
    return subscribed(acme(), a_plan(), since=-1)


def last_moments() -> list[tuple[int, dt.datetime]]:
    return [(row.calls, row.settles_at) for row in sittings_of()]


def test_an_open_conversation_ends_with_the_subscription(subscription: Subscription) -> None:
    ends(subscription, 10)
    send([report("e1", 9)])
    assert last_moments() == [(1, at(10) - MICROSECOND)]
    send([report("e2", at(10) - MICROSECOND)])
    send([report("e3", 10)])
    assert last_moments() == [(2, at(10) - MICROSECOND), (1, at(34))]


def test_ends_set_moved_and_undone_cut_what_is_stored_anew(subscription: Subscription) -> None:
    send([report("e1", 0), report("e2", 8), report("e3", 12)])
    for hours, expected in (
        (10, [(2, at(10) - MICROSECOND), (1, at(36))]),
        (12, [(2, at(12) - MICROSECOND), (1, at(36))]),
        (5, [(1, at(5) - MICROSECOND), (2, at(36))]),
        (None, [(3, at(36))]),
    ):
        ends(subscription, hours)
        recut_changed_schemes(now=LATER)
        assert last_moments() == expected
    assert not SchemeChange.objects.exists()


def test_what_was_over_before_the_end_stays_settled(subscription: Subscription) -> None:
    send([report("e1", 0), report("e2", 50)])
    settled()
    ends(subscription, 60)
    recut_changed_schemes(now=LATER)
    assert [(row.settled and row.settled.tier, row.revision) for row in sittings_of()] == [("simple", 1), (None, 2)]


def test_an_event_between_the_end_and_the_recut_is_folded_as_agreed_by_then(subscription: Subscription) -> None:
    send([report("e1", 0)])
    ends(subscription, 10)
    send([report("e2", 11)])
    assert last_moments() == [(1, at(10) - MICROSECOND), (1, at(35))]


def test_a_late_event_does_not_open_the_next_subscriptions_conversation_earlier(subscription: Subscription) -> None:
    ends(subscription, 10)
    subscribed(subscription.customer, a_plan("next"), since=10)
    send([report("e2", 11)])
    send([report("e1", 9)])
    assert last_moments() == [(1, at(10) - MICROSECOND), (1, at(35))]
    close(9.5)
    assert last_moments() == [(1, at(9.5)), (1, at(35))]


def test_the_tier_is_that_of_the_subscription_that_ends() -> None:
    a_scheme(tiers=[("all", None, None)])
    ends(subscribed(acme(), a_plan(tier_scheme="support", rates={"all": "1"}), since=-1), 10)
    send([report("e1", 9), report("e2", 10)])
    settled()
    assert [row.settled.tier for row in sittings_of()] == ["all", "simple"]


def test_the_end_of_a_phase_is_not_the_end_of_the_service(subscription: Subscription) -> None:
    first = subscription.phases.get()
    subscription.phases.update(ends_at=at(10))
    first.pk, first.starts_at, first.ends_at = None, at(10), None
    first.save(force_insert=True)
    send([report("e1", 9), report("e2", 11)])
    assert last_moments() == [(2, at(35))]


def test_a_phase_that_was_replaced_before_it_began_rules_nothing(subscription: Subscription) -> None:
    replaced = subscription.phases.get()
    replaced.pk, replaced.ends_at = None, replaced.starts_at
    replaced.save(force_insert=True)
    own = [span for span in scheme_spans([subscription.customer_id]) if span.customer_id]
    assert [(span.starts_at, span.ends_at) for span in own] == [(at(-1), None)]


def test_whoever_cancels_at_once_counts_the_conversations_that_were_going_on(subscription: Subscription) -> None:
    customer = subscription.customer
    send([report("e1", 0), report("e2", 1, conversation="other")])
    with transaction.atomic():
        ends(subscription, 2)
        assert recut_customer(customer.id, now=at(2)) == 2
        take_reading(customer.id, up_to=at(2), now=LATER)
    assert count_settled(customer.id, at(-1), at(2)) == {"simple": 2}
    assert not SchemeChange.objects.exists()


def test_a_recut_of_one_customer_leaves_the_work_on_others(subscription: Subscription) -> None:
    ends(subscribed(bolt(), a_plan("other")), 5)
    ends(subscription, 5)
    assert recut_customer(subscription.customer_id, now=LATER) == 0
    assert list(SchemeChange.objects.values_list("customer__key", flat=True)) == ["bolt"]


def test_an_end_in_what_was_counted_is_late(subscription: Subscription) -> None:
    send([report("e1", 20)])
    settled()
    MeterReading.objects.create(customer=subscription.customer, read_to=at(200))
    ends(subscription, 30)
    settled()
    assert noted(subscription.customer) == [day(30), day(44)]


# At the same time


def ended_at_once(subscription: Subscription) -> None:
    with transaction.atomic():
        ends(subscription, 10)
        recut_customer(subscription.customer_id, now=LATER)


def subscribed_for_good() -> Subscription:
    return subscribed(acme(), a_plan(), since=-1)


def test_an_end_waits_for_an_ingest_that_does_not_know_of_it(sessions: Sessions) -> None:
    subscription = subscribed_for_good()
    with transaction.atomic():
        send([report("e1", 0), report("e2", 12)])
        ending = sessions.start(lambda: ended_at_once(subscription))
        wait_until_blocked()
    ending.result()
    assert last_moments() == [(1, at(10) - MICROSECOND), (1, at(36))]


def test_an_ingest_that_waited_for_an_end_knows_of_it(sessions: Sessions) -> None:
    subscription = subscribed_for_good()
    with transaction.atomic():
        ended_at_once(subscription)
        sending = sessions.start(lambda: send([report("e1", 0), report("e2", 12)]))
        wait_until_blocked()
    sending.result()
    assert last_moments() == [(1, at(10) - MICROSECOND), (1, at(36))]


def test_the_sweep_beside_an_end_finds_its_work_done(sessions: Sessions) -> None:
    subscription = subscribed_for_good()
    send([report("e1", 0)])
    ends(subscription, 20)
    with transaction.atomic():
        ended_at_once(subscription)
        sweeping = sessions.start(lambda: recut_changed_schemes(now=LATER))
        wait_until_blocked()
    assert sweeping.result() == 0
    assert last_moments() == [(1, at(10) - MICROSECOND)]
    assert Customer.objects.exists() and not SchemeChange.objects.exists()
