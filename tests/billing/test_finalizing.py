"""A draft becomes a bill with a number, the ledger knows of it, and taking it back is the mirror of that."""

import pytest
from django.db import transaction
from pytest_django import Settings

from billing.finalizing import InvoiceAlreadyFinalized, InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.ledger import credit_balance, receivable
from billing.models import Collection, Invoice, InvoiceStatus
from metering.corrections import void_event
from plans.models import Customer
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    all_billed,
    assert_books_balance,
    balance,
    billed,
    conversation,
    conversations,
    happened,
    lines_of,
)
from tests.cast import NOON, a_plan, acme, bolt, cleo, subscribed

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE


def overcharged(enterprise: int, *, base_fee: str = "0") -> Customer:
    """A customer that was billed 0.50 for each of these conversations, none of which happened."""
    customer = acme()
    subscribed(customer, a_plan(base_fee=base_fee))
    calls = conversations(enterprise, tier="enterprise")
    happened(*calls, now=NOON)
    billed(DUE)
    for call in calls:
        void_event(customer, call.event.event_id, reason="test traffic", now=DUE)
    return customer


def test_an_invoice_is_claimed_from_the_customer_and_waits_to_be_collected() -> None:
    subscribed(acme(), a_plan())
    (start,) = billed(NOON)
    assert (start.number, start.status, start.amount_due, start.paid_at) == ("INV-000001", "finalized", 4900, None)
    assert receivable(acme(), "USD") == 4900
    assert Collection.objects.get(invoice=start).task == "collect"
    assert_books_balance()


def test_an_invoice_of_nothing_is_paid_at_once_and_not_collected() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    (cycle,) = billed(DUE)
    assert (cycle.total, cycle.status, cycle.paid_at) == (0, InvoiceStatus.PAID, DUE)
    assert not Collection.objects.exists()
    assert_books_balance()


def test_numbers_have_no_gaps_whoever_is_billed() -> None:
    plan = a_plan()
    for customer in (acme(), bolt(), cleo()):
        subscribed(customer, plan)
    billed(DUE)
    numbers = Invoice.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == [f"INV-{number:06d}" for number in range(1, 7)]


def test_a_number_that_was_not_committed_is_given_again(settings: Settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    (draft,) = billed(NOON)
    settings.HOLD_DRAFTS = False
    with transaction.atomic():
        finalize_invoice(draft.pk, now=NOON)
        transaction.set_rollback(True)
    assert finalize_invoice(draft.pk, now=NOON).number == "INV-000001"
    assert_books_balance()


def test_only_drafts_are_finalized() -> None:
    subscribed(acme(), a_plan())
    (start,) = billed(NOON)
    with pytest.raises(InvoiceAlreadyFinalized):
        finalize_invoice(start.pk, now=NOON)


def test_a_negative_total_becomes_credit_that_the_next_invoices_use_up() -> None:
    customer = overcharged(20)
    happened(*conversations(12, DEC_2, tier="enterprise", name="december"), now=JAN_2)
    (refund,) = billed(JAN_2 + GRACE)
    assert (refund.total, refund.amount_due, refund.status) == (600 - 1000, 0, "paid")
    assert credit_balance(customer, "USD") == 400
    happened(*conversations(10, JAN_2, tier="enterprise", name="january"), now=FEB_2)
    (january,) = billed(FEB_2 + GRACE)
    assert (january.total, january.credit_applied, january.amount_due) == (500, 400, 100)
    assert credit_balance(customer, "USD") == 0
    assert_books_balance()


def test_credit_that_covers_an_invoice_pays_it() -> None:
    customer = overcharged(20)
    billed(JAN_2 + GRACE)
    happened(*conversations(10, JAN_2, tier="enterprise", name="january"), now=FEB_2)
    (january,) = billed(FEB_2 + GRACE)
    assert (january.credit_applied, january.amount_due, january.status) == (500, 0, "paid")
    assert credit_balance(customer, "USD") == 500
    assert_books_balance()


def test_voiding_gives_back_the_claim_and_the_credit() -> None:
    customer = overcharged(20)
    billed(JAN_2 + GRACE)
    happened(*conversations(25, JAN_2, tier="enterprise", name="january"), now=FEB_2)
    (january,) = billed(FEB_2 + GRACE)
    assert (january.credit_applied, january.amount_due) == (1000, 250)
    void_invoice(january.pk, reason="wrong", now=FEB_2)
    assert credit_balance(customer, "USD") == 1000
    assert balance(customer, "receivable") == 1000  # the overcharge, still to be paid
    assert Collection.objects.get(invoice=january).task == "void"
    assert_books_balance()


def test_only_a_bill_that_waits_for_payment_is_voided() -> None:
    customer = overcharged(1)
    (refund,) = billed(JAN_2 + GRACE)
    with pytest.raises(InvoiceNotVoidable):
        void_invoice(refund.pk, reason="wrong", now=JAN_2)
    cycle = Invoice.objects.get(customer=customer, period_index=0)
    void_invoice(cycle.pk, reason="wrong", now=JAN_2)
    with pytest.raises(InvoiceNotVoidable):
        void_invoice(cycle.pk, reason="wrong", now=JAN_2)
    assert_books_balance()


def test_a_draft_is_not_voided(settings: Settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    (draft,) = billed(NOON)
    with pytest.raises(InvoiceNotVoidable):
        void_invoice(draft.pk, reason="wrong", now=NOON)


def test_a_voided_period_is_given_up_with_whatever_comes_late_for_it() -> None:
    customer = acme()
    subscribed(customer, a_plan(base_fee="0"))
    happened(conversation("c"), now=NOON)
    (november,) = billed(DUE)
    void_invoice(november.pk, reason="wrong", now=DUE)
    happened(conversation("late", tier="enterprise"), now=DUE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(december) == []
    assert all_billed(customer) == 0
    assert_books_balance()


def test_an_adjustment_on_a_voided_invoice_is_not_billed_again() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    billed(DUE)
    happened(conversation("late", tier="complex"), now=DUE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(december) == [("adjustment", "", 15)]
    void_invoice(december.pk, reason="wrong", now=JAN_2 + GRACE)
    happened(conversation("later", tier="enterprise"), now=JAN_2 + GRACE)
    (january,) = billed(FEB_2 + GRACE)
    assert lines_of(january) == [("adjustment", "", 50)]
    assert_books_balance()
