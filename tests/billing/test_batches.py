"""A bill run works on many customers at once, in few statements; each gets what it would have got by itself."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.billing import SUBSCRIPTIONS_A_BATCH, Waiting, batches, bill, bill_batch, schedule_new_subscriptions
from billing.changing import make_change
from billing.finalizing import finalize_invoice
from billing.ledger import credit_balance
from billing.models import BillingSchedule, Invoice, InvoiceLine, Transfer
from metering.usage_lock import slot_of
from plans.changing import change_plan, pause
from plans.models import Customer, Subscription
from tests.billing.books import DEC_2, GRACE, JAN_2, assert_books_balance, bill_run, billed, conversation, happened
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.drafts import a_draft, vat
from tests.billing.purse import prepaid, present
from tests.billing.test_bill_run import rename_tier
from tests.cast import NOON, a_plan, acme, bolt, canceled, cleo, send, settled, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import end_the_blocked, wait_until_blocked
from tests.undoing import undone

DUE = DEC_2 + GRACE
TWO_DAYS = dt.timedelta(days=2)
MOST_STATEMENTS = 45
"""Of a run with one batch, whatever is in it that is not out of the ordinary."""


def crowd(size: int) -> list[Subscription]:
    """Customers on one plan, each with some conversations in November."""
    plan = a_plan("crowd")
    subscriptions = []
    for number in range(size):
        customer = _someone(number)
        subscriptions.append(subscribed(customer, plan, since=-number / 100))
        send([conversation(f"{number}-{n}", 100, customer=customer.key) for n in range(number % 4)], now=DUE)
    return subscriptions


def _someone(number: int) -> Customer:
    return Customer.objects.create(key=f"c{number}", currency="USD", created_at=NOON)


def all_sorts() -> None:
    """One customer of every kind that needs more than a plain bill, each with usage in November and December."""
    plan = a_plan("plain")
    sorts: dict[str, Callable[[Customer], object]] = {
        "plain": lambda who: subscribed(who, plan),
        "coupon": lambda who: redeemed(a_coupon(percent="10"), subscribed(who, plan)),
        "prepaid": lambda who: (subscribed(who, plan), prepaid(5_100, who)),
        "present": lambda who: (subscribed(who, plan), present(200, who)),
        "ended": lambda who: canceled(subscribed(who, plan), now=NOON),
        "paused": lambda who: pause(subscribed(who, plan).pk, now=NOON + TWO_DAYS),
        "moved": lambda who: change_plan(
            subscribed(who, plan).pk, a_plan("big", base_fee="99").versions.get(), when=NOON + TWO_DAYS, now=NOON
        ),
        "peaks": lambda who: subscribed(who, a_plan("peaks", **AT_PEAK)),
        "resolved": lambda who: subscribed(who, a_plan("resolved", billable_outcomes=["resolved"])),
        "rolling": lambda who: subscribed(who, a_plan("rolling", rollover={"periods": 2}, rates=INCLUDED)),
        "trial": lambda who: subscribed(who, a_plan("trial", trial_days=10)),
        "yen": lambda who: subscribed(who, a_plan("yen", currency="JPY", base_fee="5000")),
    }
    for name, agree in sorts.items():
        who = Customer.objects.create(key=name, currency="JPY" if name == "yen" else "USD", created_at=NOON)
        agree(who)
        for number, begun in enumerate((50, 51, 400, 900, 901)):
            send([conversation(f"{name}-{number}", begun, customer=name, outcome=OUTCOMES[number % 2])], now=JAN_2)


AT_PEAK: dict[str, Any] = {
    "peak_hours": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "14:00", "to": "16:00"}],
    "rates": {
        tier: {"included": 0, "price": {"model": "flat", "unit": "0.10"}}
        | ({"peak": {"included": 0, "price": {"model": "flat", "unit": "0.50"}}} if tier == "simple" else {})
        for tier in ("simple", "standard", "complex", "enterprise")
    },
}
INCLUDED = {
    tier: {"included": 4, "price": {"model": "flat", "unit": "1.00"}}
    for tier in ("simple", "standard", "complex", "enterprise")
}
OUTCOMES = ("resolved", "escalated")


def books() -> dict[str, tuple[list[Any], list[Any]]]:
    """What all bills say, by customer; but for ids and numbers, which depend on who comes first."""
    lines = InvoiceLine.objects.order_by("invoice__created_at", "invoice__kind", "invoice__period_index", "position")
    money = Transfer.objects.order_by("debit__kind", "credit__kind", "amount")
    return {
        who.key: (
            [
                (
                    line.invoice.kind,
                    line.invoice.total,
                    line.invoice.amount_due,
                    line.kind,
                    line.description,
                    line.amount,
                )
                for line in lines.filter(invoice__customer=who).select_related("invoice")
            ],
            list(money.filter(debit__customer=who).values_list("debit__kind", "credit__kind", "amount")),
        )
        for who in Customer.objects.all()
    }


def bill_one_by_one(as_of: dt.datetime) -> None:
    settled(as_of)
    schedule_new_subscriptions()
    for pk in list(BillingSchedule.objects.values_list("pk", flat=True)):
        bill_batch([pk], as_of=as_of, now=as_of)


@pytest.mark.django_db
@pytest.mark.parametrize("instants", [(DUE, JAN_2 + GRACE), (JAN_2 + GRACE,)], ids=["each month", "two months at once"])
def test_customers_of_all_sorts_get_the_same_bills_together_as_one_by_one(
    settings: Any, instants: tuple[dt.datetime, ...]
) -> None:
    settings.TAX = "fixed"
    vat("20")
    all_sorts()
    with undone():
        for instant in instants:
            bill_one_by_one(instant)
        expected = books()
    for instant in instants:
        assert not bill_run(instant).failed
    assert books() == expected
    assert len({who for who, (lines, _) in expected.items() if lines}) == 12


@pytest.mark.django_db
def test_more_customers_take_no_more_statements() -> None:
    few, many = crowd(3), 40
    bill_run(NOON + dt.timedelta(hours=1))
    with undone(), CaptureQueriesContext(connection) as asked_for_few:
        assert len(billed(DUE)) == len(few)
    for number in range(3, many):
        subscribed(_someone(number), few[0].phases.get().plan_version.plan)
    bill_run(NOON + dt.timedelta(hours=1))
    with CaptureQueriesContext(connection) as asked_for_many:
        assert len(billed(DUE)) == many
    assert len(asked_for_many) <= len(asked_for_few) <= MOST_STATEMENTS


@pytest.mark.django_db
def test_one_that_fails_in_a_batch_is_put_off_and_the_others_are_billed_with_numbers_in_a_row() -> None:
    subscriptions = crowd(9)
    broken = subscribed(acme(), a_plan("broken"))
    rename_tier(broken, "complex", "lost")
    send([conversation("complex", tier="complex")], now=DUE)
    run = bill_run(DUE)
    assert (run.failed, len(run.invoices)) == (1, 2 * len(subscriptions) + 1)
    assert list(BillingSchedule.objects.filter(attempts=1)) == [BillingSchedule.objects.get(subscription=broken)]
    assert_books_balance()


@pytest.mark.django_db
def test_a_batch_of_one_customers_subscriptions_is_billed_one_after_the_other() -> None:
    plan = a_plan()
    first = subscribed(acme(), plan)
    make_change(first.pk, lambda pk: canceled(first, now=NOON, when="now"), now=NOON, preview=False, show=len_of)
    subscribed(acme(), plan, since=24)
    happened(conversation("late", 30), now=DUE)
    assert [(each.kind, each.total) for each in billed(DUE + 2 * GRACE + TWO_DAYS)] == [
        ("start", 4900),
        ("cycle", 4902),
    ]


def len_of(subscription: Subscription, invoices: list[Invoice]) -> int:
    return len(invoices)


@given(st.lists(st.uuids(), unique=True, max_size=900), st.integers(1, 256))
def test_batches_hold_every_customer_once_and_neighbours_share_no_lock(ids: list[uuid.UUID], slots: int) -> None:
    customers = [uuid.UUID(int=pk.int // 256 * 256 + pk.int % slots) for pk in ids]
    made = list(batches(Waiting(uuid.UUID(int=number), who) for number, who in enumerate(customers)))
    firsts = [customers.index(who) for who in dict.fromkeys(customers)]
    assert sorted(schedule.int for batch in made for schedule in batch) == sorted(firsts)
    assert all(0 < len(batch) <= SUBSCRIPTIONS_A_BATCH for batch in made)
    locks = [{slot_of(customers[schedule.int]) for schedule in batch} for batch in made]
    if slots > 1 and len(customers) < SUBSCRIPTIONS_A_BATCH * slots:
        assert all(not (one & other) for one, other in zip(locks, locks[1:], strict=False) if len(one | other) > 1)


def test_a_run_whose_connection_dies_within_a_batch_bills_everybody_once(sessions: Sessions) -> None:
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
        happened(conversation("c", customer=customer.key), now=NOON)
    billed(NOON)
    with transaction.atomic():
        credit_balance(bolt(), "USD")
        run = sessions.start(lambda: bill(as_of=DUE, now=DUE))
        wait_until_blocked()
        end_the_blocked()
    assert (run.result(30).failed, len(run.result().invoices)) == (0, 3)
    assert_books_balance()


def test_a_preview_keeps_nobody_waiting_for_a_number(sessions: Sessions) -> None:
    subscription = subscribed(acme(), a_plan())
    draft = a_draft(500, customer=bolt())

    def meanwhile(_: Subscription, invoices: list[Invoice]) -> tuple[int, str]:
        other = sessions.start(lambda: finalize_invoice(draft.pk, now=NOON))
        return len(invoices), other.result(20).status

    shown = make_change(
        subscription.pk, lambda pk: canceled(subscription, now=NOON), now=DUE, preview=True, show=meanwhile
    )
    assert shown == (3, "finalized")
    assert_books_balance()
