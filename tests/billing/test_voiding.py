"""How is an invoice taken back at Stripe, and one that will never be paid given up? Whoever was faster is heard."""

import datetime as dt

import pytest

from billing.collecting import collect_due
from billing.finalizing import void_invoice
from billing.models import StripeCustomer
from tests.billing.stripe_desk import (  # noqa: F401
    Desk,
    booked,
    collection_of,
    in_its_state,
    open_desk,
    start_stripe,
    status_of,
    steps_of,
)
from tests.cast import acme

SLOWER_THAN_THE_LEASE = dt.timedelta(minutes=6)
FINALIZE = "POST /v1/invoices/{invoice}/finalize"


def test_void_before_anything_was_sent_asks_nothing_of_stripe(desk: Desk):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    assert in_its_state(invoice) == ("void", "done", "")
    assert desk.stripe_invoices_of(customer) == []


def test_a_draft_of_a_void_invoice_is_deleted_at_stripe(desk: Desk):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    desk.stripe.faults.plan(FINALIZE, "503")
    desk.collect()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    desk.deliver()
    assert in_its_state(invoice) == ("void", "done", "deleted")
    assert desk.stripe_invoices_of(customer) == []
    assert desk.client.v1.customers.retrieve(StripeCustomer.objects.get().stripe_id).balance == 0


def test_an_open_invoice_is_voided_at_stripe_too(desk: Desk):
    customer = acme()
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    desk.deliver()
    assert in_its_state(invoice) == ("void", "done", "void")
    assert booked(invoice)["total:void"] == ("revenue", "receivable", 4900)


def test_an_invoice_voided_at_stripe_is_void_here(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    desk.client.v1.invoices.void_invoice(desk.at_stripe(invoice).id)
    desk.deliver()
    assert in_its_state(invoice) == ("void", "done", "void")


def test_a_payment_that_was_faster_than_the_void_becomes_credit(desk: Desk):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    desk.deliver()
    assert in_its_state(invoice) == ("void", "done", "paid")
    assert booked(invoice)["late-payment"] == ("cash", "credit", 4900)
    assert desk.invoice(customer, 6000).amount_due == 1100


def test_what_stripe_carried_over_from_a_void_invoice_becomes_credit_too(desk: Desk):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 30)
    desk.collect()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.collect()
    assert booked(invoice)["late-carried"] == ("carried", "credit", 30)
    following = desk.invoice(customer, 5000)
    desk.collect()
    desk.deliver()
    assert (following.amount_due, status_of(following), desk.charges_of(customer)) == (4970, "paid", [5000])


def test_a_payment_between_the_look_and_the_void_is_brought_home(desk: Desk, monkeypatch):
    customer = acme()
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    invoices = type(desk.client.v1.invoices)
    void = invoices.void_invoice

    def too_late(self, stripe_id, *args):
        self.pay(stripe_id, {"paid_out_of_band": True})
        return void(self, stripe_id, *args)

    monkeypatch.setattr(invoices, "void_invoice", too_late)
    desk.collect()
    assert in_its_state(invoice) == ("void", "done", "paid")
    assert booked(invoice)["late-payment"] == ("cash", "credit", 4900)


@pytest.mark.parametrize("call", ["create", "add_lines", "finalize_invoice", "pay"])
def test_an_invoice_voided_while_it_is_on_its_way_is_taken_back(desk: Desk, monkeypatch, call):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    invoices = type(desk.client.v1.invoices)
    original = getattr(invoices, call)

    def voided_just_now(self, *args):
        monkeypatch.undo()
        void_invoice(invoice.pk, reason="wrong", now=desk.now)
        collect_due(now=desk.now)  # somebody else's sweep
        return original(self, *args)

    monkeypatch.setattr(invoices, call, voided_just_now)
    desk.collect()
    desk.collect()
    assert (status_of(invoice), collection_of(invoice).state) == ("void", "done")
    assert [found.status for found in desk.stripe_invoices_of(customer)] == (["void"] if call == "pay" else [])
    assert desk.charges_of(customer) == []


def test_an_invoice_voided_just_before_it_is_created_is_not_created(desk: Desk, monkeypatch):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    customers = type(desk.client.v1.customers)
    retrieve = customers.retrieve

    def voided_just_now(self, *args):
        monkeypatch.undo()
        void_invoice(invoice.pk, reason="wrong", now=desk.now)
        collect_due(now=desk.now)
        return retrieve(self, *args)

    monkeypatch.setattr(customers, "retrieve", voided_just_now)
    desk.collect()
    assert in_its_state(invoice) == ("void", "done", "")
    assert desk.stripe_invoices_of(customer) == []


# Money that does not come


def test_an_uncollectible_invoice_is_written_off(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    desk.client.v1.invoices.mark_uncollectible(desk.at_stripe(invoice).id)
    desk.deliver()
    assert in_its_state(invoice) == ("uncollectible", "sent", "uncollectible")
    assert booked(invoice)["write-off"] == ("bad_debt", "receivable", 4900)


@pytest.mark.parametrize("webhooks_arrive", [True, False])
def test_a_written_off_invoice_that_is_paid_after_all_is_recovered(desk: Desk, webhooks_arrive):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    stripe_id = desk.at_stripe(invoice).id
    desk.client.v1.invoices.mark_uncollectible(stripe_id)
    desk.deliver()
    desk.client.v1.invoices.pay(stripe_id, {"paid_out_of_band": True})
    desk.deliver() if webhooks_arrive else desk.quiesce()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert booked(invoice)["write-off:recovered"] == ("receivable", "bad_debt", 4900)
    assert booked(invoice)["payment"] == ("cash", "receivable", 4900)


def test_a_written_off_invoice_voided_at_stripe_stays_written_off(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    desk.client.v1.invoices.mark_uncollectible(desk.at_stripe(invoice).id)
    desk.deliver()
    desk.client.v1.invoices.void_invoice(desk.at_stripe(invoice).id)
    desk.deliver()
    assert in_its_state(invoice) == ("uncollectible", "done", "void")
