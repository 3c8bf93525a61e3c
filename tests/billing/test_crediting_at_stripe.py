"""Credit notes on invoices that are not paid yet: what is due is lowered at Stripe, too, whatever is faster."""

import pytest

from billing.creditable import still_due
from billing.finalizing import void_invoice
from billing.models import CreditNote
from tests.billing.credited import again, credited, money
from tests.billing.stripe_desk import Desk, booked, in_its_state, open_desk, start_stripe, status_of  # noqa: F401
from tests.cast import acme

pytestmark = pytest.mark.usefixtures("committed", "money_is_right")


def test_an_open_invoice_is_lowered_at_stripe_and_the_rest_is_paid(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 3000, 1900)
    desk.collect()
    note = credited(desk, invoice, 900)
    desk.give_back()
    found = desk.at_stripe(invoice)
    assert (found.status, found.total, found.amount_remaining) == ("open", 4900, 4000)
    assert (again(note).state, again(note).stripe_id.startswith("cn_")) == ("done", True)
    desk.client.v1.invoices.pay(found.id, {"paid_out_of_band": True})
    desk.deliver()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert booked(invoice)["payment"] == ("cash", "receivable", 4000)
    assert money() == {"revenue": -4000, "cash": 4000}


def test_stripes_credit_note_says_why(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    note = credited(desk, invoice, 900)
    desk.give_back()
    (found,) = desk.client.v1.credit_notes.list({"invoice": desk.at_stripe(invoice).id}).data
    assert (found.amount, found.memo) == (900, f"{note.number}: was wrong")


def test_an_invoice_credited_before_it_reaches_stripe_goes_there_whole_and_is_lowered_before_it_is_charged(
    desk: Desk,
) -> None:
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    credited(desk, invoice, 900)
    desk.give_back()
    desk.collect()
    desk.deliver()
    desk.give_back()
    assert (desk.at_stripe(invoice).total, desk.charges_of(customer)) == (4900, [4000])
    assert (in_its_state(invoice), CreditNote.objects.get().state) == (("paid", "done", "paid"), "due")
    desk.pass_time(minutes=2)
    desk.give_back()
    assert CreditNote.objects.get().state == "done"


def test_an_invoice_credited_whole_is_paid_there_too_and_nothing_is_charged(desk: Desk) -> None:
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    credited(desk, invoice)
    assert status_of(invoice) == "paid"
    desk.collect()
    desk.deliver()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert (desk.charges_of(customer), money()) == ([], {})


def test_an_open_invoice_credited_whole_is_done_without_a_webhook(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    credited(desk, invoice)
    desk.give_back()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert (desk.at_stripe(invoice).status, desk.at_stripe(invoice).amount_paid) == ("paid", 0)


def test_several_notes_follow_each_other(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    for amount in (100, 200):
        credited(desk, invoice, amount)
    desk.collect()
    credited(desk, invoice, 300)
    desk.give_back()
    assert (desk.at_stripe(invoice).amount_remaining, still_due(invoice)) == (4300, 4300)


def test_a_payment_that_was_faster_than_the_note_leaves_the_surplus_as_credit(desk: Desk) -> None:
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    note = credited(desk, invoice, 900)
    assert (note.off_due, status_of(invoice)) == (900, "finalized")
    desk.give_back()
    assert (again(note).state, again(note).stripe_id, in_its_state(invoice)) == ("done", "", ("paid", "done", "paid"))
    assert booked(invoice)["surplus-payment"] == ("cash", "credit", 900)
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}
    assert desk.invoice(acme(), 1000).amount_due == 100


def test_a_payment_that_was_faster_than_a_note_on_all_of_it_is_credit(desk: Desk) -> None:
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    credited(desk, invoice)
    desk.deliver()
    assert money() == {"cash": 4900, "credit": -4900}
    assert in_its_state(invoice) == ("paid", "done", "paid")


def test_a_payment_between_the_look_and_the_note_leaves_the_surplus_as_credit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    note = credited(desk, invoice, 900)
    notes = type(desk.client.v1.credit_notes)
    create = notes.create

    def too_late(self, *args):
        desk.client.v1.invoices.pay(desk.at_stripe(invoice).id, {"paid_out_of_band": True})
        return create(self, *args)

    monkeypatch.setattr(notes, "create", too_late)
    desk.give_back()
    assert (again(note).state, again(note).stripe_id, status_of(invoice)) == ("done", "", "paid")
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}


def test_a_note_written_just_before_the_charge_is_heeded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    invoices = type(desk.client.v1.invoices)
    finalize = invoices.finalize_invoice

    def credited_just_now(self, *args):
        credited(desk, invoice, 900)
        return finalize(self, *args)

    monkeypatch.setattr(invoices, "finalize_invoice", credited_just_now)
    desk.collect()
    assert desk.charges_of(customer) == [4000]


def test_what_stripe_carries_over_although_it_was_credited_becomes_credit(desk: Desk) -> None:
    customer = desk.acme_with_card()
    small = desk.invoice(customer, 30)
    desk.collect()
    credited(desk, small, 20)
    desk.give_back()
    assert money() == {"carried": 30, "revenue": -10, "credit": -20}
    following = desk.invoice(customer, 5000)
    desk.collect()
    desk.deliver()
    assert (following.amount_due, desk.charges_of(customer)) == (4980, [5010])
    assert money() == {"cash": 5010, "revenue": -5010}


def test_a_credited_invoice_that_is_voided_is_void_everywhere(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    note = credited(desk, invoice, 900)
    desk.give_back()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    desk.deliver()
    assert (in_its_state(invoice), again(note).state, money()) == (("void", "done", "void"), "done", {})


def test_a_credited_invoice_voided_at_stripe_is_void_here(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    credited(desk, invoice, 900)
    desk.client.v1.invoices.void_invoice(desk.at_stripe(invoice).id)
    desk.deliver()
    desk.give_back()
    assert (in_its_state(invoice), money()) == (("void", "done", "void"), {})


def test_a_void_invoice_that_was_credited_and_is_paid_after_all_leaves_what_was_paid_as_credit(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    credited(desk, invoice, 900)
    desk.give_back()
    desk.client.v1.invoices.pay(desk.at_stripe(invoice).id, {"paid_out_of_band": True})
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    assert (in_its_state(invoice), money()) == (("void", "done", "paid"), {"cash": 4000, "credit": -4000})


@pytest.mark.parametrize("comes", [False, True])
def test_of_a_credited_invoice_only_what_is_left_is_given_up_and_recovered(desk: Desk, comes: bool) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    credited(desk, invoice, 900)
    desk.give_back()
    stripe_id = desk.at_stripe(invoice).id
    desk.client.v1.invoices.mark_uncollectible(stripe_id)
    desk.deliver()
    assert booked(invoice)["write-off"] == ("bad_debt", "receivable", 4000)
    if comes:
        desk.client.v1.invoices.pay(stripe_id, {"paid_out_of_band": True})
        desk.deliver()
    assert money() == ({"cash": 4000, "revenue": -4000} if comes else {"revenue": -4000})


def test_what_somebody_else_credited_at_stripe_is_parked(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    credited(desk, invoice, 900)
    desk.client.v1.credit_notes.create({"invoice": desk.at_stripe(invoice).id, "amount": 4000})
    desk.give_back()
    desk.deliver()
    assert (status_of(invoice), CreditNote.objects.get().state) == ("finalized", "parked")
