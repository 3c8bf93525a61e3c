"""A subscription's page tells what is agreed, one thing after the other, and what is to come."""

import datetime as dt

import pytest

from console.links import rows_url
from console.phased import phase_states, state_of_phase
from console.subscribed import changes, subscription_states
from plans.changing import cancel, change_plan, pause, resume, unschedule_change
from plans.models import Plan, Subscription, SubscriptionPhase
from plans.views.subscriptions import subscription_out
from tests.billing.discounts import a_coupon, redeemed
from tests.cast import NOON, a_plan, acme, bolt, cleo, subscribed
from tests.console.test_access import row_url
from tests.console.test_following import read
from tests.console.test_money_pages import text

pytestmark = pytest.mark.django_db
DAYS = [NOON + dt.timedelta(days=days) for days in range(90)]


def newest(plan: Plan):
    return plan.versions.latest("version")


def story_of(subscription: Subscription) -> list[Subscription]:
    """Acme changes its plan, pauses, and plans a change; Bolt leaves; Cleo tries it out, then ends."""
    other = newest(a_plan("other", base_fee="10.00"))
    change_plan(subscription.pk, other, when=DAYS[10], now=DAYS[5])
    unschedule_change(subscription.pk, now=DAYS[6])
    pause(subscription.pk, now=DAYS[20])
    resume(subscription.pk, now=DAYS[25])
    change_plan(subscription.pk, other, when=DAYS[60], now=DAYS[30])
    withdrawn = subscribed(bolt(), Plan.objects.get(code="growth"), since=DAYS[40])
    cancel(withdrawn.pk, when="now", now=DAYS[35])
    trial = subscribed(cleo(), a_plan("trial", trial_days=14))
    cancel(trial.pk, when="period_end", now=DAYS[20])
    return [subscription, withdrawn, trial]


@pytest.fixture
def subscription() -> Subscription:
    return subscribed(acme(), a_plan())


def test_pauses_replaced_and_scheduled_changes_are_phases_on_the_page(desk, now):
    subscription = subscribed(acme(), a_plan(), since=now - dt.timedelta(days=20))
    other = newest(a_plan("other", base_fee="10.00"))
    change_plan(subscription.pk, other, when=now + dt.timedelta(days=9), now=now - dt.timedelta(days=15))
    change_plan(subscription.pk, other, when=now + dt.timedelta(days=5), now=now - dt.timedelta(days=12))
    pause(subscription.pk, now=now - dt.timedelta(days=2))
    shown = text(read(desk, row_url(subscription)))
    assert "Status: paused Plan: growth v1" in shown
    assert f"other v1 at {now + dt.timedelta(days=5):%Y-%m-%d}" in shown
    assert shown.count("growth v1 over") == shown.count("growth v1 in force") == 1
    assert "none: paused" in shown and "replaced before it began" in shown and "other v1 to come" in shown


def test_a_trial_says_until_when_no_fee_is_due(desk, now):
    begun = now - dt.timedelta(days=3)
    subscription = subscribed(acme(), a_plan(trial_days=10), since=begun)
    shown = text(read(desk, row_url(subscription)))
    assert "Status: trialing" in shown
    assert f"none until {begun + dt.timedelta(days=10):%Y-%m-%d %H:%M} UTC: trial" in shown


def test_the_page_leads_to_discounts_invoices_and_billing(desk, subscription):
    redemption = redeemed(a_coupon("LAUNCH", percent="25", applies_to="usage", duration="forever"), subscription)
    body = read(desk, row_url(subscription))
    assert "LAUNCH 25 % of usage 0 and all that follow nothing yet" in text(body)
    assert row_url(redemption) in body and "invoices of this subscription" in body


def test_a_subscription_withdrawn_before_it_began_has_no_period(desk, subscription):
    cancel(subscription.pk, when="now", now=NOON - dt.timedelta(days=1))
    assert "Period: none" in text(read(desk, row_url(subscription)))


def test_every_status_filters_the_subscriptions_that_are_said_to_have_it(subscription):
    story_of(subscription)
    for now in (NOON - dt.timedelta(days=1), *DAYS):
        said = {one.pk: subscription_out(one, now=now) for one in Subscription.objects.select_related("customer")}
        for status, condition in subscription_states(now).items():
            found = set(Subscription.objects.filter(condition).values_list("pk", flat=True))
            assert found == {pk for pk, out in said.items() if out.status == status}, (now, status)
        coming = set(Subscription.objects.filter(changes(now)["scheduled"]).values_list("pk", flat=True))
        assert coming == {pk for pk, out in said.items() if out.scheduled_change}, now


def test_every_state_filters_the_phases_that_are_said_to_be_in_it(subscription):
    story_of(subscription)
    for now in (NOON - dt.timedelta(days=1), *DAYS):
        for state, condition in phase_states(now).items():
            found = set(SubscriptionPhase.objects.filter(condition))
            assert found == {one for one in SubscriptionPhase.objects.all() if state_of_phase(one, now) == state}


def test_the_list_is_filtered_by_status(desk, now):
    plan = a_plan()
    subscribed(acme(), plan, since=now - dt.timedelta(days=5))
    cancel(subscribed(bolt(), plan, since=now + dt.timedelta(days=5)).pk, when="now", now=now)
    for status, customers in (("active", ["acme"]), ("ended", ["bolt"]), ("paused", []), ("odd", [])):
        listed = desk.get(rows_url(Subscription, status=status)).context["cl"].queryset
        assert [one.customer.key for one in listed] == customers, status
