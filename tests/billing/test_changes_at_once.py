"""Many changes at once, each with bills that are due before it: all are made, and nobody waits for ever."""

import datetime as dt
import uuid
from functools import partial

from billing.changing import make_change
from billing.models import Invoice
from plans.changing import change_plan
from plans.models import PlanVersion
from tests.billing.books import DEC_2, GRACE, assert_books_balance
from tests.billing.test_at_once import together
from tests.cast import a_plan, acme, bolt, cleo, subscribed
from tests.metering.conftest import Sessions

LATER = DEC_2 + GRACE + dt.timedelta(days=3)


def moved(subscription_id: uuid.UUID, version: PlanVersion) -> int:
    def change(pk: uuid.UUID):
        return change_plan(pk, version, when="now", now=LATER)

    return make_change(subscription_id, change, now=LATER, preview=False, show=lambda _, invoices: len(invoices))


def test_changes_of_several_customers_with_bills_due_before_them_do_not_deadlock(sessions: Sessions) -> None:
    growth, scale = a_plan("growth"), a_plan("scale", base_fee="199.00").versions.get()
    subscriptions = [subscribed(customer, growth) for customer in (acme(), bolt(), cleo())]
    made = together(sessions, *[partial(moved, subscription.pk, scale) for subscription in subscriptions])
    assert made == [3, 3, 3]
    assert Invoice.objects.count() == 9
    assert_books_balance()
