"""Many at once: whoever bills, reports, finalizes or voids at the same time, each thing is billed once."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from billing.billing import bill, bill_batch, schedule_new_subscriptions
from billing.finalizing import InvoiceAlreadyFinalized, InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.ledger import credit_balance
from billing.models import Invoice, InvoiceLine, InvoiceStatus
from metering.corrections import void_event
from metering.usage_lock import share_usage_lock
from plans.models import Customer
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    adjustments_of,
    all_billed,
    assert_books_balance,
    billed,
    conversation,
    conversations,
    happened,
    usage_billed_by_period,
)
from tests.cast import NOON, a_plan, acme, bolt, cleo, send, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked

DUE = DEC_2 + GRACE


def together(sessions: Sessions, *calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that start at the same moment; of one that failed, its exception's type."""
    start = threading.Barrier(len(calls))

    def guarded(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            start.wait()
            try:
                return call()
            except Exception as error:
                return type(error)

        return run

    return sessions.all([guarded(call) for call in calls])


def test_many_bill_runs_at_once_make_one_invoice_a_period(sessions: Sessions) -> None:
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
        happened(conversation("c", customer=customer.key), now=NOON)
    runs = together(sessions, *[lambda: bill(as_of=JAN_2 + GRACE, now=JAN_2 + GRACE)] * 6)
    assert [run.failed for run in runs] == [0] * 6
    made = Counter(pk for run in runs for pk in run.invoices)
    assert len(made) == 3 * 3
    assert set(made.values()) == {1}
    bill(as_of=JAN_2 + GRACE, now=JAN_2 + GRACE)
    assert [all_billed(customer) for customer in (acme(), bolt(), cleo())] == [3 * 4900 + 2] * 3
    assert_books_balance()


def test_a_subscription_that_somebody_is_billing_is_left_to_them(sessions: Sessions) -> None:
    subscription = subscribed(acme(), a_plan())
    schedule_new_subscriptions()
    with transaction.atomic():
        assert bill_batch([subscription.pk], as_of=NOON, now=NOON).invoices
        beside = sessions.start(lambda: bill_batch([subscription.pk], as_of=NOON, now=NOON))
        assert beside.result(10) == ([], 0)


def test_a_bill_waits_for_the_usage_that_is_coming_in_and_counts_it(sessions: Sessions) -> None:
    subscribed(acme(), a_plan())
    billed(NOON)
    with transaction.atomic():
        share_usage_lock([acme().id])
        run = sessions.start(lambda: bill(as_of=DUE, now=DUE))
        wait_until_blocked()
        send([conversation("in-flight")], now=DUE)
    (invoice,) = run.result(30).invoices
    assert Invoice.objects.get(pk=invoice).total == 4902
    assert adjustments_of(acme()) == []


def test_usage_that_comes_in_while_a_bill_is_made_waits_and_is_adjusted_next_time(sessions: Sessions) -> None:
    subscription = subscribed(acme(), a_plan())
    billed(NOON)
    with transaction.atomic():
        (november,) = bill_batch([subscription.pk], as_of=DUE, now=DUE).invoices
        reporting = sessions.start(lambda: send([conversation("in-flight")], now=DUE))
        wait_until_blocked()
    assert reporting.result(30) == ["accepted"]
    assert Invoice.objects.get(pk=november).total == 4900
    billed(JAN_2 + GRACE)
    assert [line.amount for line in adjustments_of(acme())] == [2]


def test_usage_reported_and_voided_while_periods_are_billed_is_neither_lost_nor_doubled(sessions: Sessions) -> None:
    subscribed(acme(), a_plan())
    billed(NOON)
    instants = (DUE, DUE + GRACE, JAN_2 + GRACE, JAN_2 + 2 * GRACE)

    def reporter(name: str) -> Callable[[], Any]:
        def run() -> None:
            for number in range(12):
                begun = NOON if number % 2 else DEC_2
                send([conversation(f"{name}-{number}", begun), conversation(f"both-{number}", begun)], now=DUE)
                if number % 4 == 0:
                    void_event(acme(), f"{name}-{number}-1", reason="test traffic", now=DUE)

        return run

    def biller() -> list[int]:
        return [bill(as_of=instant, now=instant).failed for instant in instants]

    results = together(sessions, reporter("a"), biller, reporter("b"), biller)
    assert results == [None, [0] * 4, None, [0] * 4]
    billed(FEB_2 + GRACE)
    # Of each reporter's 12 conversations 3 were voided, all of December's; 12 were reported by both.
    expected = {(NOON, 0): 2 * (6 + 6 + 6), (NOON, 1): 2 * (3 + 3 + 6)}
    assert usage_billed_by_period(acme()) == expected
    assert_books_balance()


def test_a_draft_that_many_finalize_at_once_gets_one_number(sessions: Sessions, settings: Any) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    (draft,) = billed(NOON)
    results = together(sessions, *[lambda: finalize_invoice(draft.pk, now=NOON)] * 6)
    assert results.count(InvoiceAlreadyFinalized) == 5
    assert_books_balance()


def test_finalizing_and_voiding_at_once_ends_finalized_or_void(sessions: Sessions, settings: Any) -> None:
    settings.HOLD_DRAFTS = True
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
    for draft in billed(DUE):
        calls = [
            lambda pk=draft.pk: finalize_invoice(pk, now=DUE),
            lambda pk=draft.pk: void_invoice(pk, reason="wrong", now=DUE),
        ]
        results = together(sessions, *calls, *calls)
        assert results.count(InvoiceAlreadyFinalized) == 1
        assert InvoiceNotVoidable in results
        assert all(isinstance(r, Invoice) or r in (InvoiceAlreadyFinalized, InvoiceNotVoidable) for r in results)
    assert_books_balance()


@pytest.fixture
def three_bills(committed: None, settings: Any) -> dict[str, Any]:
    """Acme's claim of 5.00, its refund in full, and 1.50 more: one finalized, two drafts."""
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan(base_fee="0"))
    calls = conversations(10, tier="enterprise")
    happened(*calls, now=NOON)
    (november,) = billed(DUE)
    finalize_invoice(november.pk, now=DUE)
    for call in calls:
        void_event(acme(), call.event.event_id, reason="test traffic", now=DUE)
    (refund,) = billed(JAN_2 + GRACE)
    happened(*conversations(3, JAN_2, tier="enterprise", name="january"), now=FEB_2)
    (january,) = billed(FEB_2 + GRACE)
    return {"november": november.pk, "refund": refund.pk, "january": january.pk}


def test_bills_refunds_and_voids_of_one_customer_at_once_leave_good_books(
    three_bills: dict[str, Any], sessions: Sessions
) -> None:
    results = together(
        sessions,
        lambda: finalize_invoice(three_bills["refund"], now=FEB_2).status,
        lambda: finalize_invoice(three_bills["january"], now=FEB_2).status,
        lambda: void_invoice(three_bills["november"], reason="wrong", now=FEB_2).status,
    )
    assert all(status in InvoiceStatus for status in results), results
    assert credit_balance_of(acme()) in (500, 350)
    assert_books_balance()


@pytest.mark.parametrize(
    ("change", "named"), [(finalize_invoice, "refund"), (partial(void_invoice, reason="wrong"), "november")]
)
def test_whoever_holds_a_customers_accounts_can_go_on_while_others_wait_for_them(
    three_bills: dict[str, Any], sessions: Sessions, change: Callable[..., Invoice], named: str
) -> None:
    with transaction.atomic():
        credit_balance(acme(), "USD")
        other = sessions.start(lambda: change(three_bills[named], now=FEB_2))
        wait_until_blocked()
        finalize_invoice(three_bills["january"], now=FEB_2)
    assert other.result(30).status in (InvoiceStatus.PAID, InvoiceStatus.VOID)
    assert_books_balance()


def credit_balance_of(customer: Customer) -> int:
    with transaction.atomic():
        return credit_balance(customer, "USD")


def test_credit_is_spent_once_by_invoices_that_are_finalized_at_once(sessions: Sessions, settings: Any) -> None:
    customer, plan = acme(), a_plan(base_fee="0")
    subscribed(customer, plan)
    calls = conversations(10, tier="enterprise")
    happened(*calls, now=NOON)
    billed(DUE)
    for call in calls:
        void_event(customer, call.event.event_id, reason="test traffic", now=DUE)
    billed(JAN_2 + GRACE)
    settings.HOLD_DRAFTS = True
    for begun, name in ((JAN_2, "january"), (FEB_2, "february")):
        happened(*conversations(8, begun, tier="enterprise", name=name), now=begun)
    drafts = billed(FEB_2 + (FEB_2 - JAN_2) + GRACE)
    together(sessions, *[lambda pk=draft.pk: finalize_invoice(pk, now=FEB_2) for draft in drafts])
    applied = Invoice.objects.filter(pk__in=[draft.pk for draft in drafts]).values_list("credit_applied", "amount_due")
    assert sorted(applied) == [(100, 300), (400, 0)]
    assert credit_balance_of(customer) == 0
    assert_books_balance()


def test_a_line_cannot_slip_into_an_invoice_that_is_being_finalized(sessions: Sessions, settings: Any) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    (draft,) = billed(NOON)
    line = InvoiceLine.objects.get(invoice=draft)

    def slip_in() -> None:
        line.pk, line.position = None, 1
        line._state.adding = True
        line.id = InvoiceLine._meta.get_field("id").get_default()
        line.save(force_insert=True)

    with transaction.atomic():
        finalize_invoice(draft.pk, now=NOON)
        slipping = sessions.start(slip_in)
        wait_until_blocked()
    with pytest.raises(Exception, match="frozen"):
        slipping.result(30)
    assert_books_balance()
