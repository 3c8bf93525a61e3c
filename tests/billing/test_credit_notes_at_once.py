"""Many at once: whoever credits, pays, voids or finalizes at the same time, nothing is given back twice."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from billing.bringing_home import bring_home
from billing.credit_notes import InvalidCredit, NotCreditable, credit_note
from billing.finalizing import InvoiceNotVoidable, finalize_invoice, void_invoice
from billing.granting import GrantNotVoidable, void_grant
from billing.models import CreditNote, Invoice, Transfer
from plans.models import Customer
from tests.billing.books import balance
from tests.billing.drafts import a_draft, a_paid_invoice, an_invoice, vat
from tests.billing.purse import bought, pay
from tests.billing.stripe_desk import Desk, open_desk, start_stripe, status_of  # noqa: F401
from tests.billing.test_at_once import together
from tests.cast import LATER, NOON, acme, bolt, cleo
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed", "money_is_right")

ACCOUNTS = ("receivable", "revenue", "tax", "cash", "credit", "refund", "grant", "pending")


def note_on(invoice: Invoice, **said: Any) -> Callable[[], CreditNote]:
    return lambda: credit_note(invoice, reason="wrong", now=LATER, **said)


def money(customer: Customer) -> dict[str, int]:
    return {kind: balance(customer, kind) for kind in ACCOUNTS if balance(customer, kind)}


def assert_even(customer: Customer) -> None:
    """Debits are credits, and every account is what its transfers say."""
    assert sum(balance(customer, kind) for kind in ACCOUNTS) == 0
    assert Transfer.objects.values("key").distinct().count() == Transfer.objects.count()


def test_of_many_notes_on_the_whole_invoice_one_is_written(committed: None, sessions: Sessions, settings: Any) -> None:
    settings.TAX = "fixed"
    vat("19")
    invoice = a_paid_invoice(1000)
    results = together(sessions, *[note_on(invoice, to="refund")] * 8)
    assert results.count(NotCreditable) == 7
    assert CreditNote.objects.get().number == "CN-000001"
    assert money(acme()) == {"cash": 1190, "refund": -1190}


def test_notes_at_once_take_back_no_more_than_there_is_and_have_numbers_without_gaps(
    committed: None, sessions: Sessions
) -> None:
    invoices = [a_paid_invoice(1000, customer=customer) for customer in (acme(), bolt())]
    calls = [note_on(invoice, amount=300) for invoice in invoices for _ in range(5)]
    results = together(sessions, *calls)
    assert results.count(InvalidCredit) == 4
    numbers = CreditNote.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == [f"CN-{number:06d}" for number in range(1, 7)]
    for customer in (acme(), bolt()):
        assert money(customer) == {"cash": 1000, "revenue": -100, "credit": -900}


def test_a_note_and_a_void_at_once_leave_nothing_owed_either_way(committed: None, sessions: Sessions) -> None:
    for customer in (acme(), bolt()):
        invoice = an_invoice(1000, customer=customer)
        void = [lambda pk=invoice.pk: void_invoice(pk, reason="wrong", now=LATER)] * 2
        results = together(sessions, *void, note_on(invoice, amount=300), note_on(invoice, amount=200))
        assert results.count(InvoiceNotVoidable) == 1
        assert {r for r in results if isinstance(r, type)} <= {InvoiceNotVoidable, NotCreditable}
        assert (status_of(invoice), money(customer)) == ("void", {})


def test_a_note_on_all_that_is_due_and_a_void_at_once_end_paid_or_void(committed: None, sessions: Sessions) -> None:
    invoice = an_invoice(1000)
    together(sessions, lambda: void_invoice(invoice.pk, reason="wrong", now=NOON), note_on(invoice))
    assert status_of(invoice) in ("paid", "void")
    assert money(acme()) == {}


def test_a_note_and_a_payment_at_once_lose_no_money(desk: Desk, sessions: Sessions) -> None:
    for customer in (acme(), bolt(), cleo()):
        invoice = desk.invoice(customer, 1000)
        desk.collect()
        stripe_id = desk.at_stripe(invoice).id
        desk.client.v1.invoices.pay(stripe_id, {"paid_out_of_band": True})
        now = desk.now
        home = [lambda stripe_id=stripe_id, now=now: bring_home(desk.client, stripe_id, now=now)] * 2
        together(sessions, *home, note_on(invoice, amount=300), *home, note_on(invoice, amount=200))
        assert (status_of(invoice), money(customer)) == ("paid", {"cash": 1000, "revenue": -500, "credit": -500})


def test_notes_payments_and_voids_at_once_leave_good_books(desk: Desk, sessions: Sessions) -> None:
    customer = desk.acme_with_card()
    for _ in range(3):
        invoice = desk.invoice(customer, 1000)
        together(
            sessions,
            desk.collect,
            note_on(invoice, amount=300),
            lambda pk=invoice.pk: void_invoice(pk, reason="wrong", now=LATER),
            desk.give_back,
            note_on(invoice, amount=200, to="refund"),
            desk.collect,
        )
    desk.quiesce()
    desk.deliver()
    charged, given = sum(desk.charges_of(customer)), desk.refunded_to(customer)
    assert (balance(customer, "cash"), balance(customer, "refund"), balance(customer, "receivable")) == (
        charged - given,
        0,
        0,
    )
    assert_even(customer)


def test_prepaid_credit_taken_back_or_used_at_once_is_one_of_the_two(committed: None, sessions: Sessions) -> None:
    grant = bought(1000)
    pay(grant.invoice)
    sold = Invoice.objects.get(pk=grant.invoice_id)
    draft = a_draft(400)
    results = together(
        sessions,
        note_on(sold),
        lambda: finalize_invoice(draft.pk, now=NOON),
        lambda: void_grant(grant, now=NOON),
    )
    assert all(
        isinstance(r, Invoice | CreditNote | type(grant)) or r in (NotCreditable, GrantNotVoidable) for r in results
    )
    assert_even(acme())
    draft.refresh_from_db()
    if draft.prepaid_applied:
        assert NotCreditable in results


def test_whoever_holds_an_invoice_is_waited_for(committed: None, sessions: Sessions) -> None:
    invoice = a_paid_invoice(1000)
    with transaction.atomic():
        note_on(invoice, amount=600)()
        other = sessions.start(note_on(invoice, amount=600))
        wait_until_blocked()
    with pytest.raises(InvalidCredit):
        other.result(30)


def test_credit_of_a_note_is_spent_once_by_invoices_that_are_finalized_at_once(
    committed: None, sessions: Sessions
) -> None:
    paid = a_paid_invoice(1000)
    drafts = [a_draft(800) for _ in range(3)]
    finalize = [lambda pk=draft.pk: finalize_invoice(pk, now=NOON) for draft in drafts]
    together(sessions, note_on(paid), *finalize)
    applied = sum(
        Invoice.objects.filter(pk__in=[draft.pk for draft in drafts]).values_list("credit_applied", flat=True)
    )
    assert applied - balance(acme(), "credit") == 1000
    assert_even(acme())
