"""Whatever goes wrong between us and Stripe while money is given back: it is given back once, and the books say so.

The faults are all that the stand-in knows, at each operation the way of a credit note uses; after them, sweeps run
while time passes. Webhooks are lost throughout.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from billing.credit_notes import credit_note
from billing.models import CreditNote, Invoice, StripeCall
from billing.refunding import LEASE, refund_due
from plans.customers import create_customer
from plans.models import Customer
from sandbox.stripe_faults import FAULTS
from tests.billing.books import balance
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

pytestmark = pytest.mark.usefixtures("committed", "money_is_right")

REFUND = "POST /v1/refunds"
LOOK_AT_REFUND = "GET /v1/refunds/{refund}"
LIST_PAYMENTS = "GET /v1/invoice_payments"
LOWER = "POST /v1/credit_notes"
LOOK = "GET /v1/invoices/{invoice}"
EVERY_FAULT = sorted(FAULTS)


def refunding(desk: Desk, customer: Customer, cents: int = 900) -> CreditNote:
    """A note that is to send so much of 49.00 back."""
    desk.put_card_on_file(customer)
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    desk.deliver()
    return credit_note(invoice, reason="was wrong", amount=cents, to="refund", now=desk.now)


def lowering(desk: Desk, customer: Customer) -> CreditNote:
    """A note that takes 9.00 off an open invoice of 49.00."""
    invoice = desk.invoice(customer, 4900)
    desk.collect()
    return credit_note(invoice, reason="was wrong", amount=900, now=desk.now)


def refunded(desk: Desk, note: CreditNote) -> tuple[object, ...]:
    """What became of a note that refunds: there, here, and in the ledger."""
    note = CreditNote.objects.select_related("customer").get(pk=note.pk)
    accounts = tuple(balance(note.customer, kind) for kind in ("cash", "refund", "credit"))
    return desk.refunded_to(note.customer), note.refund_status, accounts


def lowered(desk: Desk, note: CreditNote) -> tuple[object, ...]:
    """What became of a note that lowers: its invoice there, Stripe's notes on it, and ours."""
    note = CreditNote.objects.select_related("invoice").get(pk=note.pk)
    stripe_id = collection_of(note.invoice).stripe_invoice_id or ""
    notes = desk.client.v1.credit_notes.list({"invoice": stripe_id}).data
    return desk.at_stripe(note.invoice).amount_remaining, [found.amount for found in notes], note.state


def a_customer(fault: str) -> Customer:
    return create_customer(key=fault, name=fault, currency="USD", now=NOON)


ARRIVED = (900, "succeeded", (4000, 0, 0))
LOWERED = (4000, [900], "done")


@pytest.mark.parametrize("operation", [REFUND, LOOK_AT_REFUND, LIST_PAYMENTS])
def test_money_is_refunded_once_whatever_fault_strikes(desk: Desk, operation: str) -> None:
    notes = {}
    for fault in EVERY_FAULT:
        notes[fault] = refunding(desk, a_customer(fault))
        desk.stripe.faults.plan(operation, fault, seconds=0.05)
        refund_due(now=desk.now)
    desk.quiesce()
    assert [fault for _, fault in desk.stripe.faults.happened[-len(EVERY_FAULT) :]] == EVERY_FAULT
    outcomes = {fault: refunded(desk, note) for fault, note in notes.items()}
    assert outcomes == dict.fromkeys(EVERY_FAULT, ARRIVED)


@pytest.mark.parametrize("operation", [LOWER, LOOK])
def test_an_invoice_is_lowered_once_whatever_fault_strikes(desk: Desk, operation: str) -> None:
    notes = {}
    for fault in EVERY_FAULT:
        notes[fault] = lowering(desk, a_customer(fault))
        desk.stripe.faults.plan(operation, fault, seconds=0.05)
        refund_due(now=desk.now)
    desk.quiesce()
    outcomes = {fault: lowered(desk, note) for fault, note in notes.items()}
    assert outcomes == dict.fromkeys(EVERY_FAULT, LOWERED)


def test_an_invoice_lowered_on_its_way_is_charged_once_and_not_too_much(desk: Desk) -> None:
    for fault in EVERY_FAULT:
        customer = a_customer(fault)
        desk.put_card_on_file(customer)
        credit_note(desk.invoice(customer, 4900), reason="was wrong", amount=900, now=desk.now)
        desk.stripe.faults.plan(LOWER, fault, seconds=0.05)
        desk.collect()
    desk.quiesce()
    for fault in EVERY_FAULT:
        customer = Customer.objects.get(key=fault)
        assert (desk.charges_of(customer), balance(customer, "credit")) == ([4000], 0), fault


@pytest.mark.parametrize("seed", range(2))
def test_through_a_storm_of_faults_every_note_gives_back_once(desk: Desk, seed: int) -> None:
    notes = [refunding(desk, a_customer(f"c{place}"), 900 + place) for place in range(4)]
    desk.stripe.faults.draw_from(seed, 0.5)
    for _ in range(8):
        desk.give_back()
        desk.pass_time(minutes=7)
    desk.quiesce()
    assert [refunded(desk, note)[0] for note in notes] == [900, 901, 902, 903]
    assert [refunded(desk, note)[2] for note in notes] == [(4900 - 900 - place, 0, 0) for place in range(4)]


@pytest.mark.parametrize("days", [1.1, 6])
def test_an_unknown_refund_is_looked_up_after_its_key_is_forgotten(desk: Desk, days: float) -> None:
    note = refunding(desk, acme())
    desk.stripe.faults.plan(REFUND, "ok-then-reset")
    refund_due(now=desk.now)
    assert StripeCall.objects.get(step="refund").state == "intent"
    desk.pass_time(days=days)
    desk.quiesce()
    assert refunded(desk, note) == ARRIVED


@pytest.mark.parametrize("days", [1.1, 6])
def test_an_unknown_note_at_stripe_is_looked_up_after_its_key_is_forgotten(desk: Desk, days: float) -> None:
    note = lowering(desk, acme())
    desk.stripe.faults.plan(LOWER, "ok-then-reset")
    refund_due(now=desk.now)
    desk.pass_time(days=days)
    desk.quiesce()
    assert lowered(desk, note) == LOWERED


def test_a_500_stored_under_the_key_is_not_taken_for_not_refunded(desk: Desk) -> None:
    note = refunding(desk, acme())
    desk.stripe.faults.plan(REFUND, "ok-but-500-stored")
    refund_due(now=desk.now)
    desk.pass_time(seconds=10)
    desk.give_back()
    assert refunded(desk, note) == ARRIVED


def test_a_list_that_does_not_show_the_refund_yet_makes_no_second_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = refunding(desk, acme())
    desk.stripe.faults.plan(REFUND, "list-lags")
    with monkeypatch.context() as patch:
        kill_at(patch, 1, done=True)
        with pytest.raises(Killed):
            refund_due(now=desk.now)
    CreditNote.objects.update(not_before=desk.now)
    refund_due(now=desk.now)
    desk.quiesce()
    assert refunded(desk, note) == ARRIVED


@pytest.mark.parametrize("done", [False, True], ids=["before it is sent", "before the outcome is recorded"])
@pytest.mark.parametrize("make", [refunding, lowering])
def test_a_sweep_that_is_killed_is_made_up_for_by_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, make, done: bool
) -> None:
    note = make(desk, acme())
    with monkeypatch.context() as patch:
        kill_at(patch, 1, done=done)
        with pytest.raises(Killed):
            refund_due(now=desk.now)
    assert StripeCall.objects.get(state="intent").attempts == 1
    desk.pass_time(seconds=LEASE.total_seconds() + 1)
    desk.quiesce()
    assert (refunded(desk, note) if make is refunding else lowered(desk, note)) == (
        ARRIVED if make is refunding else LOWERED
    )


KILLED_PROCESS = """
import datetime as dt, os, sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[2]
django.setup()
import stripe
from billing.refunding import refund_due
request = stripe.RequestsClient.request
def deadly(self, method, url, *args):
    answer = request(self, method, url, *args)
    if method == "post" and url.endswith("/refunds"):
        os.kill(os.getpid(), 9)
    return answer
stripe.RequestsClient.request = deadly
refund_due(now=dt.datetime.fromisoformat(sys.argv[1]))
"""


def test_a_process_killed_after_stripe_has_refunded_does_not_refund_again(desk: Desk, settings) -> None:
    note = refunding(desk, acme())
    told = {"STRIPE_API_KEY": settings.STRIPE_API_KEY, "STRIPE_API_BASE": desk.stripe.url}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_PROCESS, desk.now.isoformat(), connection.settings_dict["NAME"]],
        env={**os.environ, **told, "DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (ended.returncode, desk.refunded_to(acme())) == (-9, 900)
    assert StripeCall.objects.get(step="refund").state == "intent"
    desk.quiesce()
    assert refunded(desk, note) == ARRIVED


def test_sweeps_at_the_same_time_in_a_storm_refund_once(desk: Desk, sessions: Sessions) -> None:
    notes = [refunding(desk, a_customer(f"c{place}"), 900 + place) for place in range(4)]
    desk.stripe.faults.draw_from(5, 0.3)
    for _ in range(3):
        CreditNote.objects.filter(state="due").update(not_before=NOON)
        sessions.all([lambda: refund_due(now=desk.now)] * 3)
    desk.quiesce()
    assert [refunded(desk, note)[0] for note in notes] == [900, 901, 902, 903]


def test_an_invoice_whose_notes_wait_is_never_charged_too_much_in_a_storm(desk: Desk, sessions: Sessions) -> None:
    customer = desk.acme_with_card()
    invoices: list[Invoice] = [desk.invoice(customer, 4900) for _ in range(4)]
    for invoice in invoices:
        credit_note(invoice, reason="was wrong", amount=900, now=desk.now)
    desk.stripe.faults.draw_from(3, 0.3)
    for _ in range(6):
        sessions.all([desk.collect, desk.give_back, desk.collect])
        desk.pass_time(minutes=7)
    desk.quiesce()
    assert [status_of(invoice) for invoice in invoices] == ["paid"] * 4
    assert desk.charges_of(customer) == [4000] * 4
    assert (balance(customer, "credit"), balance(customer, "receivable")) == (0, 0)
