"""A bill run: every due subscription once, one that fails is put off and stops nobody."""

import datetime as dt

import pytest
from django.db import connection

from billing.billing import LONGEST_RETRY, RETRY_AFTER, bill, bill_batch
from billing.models import BillingSchedule, Invoice
from plans.models import Subscription
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    assert_books_balance,
    bill_run,
    billed,
    conversation,
    conversations,
    happened,
)
from tests.cast import NOON, a_plan, acme, bolt, canceled, cleo, report, subscribed

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE


def rename_tier(subscription: Subscription, tier: str, name: str) -> None:
    """In the terms of its plan: what publishing would never allow, a tier that is used and has no price."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE plans_planversion DISABLE TRIGGER published_is_frozen")
        cursor.execute(
            """UPDATE plans_planversion SET terms = replace(terms, %s, %s) WHERE id =
            (SELECT plan_version_id FROM plans_subscriptionphase WHERE subscription_id = %s)""",
            [f'"{tier}"', f'"{name}"', subscription.pk],
        )
        cursor.execute("ALTER TABLE plans_planversion ENABLE TRIGGER published_is_frozen")


def acme_cannot_be_billed() -> Subscription:
    subscription = subscribed(acme(), a_plan("broken"))
    rename_tier(subscription, "complex", "lost")
    happened(*conversations(1, tier="complex"), now=NOON)
    return subscription


def test_a_run_says_what_it_settled_and_invoiced() -> None:
    subscribed(acme(), a_plan())
    happened(*conversations(3), now=NOON)
    seen: list[int] = []
    run = bill(as_of=DUE, now=DUE, progress=seen.append)
    assert (run.settled, run.failed, len(set(run.invoices)), sum(seen)) == (3, 0, 2, 2)


def test_how_often_a_run_is_made_does_not_matter() -> None:
    plan = a_plan()
    subscribed(acme(), plan)
    subscribed(bolt(), plan)
    for hours in range(0, 24 * 62, 24 * 9):
        bill_run(NOON + dt.timedelta(hours=hours))
    assert Invoice.objects.count() == 2 * 2
    bill_run(JAN_2 + GRACE)
    assert Invoice.objects.count() == 2 * 3
    assert_books_balance()


def test_a_subscription_that_cannot_be_billed_is_put_off_with_its_error_and_stops_nobody() -> None:
    broken = acme_cannot_be_billed()
    plan = a_plan()
    subscribed(bolt(), plan)
    subscribed(cleo(), plan)
    run = bill_run(DUE)
    assert (run.failed, len(run.invoices)) == (1, 5)
    schedule = BillingSchedule.objects.get(subscription=broken)
    assert (schedule.attempts, schedule.not_before) == (1, DUE + RETRY_AFTER)
    assert schedule.last_error == "UnpricedTier: the plan has no price for complex"
    assert_books_balance()


def test_what_was_put_off_is_billed_once_it_can_be() -> None:
    broken = acme_cannot_be_billed()
    bill_run(DUE)
    rename_tier(broken, "lost", "complex")
    assert bill_run(DUE + RETRY_AFTER / 2).invoices == []
    (cycle,) = billed(DUE + RETRY_AFTER)
    assert cycle.total == 4915
    schedule = BillingSchedule.objects.get(subscription=broken)
    assert (schedule.attempts, schedule.not_before, schedule.last_error) == (0, None, "")


def test_a_subscription_that_nobody_repairs_for_years_still_stops_nobody() -> None:
    broken = acme_cannot_be_billed()
    bill_run(DUE)
    subscribed(bolt(), a_plan())
    BillingSchedule.objects.filter(subscription=broken).update(attempts=1_000)
    run = bill_run(FEB_2)
    assert (run.failed, len(run.invoices)) == (1, 3)
    assert BillingSchedule.objects.get(subscription=broken).not_before == FEB_2 + LONGEST_RETRY


def test_a_failed_bill_keeps_the_notes_of_what_came_late() -> None:
    broken = subscribed(acme(), a_plan("broken"))
    billed(DUE)
    happened(conversation("late"), now=DUE)
    rename_tier(broken, "complex", "lost")
    happened(conversation("huge", DEC_2, tier="complex"), now=DEC_2 + GRACE)
    assert bill_run(JAN_2 + GRACE).failed == 1
    rename_tier(broken, "lost", "complex")
    (cycle,) = billed(JAN_2 + 2 * GRACE)
    assert [(line.kind, line.amount) for line in cycle.lines.all()][1:] == [("usage", 15), ("adjustment", 2)]


def test_a_subscription_that_begins_later_is_not_billed_before() -> None:
    subscribed(acme(), a_plan(), since=DEC_2)
    assert billed(DEC_2 - dt.timedelta(microseconds=1)) == []
    assert len(billed(DEC_2)) == 1


def test_a_step_that_is_not_due_does_nothing() -> None:
    subscription = subscribed(acme(), a_plan())
    billed(DUE)
    assert bill_batch([subscription.pk], as_of=JAN_2, now=JAN_2) == ([], 0)


def test_after_its_last_invoice_an_ended_subscription_is_never_due_again() -> None:
    subscription = subscribed(acme(), a_plan())
    canceled(subscription, now=NOON)
    assert len(billed(DUE)) == 2
    assert BillingSchedule.objects.get(subscription=subscription).due_at is None
    assert billed(FEB_2) == []


def test_a_run_ahead_of_the_clock_is_put_right_by_what_happens_then() -> None:
    subscribed(acme(), a_plan())
    happened(conversation("chat", 1), now=NOON)
    bill(as_of=DUE, now=NOON)
    happened(report("second", 2, conversation="chat", tokens=(5_000, 0, 0, 0, 0)), now=NOON)
    (cycle,) = billed(JAN_2 + GRACE)
    assert [(line.kind, line.amount) for line in cycle.lines.all()][1:] == [("adjustment", 3)]
