"""What Stripe says of an invoice is applied as it is now, checked against ours, and never backwards."""

import pytest

from billing.bringing_home import CannotBe, NotOurs, bring_home
from billing.models import Collection, StripeEvent, Transfer
from billing.stripe_gateway import StripeUnavailable
from tests.billing.stripe_desk import Desk, booked, collection_of, open_desk, start_stripe, status_of  # noqa: F401
from tests.cast import acme
from tests.metering.conftest import Sessions


def sent(desk: Desk, *amounts: int):
    """An invoice open at Stripe, and its id there."""
    invoice = desk.invoice(acme(), *amounts)
    desk.collect()
    return invoice, desk.at_stripe(invoice).id


def pay(desk: Desk, stripe_id: str) -> None:
    desk.client.v1.invoices.pay(stripe_id, {"paid_out_of_band": True})


def test_bringing_home_twice_changes_nothing(desk: Desk):
    invoice, stripe_id = sent(desk, 4900)
    pay(desk, stripe_id)
    for _ in range(3):
        bring_home(desk.client, stripe_id, now=desk.now)
    assert (status_of(invoice), list(booked(invoice))) == ("paid", ["total", "payment"])


def test_an_older_look_does_not_undo_a_newer_one(desk: Desk, monkeypatch):
    invoice, stripe_id = sent(desk, 4900)
    invoices = type(desk.client.v1.invoices)
    retrieve = invoices.retrieve

    def slow(self, *args):
        found = retrieve(self, *args)
        monkeypatch.undo()
        pay(desk, stripe_id)
        bring_home(desk.client, stripe_id, now=desk.now)
        return found

    monkeypatch.setattr(invoices, "retrieve", slow)
    bring_home(desk.client, stripe_id, now=desk.now)
    assert (status_of(invoice), collection_of(invoice).stripe_status) == ("paid", "paid")


def test_many_at_once_book_one_payment(desk: Desk, sessions: Sessions):
    invoice, stripe_id = sent(desk, 4900)
    pay(desk, stripe_id)
    now = desk.now
    sessions.all([lambda: bring_home(desk.client, stripe_id, now=now)] * 20)
    assert (status_of(invoice), Transfer.objects.filter(key__endswith=":payment").count()) == ("paid", 1)


def test_a_payment_is_booked_although_it_comes_before_our_own_record_of_the_invoice(desk: Desk):
    invoice, stripe_id = sent(desk, 4900)
    Collection.objects.update(stripe_invoice_id=None)
    pay(desk, stripe_id)
    bring_home(desk.client, stripe_id, now=desk.now)
    assert (status_of(invoice), collection_of(invoice).stripe_invoice_id) == ("paid", stripe_id)


@pytest.mark.parametrize("change", [{"amount": 4900}, {"amount": 900}])
def test_an_invoice_credited_at_stripe_is_parked_when_it_is_paid(desk: Desk, change):
    invoice, stripe_id = sent(desk, 4900)
    desk.client.v1.credit_notes.create({"invoice": stripe_id, **change})
    if change["amount"] < 4900:
        pay(desk, stripe_id)
    with pytest.raises(CannotBe):
        bring_home(desk.client, stripe_id, now=desk.now)
    desk.deliver()
    assert (status_of(invoice), list(booked(invoice))) == ("finalized", ["total"])
    assert StripeEvent.objects.filter(state="parked", type="invoice.paid").exists()
    desk.pass_time(hours=1.1)
    desk.collect()
    assert collection_of(invoice).state == "parked"


@pytest.mark.parametrize("field", ["amount", "currency"])
def test_an_invoice_that_is_not_what_we_sent_is_parked(desk: Desk, field):
    invoice, stripe_id = sent(desk, 4900)
    customer = desk.client.v1.customers.create({"name": "Forger"}).id
    forged = {"customer": customer, "currency": "eur" if field == "currency" else "usd"}
    twin = desk.client.v1.invoices.create({**forged, "metadata": {"parley_invoice": str(invoice.pk)}}).id
    desk.client.v1.invoices.add_lines(twin, {"lines": [{"amount": 4900 if field == "currency" else 100}]})
    desk.client.v1.invoices.finalize_invoice(twin)
    Collection.objects.update(stripe_invoice_id=twin)
    pay(desk, twin)
    desk.pass_time(hours=1.1)
    desk.collect()
    assert (status_of(invoice), collection_of(invoice).state) == ("finalized", "parked")
    with pytest.raises(NotOurs):
        bring_home(desk.client, stripe_id, now=desk.now)


def test_a_credit_balance_at_stripe_lowers_what_is_collected(desk: Desk):
    customer = desk.acme_with_card()
    (there,) = desk.stripe_customers_of(customer)
    desk.client.v1.customers.update(there.id, {"balance": -1000})
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    desk.deliver()
    assert (status_of(invoice), desk.charges_of(customer)) == ("paid", [3900])
    assert booked(invoice)["payment"] == ("cash", "receivable", 3900)
    assert booked(invoice)["carried"] == ("carried", "receivable", 1000)


def test_what_stripe_does_not_know_any_more_is_parked(desk: Desk):
    invoice, _ = sent(desk, 4900)
    Collection.objects.update(stripe_invoice_id="in_gone")
    desk.pass_time(hours=1.1)
    desk.collect()
    assert collection_of(invoice).state == "parked"
    with pytest.raises(NotOurs):
        bring_home(desk.client, "in_never_heard_of", now=desk.now)


def test_without_an_answer_nothing_changes(desk: Desk):
    invoice, stripe_id = sent(desk, 4900)
    pay(desk, stripe_id)
    desk.stripe.faults.plan("GET /v1/invoices/{invoice}", "truncated-json")
    with pytest.raises(StripeUnavailable):
        bring_home(desk.client, stripe_id, now=desk.now)
    assert status_of(invoice) == "finalized"
