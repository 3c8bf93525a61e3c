"""From a finalized invoice to money: every way an invoice can go at Stripe (taken back: test_voiding)."""

import datetime as dt

import pytest

from billing.collecting import BATCH, collect_due
from billing.models import Collection, StripeCustomer
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
from tests.cast import acme, bolt, cleo
from tests.metering.conftest import Sessions

SLOWER_THAN_THE_LEASE = dt.timedelta(minutes=6)
FINALIZE = "POST /v1/invoices/{invoice}/finalize"


# The straight way


def test_an_invoice_is_made_compared_finalized_and_paid_at_stripe_once(desk: Desk):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 1200, 300, 75)
    desk.collect()
    found = desk.at_stripe(invoice)
    assert (found.number, found.status, found.amount_paid, found.currency) == (invoice.number, "paid", 1575, "usd")
    assert [(line.amount, line.description) for line in found.lines.data] == [
        (1200, "simple usage"),
        (300, "standard usage"),
        (75, "complex usage"),
    ]
    assert steps_of(invoice) == ["create", "lines", "finalize", "pay-1"]
    assert desk.charges_of(customer) == [1575]


def test_the_webhook_brings_paid_home_and_the_ledger_books_it(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    assert status_of(invoice) == "finalized"
    desk.deliver()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert booked(invoice) == {"total": ("receivable", "revenue", 4900), "payment": ("cash", "receivable", 4900)}
    assert collection_of(invoice).hosted_url.startswith("https://")


def test_a_lost_webhook_is_made_up_for_by_a_look_within_the_hour(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    desk.pass_time(minutes=59)
    desk.collect()
    assert status_of(invoice) == "finalized"
    desk.pass_time(minutes=2)
    desk.collect()
    assert in_its_state(invoice) == ("paid", "done", "paid")


def test_without_a_card_the_invoice_is_sent_and_never_charged(desk: Desk):
    customer = acme(email="ap@acme.test")
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    found = desk.at_stripe(invoice)
    assert (found.collection_method, found.status, found.customer_email) == ("send_invoice", "open", "ap@acme.test")
    assert found.due_date is not None
    assert steps_of(invoice) == ["create", "lines", "finalize", "mail"]
    desk.client.v1.invoices.pay(found.id, {"paid_out_of_band": True})
    desk.deliver()
    assert in_its_state(invoice) == ("paid", "done", "paid")


def test_what_is_owed_to_the_customer_is_a_line_that_lowers_the_bill(desk: Desk):
    customer = desk.acme_with_card()
    desk.invoice(customer, -400)
    invoice = desk.invoice(customer, 1200, 300)
    assert (invoice.credit_applied, invoice.amount_due) == (400, 1100)
    desk.collect()
    desk.deliver()
    assert [line.amount for line in desk.at_stripe(invoice).lines.data] == [1200, 300, -400]
    assert (status_of(invoice), desk.charges_of(customer)) == ("paid", [1100])
    assert booked(invoice)["payment"] == ("cash", "receivable", 1100)


def test_what_is_paid_from_credit_alone_never_goes_to_stripe(desk: Desk):
    customer = acme()
    desk.invoice(customer, -400)
    invoice = desk.invoice(customer, 400)
    desk.collect()
    assert status_of(invoice) == "paid"
    assert not Collection.objects.exists()
    assert not StripeCustomer.objects.exists()


@pytest.mark.parametrize(("currency", "amount"), [("JPY", 4900), ("KWD", 4900)])
def test_amounts_are_minor_units_in_any_currency(desk: Desk, currency, amount):
    customer = desk.acme_with_card(currency=currency)
    invoice = desk.invoice(customer, amount)
    desk.collect()
    desk.deliver()
    assert (status_of(invoice), desk.charges_of(customer)) == ("paid", [amount])


def test_each_customer_is_charged_its_own_invoices(desk: Desk):
    amounts = {}
    for number, make in enumerate((acme, bolt, cleo)):
        customer = make()
        desk.put_card_on_file(customer)
        amounts[customer] = [desk.invoice(customer, 1000 + 10 * number + one).amount_due for one in range(2)]
    desk.collect()
    assert {customer: sorted(desk.charges_of(customer)) for customer in amounts} == amounts


# Declined cards


def test_a_declined_card_is_tried_once_a_day_and_four_times_at_most(desk: Desk):
    customer = desk.acme_with_card("pm_card_chargeCustomerFail")
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    assert "declined" in collection_of(invoice).payment_error
    tried = []
    for _ in range(6):
        for _ in range(3):
            desk.pass_time(hours=8.01)
            desk.collect()
        tried.append(desk.at_stripe(invoice).attempt_count)
    assert tried == [2, 3, 4, 4, 4, 4]
    assert [step for step in steps_of(invoice) if step.startswith("pay")] == ["pay-1", "pay-2", "pay-3", "pay-4"]
    assert in_its_state(invoice) == ("finalized", "sent", "open")
    assert desk.charges_of(customer) == []


def test_a_card_that_recovers_pays_the_next_day(desk: Desk):
    customer = acme()
    card = desk.put_card_on_file(customer)
    desk.stripe.decline(card, "insufficient_funds")
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    desk.deliver()
    assert (status_of(invoice), bool(collection_of(invoice).payment_error)) == ("finalized", True)
    desk.stripe.decline(card, None)
    desk.pass_time(hours=25)
    desk.collect()
    desk.deliver()
    assert (in_its_state(invoice), collection_of(invoice).payment_error) == (("paid", "done", "paid"), "")
    assert desk.charges_of(customer) == [4900]


def test_a_customer_that_pays_by_hand_after_a_decline_is_not_charged_again(desk: Desk):
    customer = desk.acme_with_card("pm_card_chargeCustomerFail")
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    desk.put_card_on_file(customer)
    desk.client.v1.invoices.pay(desk.at_stripe(invoice).id)
    desk.quiesce()
    assert in_its_state(invoice) == ("paid", "done", "paid")
    assert (desk.charges_of(customer), collection_of(invoice).payment_error) == ([4900], "")


# Amounts too small to charge


def test_an_amount_under_the_minimum_is_carried_to_the_next_invoice(desk: Desk):
    customer = desk.acme_with_card()
    small = desk.invoice(customer, 30)
    desk.collect()
    desk.deliver()
    assert in_its_state(small) == ("paid", "done", "paid")
    assert booked(small)["carried"] == ("carried", "receivable", 30)
    assert desk.charges_of(customer) == []
    following = desk.invoice(customer, 5000)
    desk.collect()
    desk.deliver()
    assert (status_of(following), desk.charges_of(customer)) == ("paid", [5030])
    assert booked(following)["payment"] == ("cash", "receivable", 5000)
    assert booked(following)["carried"] == ("cash", "carried", 30)


def test_a_webhook_that_is_faster_than_the_sweep_is_not_overtaken_by_it(desk: Desk, monkeypatch):
    invoice = desk.invoice(desk.acme_with_card(), 30)
    invoices = type(desk.client.v1.invoices)
    finalize = invoices.finalize_invoice

    def and_the_webhook_is_here(*args):
        found = finalize(*args)
        desk.deliver()
        return found

    monkeypatch.setattr(invoices, "finalize_invoice", and_the_webhook_is_here)
    collect_due(now=desk.now)
    assert in_its_state(invoice) == ("paid", "done", "paid")


# What must not be


def test_an_invoice_whose_total_differs_is_parked_and_never_finalized(desk: Desk, monkeypatch):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    desk.stripe.faults.plan(FINALIZE, "503")
    desk.collect()
    desk.client.v1.invoices.add_lines(desk.at_stripe(invoice).id, {"lines": [{"amount": 1, "description": "x"}]})
    desk.quiesce()
    assert collection_of(invoice).state == "parked"
    assert "49.00 USD here, 4901 usd" in collection_of(invoice).last_error
    assert (desk.at_stripe(invoice).status, desk.charges_of(customer)) == ("draft", [])


def test_a_total_changed_after_the_comparison_is_not_charged(desk: Desk, monkeypatch):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    invoices = type(desk.client.v1.invoices)
    finalize = invoices.finalize_invoice

    def changed_just_now(self, stripe_id, *args):
        self.add_lines(stripe_id, {"lines": [{"amount": 100, "description": "x"}]})
        return finalize(self, stripe_id, *args)

    monkeypatch.setattr(invoices, "finalize_invoice", changed_just_now)
    desk.collect()
    assert (collection_of(invoice).state, desk.at_stripe(invoice).total) == ("parked", 5000)
    assert desk.charges_of(customer) == []


def test_what_stripe_refuses_is_parked_and_stops_no_other_invoice(desk: Desk):
    gone, well = desk.acme_with_card(), bolt()
    desk.client.v1.customers.delete(StripeCustomer.objects.get(customer=gone).stripe_id)
    desk.put_card_on_file(well)
    refused, paid = desk.invoice(gone, 4900), desk.invoice(well, 4900)
    desk.collect()
    assert (collection_of(refused).state, desk.at_stripe(paid).status) == ("parked", "paid")


def test_an_invoice_that_contradicts_ours_is_parked_and_stops_no_other_invoice(desk: Desk):
    customer = acme()
    credited = desk.invoice(customer, 4900)
    desk.collect()
    desk.client.v1.credit_notes.create({"invoice": desk.at_stripe(credited).id, "amount": 900})
    desk.client.v1.invoices.pay(desk.at_stripe(credited).id, {"paid_out_of_band": True})
    desk.pass_time(hours=1.1)
    following = desk.invoice(customer, 5000)
    desk.collect()
    assert (status_of(credited), collection_of(credited).state) == ("finalized", "parked")
    assert collection_of(following).state == "sent"


def test_days_without_stripe_only_delay(desk: Desk, settings):
    customer = desk.acme_with_card()
    invoice = desk.invoice(customer, 4900)
    settings.STRIPE_API_KEY = "rk_live_wrong"
    Collection.objects.update(attempts=1000)
    desk.collect()
    assert (collection_of(invoice).state, collection_of(invoice).attempts) == ("due", 1001)
    settings.STRIPE_API_KEY = "sk_test_parley"
    desk.quiesce()
    assert (status_of(invoice), desk.charges_of(customer)) == ("paid", [4900])


# Many at once


def test_sweeps_at_the_same_time_share_the_work(desk: Desk, sessions: Sessions):
    customers = [acme(), bolt(), cleo()]
    for customer in customers:
        desk.put_card_on_file(customer)
        for amount in (1000, 2000, 3000):
            desk.invoice(customer, amount)
    assert sum(sessions.all([lambda: collect_due(now=desk.now)] * 4)) == 9
    for customer in customers:
        assert sorted(desk.charges_of(customer)) == [1000, 2000, 3000]


def test_sweeps_that_do_not_know_of_each_other_still_charge_once(desk: Desk, sessions: Sessions):
    """As when one is so slow that its lease runs out: the later ones take up the same invoice."""
    customer = acme()
    invoice = desk.invoice(customer, 4900)
    desk.stripe.faults.plan("*", "slow", times=8, seconds=0.05)
    start = desk.now
    sweeps = [lambda place=place: collect_due(now=start + place * SLOWER_THAN_THE_LEASE) for place in range(4)]
    sessions.all(sweeps)
    desk.quiesce()
    assert len(desk.stripe_customers_of(customer)) == 1
    assert [found.id for found in desk.stripe_invoices_of(customer)] == [collection_of(invoice).stripe_invoice_id]


def test_a_sweep_takes_a_batch_and_the_next_takes_the_rest(desk: Desk):
    customer = acme()
    invoices = [desk.invoice(customer, 1000) for _ in range(3)]
    assert len(invoices) < BATCH
    assert [collect_due(now=desk.now), collect_due(now=desk.now)] == [3, 0]
