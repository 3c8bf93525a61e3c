"""On a plan, one at a time, until the period ends."""

import datetime as dt

import pytest
from django.db import IntegrityError, transaction

from plans.changing import AlreadyEnding
from plans.models import SchemeChange, Subscription
from plans.periods import LAST_INSTANT, agreement_at, period_of
from plans.publishing import draft_plan_version, publish_plan_version
from plans.schemes import scheme_spans
from plans.subscribing import SubscriptionOverlaps, SubscriptionRefused, live_subscription, subscribe
from tests.cast import NOON, a_plan, a_scheme, acme, at, bolt, canceled, raw_terms, subscribed

pytestmark = pytest.mark.django_db

NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DECEMBER = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
JANUARY = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def test_a_customer_comes_onto_the_newest_published_version() -> None:
    plan = a_plan(base_fee="10.00")
    publish_plan_version(draft_plan_version(plan, raw_terms=raw_terms(base_fee="20.00"), now=NOON), now=NOON)
    draft_plan_version(plan, raw_terms=raw_terms(base_fee="30.00"), now=NOON)
    agreed = agreement_at(subscribed(acme(), plan, since=NOVEMBER), NOVEMBER)
    assert (agreed.plan_version.version, str(agreed.terms.base_fee)) == (2, "20.00")
    assert (agreed.period.start, agreed.period.end) == (NOVEMBER, DECEMBER)


def test_an_older_published_version_can_be_sold_but_a_draft_cannot() -> None:
    plan = a_plan(base_fee="10.00")
    draft_plan_version(plan, raw_terms=raw_terms(), now=NOON)
    subscription = subscribe(acme(), plan, version=1, starts_at=NOVEMBER, now=NOON)
    assert agreement_at(subscription, NOVEMBER).plan_version.version == 1
    with pytest.raises(SubscriptionRefused) as refused:
        subscribe(bolt(), plan, version=2, starts_at=NOVEMBER, now=NOON)
    assert refused.value.errors[0][0] == "/version"


def test_a_private_plan_is_for_its_customer_alone() -> None:
    deal = a_plan("acme-deal", customer=acme())
    with pytest.raises(SubscriptionRefused, match="private"):
        subscribed(bolt(), deal)
    assert subscribed(acme(), deal)


def test_a_plan_in_another_currency_is_refused() -> None:
    with pytest.raises(SubscriptionRefused, match="EUR"):
        subscribed(acme(), a_plan(currency="EUR"))


def test_a_start_of_long_ago_is_refused() -> None:
    with pytest.raises(SubscriptionRefused) as refused:
        subscribed(acme(), a_plan(), since=at(-24 * 3661))
    assert refused.value.errors[0][0] == "/starts_at"


def test_a_customer_has_one_subscription_at_a_time() -> None:
    customer, plan = acme(), a_plan()
    first = subscribed(customer, plan, since=NOVEMBER)
    for start in (NOVEMBER - dt.timedelta(days=400), NOVEMBER, DECEMBER):
        with pytest.raises(SubscriptionOverlaps):
            subscribed(customer, plan, since=start)
    assert subscribed(bolt(), plan, since=NOVEMBER)
    canceled(first, now=NOON)
    assert subscribed(customer, plan, since=DECEMBER).starts_at == DECEMBER


def test_the_database_itself_refuses_a_second_subscription() -> None:
    subscribed(acme(), a_plan(), since=NOVEMBER)
    with pytest.raises(IntegrityError, match="one_subscription_a_customer_at_a_time"), transaction.atomic():
        Subscription.objects.create(customer=acme(), starts_at=DECEMBER, timezone="UTC", created_at=NOON)


def test_a_cancelled_subscription_runs_to_the_end_of_its_period() -> None:
    subscription = subscribed(acme(), a_plan(), since=NOVEMBER)
    ended = canceled(subscription, now=NOON)
    assert (ended.ends_at, ended.canceled_at, ended.phases.get().ends_at) == (DECEMBER, NOON, DECEMBER)
    with pytest.raises(AlreadyEnding):
        canceled(subscription, now=NOON)
    assert live_subscription(acme(), at=DECEMBER - dt.timedelta(microseconds=1)) == subscription
    assert live_subscription(acme(), at=DECEMBER) is None


def test_cancelling_at_a_boundary_belongs_to_the_period_that_begins() -> None:
    subscription = subscribed(acme(), a_plan(), since=NOVEMBER)
    assert canceled(subscription, now=DECEMBER).ends_at == JANUARY


def test_cancelling_before_the_start_lets_the_first_period_run() -> None:
    subscription = subscribed(acme(), a_plan(), since=DECEMBER)
    assert canceled(subscription, now=NOON).ends_at == JANUARY


def test_periods_are_kept_in_the_customers_zone() -> None:
    customer = acme(timezone="Europe/Berlin")
    midnight = dt.datetime(2026, 10, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    subscription = subscribed(customer, a_plan(), since=midnight)
    october = agreement_at(subscription, midnight).period
    assert october.end == dt.datetime(2026, 11, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    customer.timezone = "Asia/Tokyo"
    customer.save()
    subscription.refresh_from_db()
    assert period_of(subscription, 0) == october


def test_a_subscription_says_from_when_on_its_scheme_rules() -> None:
    a_scheme("support")
    subscription = subscribed(acme(), a_plan(tier_scheme="support"), since=NOVEMBER)
    ended = canceled(subscription, now=NOON)
    (own,) = [span for span in scheme_spans([acme().id, bolt().id]) if span.customer_id]
    assert (own.customer_id, own.starts_at, own.ends_at) == (acme().id, NOVEMBER, ended.ends_at)
    assert sorted(SchemeChange.objects.values_list("since", flat=True)) == [NOVEMBER, DECEMBER - LAST_INSTANT]
