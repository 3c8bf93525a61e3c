"""Whatever goes wrong between us and Stripe, at whichever request: one customer, one invoice, one charge, one status.

The faults are all that the stand-in knows, at each operation the way of an invoice uses; after them, sweeps run while
time passes. Webhooks are lost throughout.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from billing.collecting import LEASE, collect_due
from billing.finalizing import void_invoice
from billing.models import Collection, Invoice, StripeCall
from plans.customers import create_customer
from sandbox.stripe_faults import FAULTS
from tests.billing.stripe_desk import (  # noqa: F401
    Desk,
    Killed,
    collection_of,
    kill_at,
    open_desk,
    start_stripe,
    status_of,
)
from tests.cast import NOON, acme
from tests.metering.conftest import Sessions

CREATE_CUSTOMER = "POST /v1/customers"
CREATE = "POST /v1/invoices"
ADD_LINES = "POST /v1/invoices/{invoice}/add_lines"
FINALIZE = "POST /v1/invoices/{invoice}/finalize"
PAY = "POST /v1/invoices/{invoice}/pay"
VOID = "POST /v1/invoices/{invoice}/void"
DELETE = "DELETE /v1/invoices/{invoice}"
LOOK = "GET /v1/invoices/{invoice}"
EVERY_FAULT = sorted(FAULTS)


def an_invoice_for(desk: Desk, fault: str, *, card: bool = True) -> Invoice:
    customer = create_customer(key=fault, name=fault, currency="USD", now=NOON)
    if card:
        desk.put_card_on_file(customer)
    return desk.invoice(customer, 4900)


def outcome(desk: Desk, invoice: Invoice) -> tuple[object, ...]:
    """Customers and invoices at Stripe, their status there and here, and what was charged."""
    customers, invoices = desk.stripe_customers_of(invoice.customer), desk.stripe_invoices_of(invoice.customer)
    there = [found.status for found in invoices]
    collection = collection_of(invoice)
    assert collection.stripe_status == (there[0] if there else "deleted")
    return len(customers), there, status_of(invoice), collection.state, desk.charges_of(invoice.customer)


def outcomes(desk: Desk, invoices: dict[str, Invoice]) -> dict[str, tuple[object, ...]]:
    return {fault: outcome(desk, invoice) for fault, invoice in invoices.items()}


# Faults of Stripe and of the network


@pytest.mark.parametrize("operation", [CREATE, ADD_LINES, FINALIZE, PAY, LOOK])
def test_an_invoice_is_paid_once_whatever_fault_strikes(desk: Desk, operation):
    invoices = {}
    for fault in EVERY_FAULT:
        invoices[fault] = an_invoice_for(desk, fault)
        desk.stripe.faults.plan(operation, fault, seconds=0.05)
        collect_due(now=desk.now)
    desk.quiesce()
    assert [fault for _, fault in desk.stripe.faults.happened[-len(EVERY_FAULT) :]] == EVERY_FAULT
    expected = (1, ["paid"], "paid", "done", [4900])
    assert {fault: outcome(desk, invoice) for fault, invoice in invoices.items()} == dict.fromkeys(
        EVERY_FAULT, expected
    )


def test_a_customer_is_created_once_whatever_fault_strikes(desk: Desk):
    invoices = {}
    for fault in EVERY_FAULT:
        invoices[fault] = an_invoice_for(desk, fault, card=False)
        desk.stripe.faults.plan(CREATE_CUSTOMER, fault, seconds=0.05)
        collect_due(now=desk.now)
    desk.quiesce()
    expected = (1, ["open"], "finalized", "sent", [])
    assert {fault: outcome(desk, invoice) for fault, invoice in invoices.items()} == dict.fromkeys(
        EVERY_FAULT, expected
    )


@pytest.mark.parametrize("operation", [VOID, DELETE])
def test_an_invoice_is_taken_back_once_whatever_fault_strikes(desk: Desk, operation):
    invoices = {}
    for fault in EVERY_FAULT:
        invoices[fault] = an_invoice_for(desk, fault, card=False)
        if operation == DELETE:
            desk.stripe.faults.plan(FINALIZE, "503")
        collect_due(now=desk.now)
        void_invoice(invoices[fault].pk, reason="wrong", now=desk.now)
        desk.stripe.faults.plan(operation, fault, seconds=0.05)
        collect_due(now=desk.now)
    desk.quiesce()
    expected = (1, [] if operation == DELETE else ["void"], "void", "done", [])
    assert {fault: outcome(desk, invoice) for fault, invoice in invoices.items()} == dict.fromkeys(
        EVERY_FAULT, expected
    )


@pytest.mark.parametrize("seed", range(2))
def test_through_a_storm_of_faults_every_invoice_is_charged_once(desk: Desk, seed):
    customer = desk.acme_with_card()
    invoices = [desk.invoice(customer, 1000 + place) for place in range(4)]
    desk.stripe.faults.draw_from(seed, 0.5)
    for _ in range(8):
        desk.collect()
        desk.pass_time(minutes=7)
    desk.quiesce()
    assert [status_of(invoice) for invoice in invoices] == ["paid"] * 4
    assert sorted(desk.charges_of(customer)) == [1000, 1001, 1002, 1003]
    assert len(desk.stripe_invoices_of(customer)) == 4


# Unknown outcomes, and keys that Stripe has forgotten


@pytest.mark.parametrize(
    ("operation", "days"),
    [(CREATE_CUSTOMER, 1.1), (CREATE_CUSTOMER, 6), (CREATE, 6), (ADD_LINES, 6), (FINALIZE, 6), (PAY, 1.1), (PAY, 6)],
)
def test_an_unknown_outcome_is_looked_up_after_the_key_is_forgotten(desk: Desk, operation, days):
    customer = acme()
    if operation == PAY:
        desk.put_card_on_file(customer)
    invoice = desk.invoice(customer, 4900)
    desk.stripe.faults.plan(operation, "ok-then-reset")
    collect_due(now=desk.now)
    assert StripeCall.objects.filter(state="intent").count() == 1
    desk.pass_time(days=days)
    desk.quiesce()
    there = "paid" if operation == PAY else "open"
    assert outcome(desk, invoice)[:2] == (1, [there])
    assert desk.charges_of(customer) == ([4900] if operation == PAY else [])


def test_a_500_stored_under_the_key_is_not_taken_for_not_done(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.stripe.faults.plan(PAY, "ok-but-500-stored")
    collect_due(now=desk.now)
    call = StripeCall.objects.get(step="pay-1")
    assert (call.state, call.attempts) == ("intent", 1)
    desk.pass_time(seconds=10)
    desk.collect()
    assert (status_of(invoice), desk.charges_of(invoice.customer)) == ("paid", [4900])


def test_a_retry_uses_the_same_key(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.stripe.faults.plan(FINALIZE, "500-before", times=3)
    for _ in range(3):
        collect_due(now=desk.now)
        desk.pass_time(minutes=1)
    call = StripeCall.objects.get(step="finalize")
    assert (call.idempotency_key, call.attempts) == (f"invoice:{invoice.id}:finalize", 3)


def test_a_list_that_does_not_show_the_new_invoice_yet_makes_no_second_one(desk: Desk, monkeypatch):
    customer = acme()
    desk.invoice(customer, 4900)
    desk.stripe.faults.plan(CREATE, "list-lags")
    kill_at(monkeypatch, 2, done=True)
    with pytest.raises(Killed):
        collect_due(now=desk.now)
    Collection.objects.update(not_before=desk.now)
    collect_due(now=desk.now)
    desk.quiesce()
    assert [found.status for found in desk.stripe_invoices_of(customer)] == ["open"]


# Processes that are killed


@pytest.mark.parametrize("done", [False, True], ids=["before it is sent", "before the outcome is recorded"])
@pytest.mark.parametrize("change", [1, 2, 3, 4], ids=["create", "lines", "finalize", "pay"])
def test_a_sweep_killed_at_any_change_is_made_up_for_by_the_next(desk: Desk, monkeypatch, change, done):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    with monkeypatch.context() as patch:
        kill_at(patch, change, done=done)
        with pytest.raises(Killed):
            collect_due(now=desk.now)
    assert StripeCall.objects.get(state="intent").attempts == 1
    desk.pass_time(seconds=LEASE.total_seconds() + 1)
    desk.quiesce()
    assert outcome(desk, invoice) == (1, ["paid"], "paid", "done", [4900])


@pytest.mark.parametrize("done", [False, True], ids=["before it is sent", "before the outcome is recorded"])
@pytest.mark.parametrize("change", [1, 2, 3, 4], ids=["customer", "create", "lines", "finalize"])
def test_an_invoice_voided_after_a_crash_is_taken_back_wherever_that_was(desk: Desk, monkeypatch, change, done):
    invoice = desk.invoice(acme(), 4900)
    with monkeypatch.context() as patch:
        kill_at(patch, change, done=done)
        with pytest.raises(Killed):
            collect_due(now=desk.now)
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.quiesce()
    assert [found.status for found in desk.stripe_invoices_of(invoice.customer)] in ([], ["void"])
    assert (status_of(invoice), collection_of(invoice).state) == ("void", "done")


KILLED_PROCESS = """
import datetime as dt, os, sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[2]
django.setup()
import stripe
from billing.collecting import collect_due
request = stripe.RequestsClient.request
def deadly(self, method, url, *args):
    answer = request(self, method, url, *args)
    if url.endswith("/pay"):
        os.kill(os.getpid(), 9)
    return answer
stripe.RequestsClient.request = deadly
collect_due(now=dt.datetime.fromisoformat(sys.argv[1]))
"""


def test_a_process_killed_after_stripe_has_charged_does_not_charge_again(desk: Desk, settings):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    told = {"STRIPE_API_KEY": settings.STRIPE_API_KEY, "STRIPE_API_BASE": desk.stripe.url}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_PROCESS, desk.now.isoformat(), connection.settings_dict["NAME"]],
        env={**os.environ, **told, "DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (ended.returncode, desk.charges_of(invoice.customer)) == (-9, [4900])
    assert StripeCall.objects.get(step="pay-1").state == "intent"
    desk.quiesce()
    assert outcome(desk, invoice) == (1, ["paid"], "paid", "done", [4900])


def test_sweeps_at_the_same_time_in_a_storm_charge_once(desk: Desk, sessions: Sessions):
    customer = desk.acme_with_card()
    invoices = [desk.invoice(customer, 1000 + place) for place in range(4)]
    desk.stripe.faults.draw_from(5, 0.3)
    for _ in range(3):
        Collection.objects.update(not_before=NOON)
        sessions.all([lambda: collect_due(now=desk.now)] * 3)
    desk.quiesce()
    assert [status_of(invoice) for invoice in invoices] == ["paid"] * 4
    assert sorted(desk.charges_of(customer)) == [1000, 1001, 1002, 1003]
