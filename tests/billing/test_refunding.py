"""Money that a credit note gives back: it goes to Stripe, arrives, or cannot and becomes credit."""

import datetime as dt

import pytest

from billing.bringing_home import CannotBe, NotOurs
from billing.collecting import collect_due
from billing.models import Collection, CreditNote, StripeCall, StripeEvent
from billing.refunding import bring_refund_home, refund_due
from tests.billing.credited import again, credited, money, paid
from tests.billing.stripe_desk import Desk, booked, open_desk, start_stripe  # noqa: F401
from tests.cast import acme
from tests.metering.conftest import Sessions

pytestmark = pytest.mark.usefixtures("committed", "money_is_right")

GONE = "the refund has failed: expired_or_canceled_card"


def test_a_refund_arrives_and_the_ledger_books_it(desk: Desk) -> None:
    invoice = paid(desk, 4900)
    note = credited(desk, invoice, 900, to="refund")
    assert money() == {"revenue": -4000, "cash": 4900, "refund": -900}
    desk.give_back()
    assert (desk.refunded_to(acme()), again(note).refund_status) == (900, "succeeded")
    assert booked(note)["refunded"] == ("refund", "cash", 900)
    assert money() == {"revenue": -4000, "cash": 4000}


def test_several_notes_refund_the_whole_payment_and_no_more(desk: Desk) -> None:
    invoice = paid(desk, 4900)
    notes = [credited(desk, invoice, amount, to="refund") for amount in (900, 1000, None)]
    desk.give_back()
    assert [note.refunded for note in notes] == [900, 1000, 3000]
    assert (desk.refunded_to(acme()), money()) == (4900, {})


def test_a_pending_refund_is_on_its_way_until_stripe_says_it_has_arrived(desk: Desk) -> None:
    note = credited(desk, paid(desk, 4900, card="pm_card_pendingRefund"), 900, to="refund")
    desk.give_back()
    assert (again(note).refund_status, money()["refund"]) == ("pending", -900)
    desk.pass_time(minutes=2)
    desk.deliver()
    assert (again(note).refund_status, money()) == ("succeeded", {"revenue": -4000, "cash": 4000})


def test_a_lost_webhook_of_a_refund_is_made_up_for_by_a_look(desk: Desk) -> None:
    note = credited(desk, paid(desk, 4900, card="pm_card_pendingRefund"), 900, to="refund")
    desk.give_back()
    desk.pass_time(hours=1.1)
    desk.give_back()
    assert again(note).refund_status == "succeeded"


@pytest.mark.parametrize("webhooks_arrive", [True, False])
def test_a_refund_that_fails_after_it_had_succeeded_becomes_credit(desk: Desk, webhooks_arrive: bool) -> None:
    note = credited(desk, paid(desk, 4900, card="pm_card_refundFail"), 900, to="refund")
    desk.give_back()
    assert again(note).refund_status == "succeeded"
    desk.pass_time(days=1.1)
    desk.deliver() if webhooks_arrive else desk.give_back()
    assert (again(note).refund_status, again(note).state, again(note).last_error) == ("failed", "done", GONE)
    assert (booked(note)["returned"], booked(note)["kept"]) == (("cash", "refund", 900), ("refund", "credit", 900))
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}


def test_a_refund_that_fails_at_once_becomes_credit(desk: Desk) -> None:
    desk.stripe.refunds_are_born("failed")
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    desk.give_back()
    assert (again(note).refund_status, again(note).last_error) == ("failed", GONE)
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}
    desk.quiesce()
    desk.deliver()
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}


def test_what_failed_is_refunded_by_another_note(desk: Desk) -> None:
    desk.stripe.refunds_are_born("failed")
    invoice = paid(desk, 4900)
    credited(desk, invoice, 900, to="refund")
    desk.give_back()
    assert credited(desk, invoice, to="refund").refunded == 4000
    desk.give_back()
    assert (desk.refunded_to(acme()), money()) == (4000, {"cash": 900, "credit": -900})


def test_what_was_paid_outside_of_stripe_becomes_credit(desk: Desk) -> None:
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    desk.client.v1.invoices.pay(desk.at_stripe(invoice).id, {"paid_out_of_band": True})
    desk.deliver()
    note = credited(desk, invoice, to="refund")
    desk.give_back()
    assert (again(note).refund_status, "was not paid through Stripe" in again(note).last_error) == ("failed", True)
    assert money() == {"cash": 4900, "credit": -4900}


def test_what_stripe_refuses_to_refund_becomes_credit(desk: Desk) -> None:
    invoice = paid(desk, 4900)
    (charge,) = desk.client.v1.charges.list({"customer": desk.at_stripe(invoice).customer}).data
    desk.client.v1.refunds.create({"charge": charge.id})
    note = credited(desk, invoice, 900, to="refund")
    desk.give_back()
    assert (again(note).state, "already been refunded" in again(note).last_error) == ("done", True)
    assert money()["credit"] == -900


def test_a_refund_is_looked_at_daily_for_a_month(desk: Desk) -> None:
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    desk.give_back()
    looks = []
    for _ in range(32):
        desk.pass_time(days=1, minutes=1)
        looks.append(refund_due(now=desk.now))
    assert (looks[:30], looks[30:], again(note).state) == ([1] * 30, [0, 0], "done")


def test_a_refund_that_is_not_ours_is_left_alone(desk: Desk) -> None:
    invoice = paid(desk, 4900)
    (charge,) = desk.client.v1.charges.list({"customer": desk.at_stripe(invoice).customer}).data
    for named in ({}, {"parley_credit_note": "x"}, {"parley_credit_note": str(invoice.pk)}):
        foreign = desk.client.v1.refunds.create({"charge": charge.id, "amount": 1, "metadata": named})
        with pytest.raises(NotOurs):
            bring_refund_home(desk.client, foreign.id, now=desk.now)
    desk.deliver()
    assert not StripeEvent.objects.filter(state="parked").exists()


def test_a_refund_that_names_our_note_and_is_another_changes_nothing(desk: Desk) -> None:
    invoice = paid(desk, 4900)
    note = credited(desk, invoice, 900, to="refund")
    (charge,) = desk.client.v1.charges.list({"customer": desk.at_stripe(invoice).customer}).data
    named = {"metadata": {"parley_credit_note": str(note.pk)}, "charge": charge.id}
    wrong = desk.client.v1.refunds.create({**named, "amount": 1})
    with pytest.raises(CannotBe):
        bring_refund_home(desk.client, wrong.id, now=desk.now)
    CreditNote.objects.update(refund_id="re_other")
    twin = desk.client.v1.refunds.create({**named, "amount": 900})
    with pytest.raises(NotOurs):
        bring_refund_home(desk.client, twin.id, now=desk.now)
    assert money()["refund"] == -900


def test_bringing_a_refund_home_in_any_order_and_often_books_it_once(desk: Desk, sessions: Sessions) -> None:
    desk.stripe.refunds_are_born("pending")
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    desk.give_back()
    refund_id = again(note).refund_id
    desk.stripe.move_refund(refund_id, "succeeded")
    desk.stripe.move_refund(refund_id, "failed")
    desk.deliver(copies=3, seed=7)
    now = desk.now
    sessions.all([lambda: bring_refund_home(desk.client, refund_id, now=now)] * 8)
    assert money() == {"revenue": -4000, "cash": 4900, "credit": -900}
    assert sorted(booked(note)) == ["kept", "net", "refunding"]


def test_an_older_look_at_a_refund_does_not_undo_a_newer_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.stripe.refunds_are_born("pending")
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    desk.give_back()
    refunds = type(desk.client.v1.refunds)
    retrieve = refunds.retrieve

    def slow(self, *args):
        found = retrieve(self, *args)
        monkeypatch.undo()
        desk.stripe.move_refund(again(note).refund_id, "succeeded")
        bring_refund_home(desk.client, again(note).refund_id, now=desk.now)
        return found

    monkeypatch.setattr(refunds, "retrieve", slow)
    bring_refund_home(desk.client, again(note).refund_id, now=desk.now)
    assert again(note).refund_status == "succeeded"


def test_sweeps_that_do_not_know_of_each_other_refund_once(desk: Desk, sessions: Sessions) -> None:
    invoice = paid(desk, 4900)
    credited(desk, invoice, 900, to="refund")
    start = desk.now
    sweeps = [lambda n=n: refund_due(now=start + n * dt.timedelta(minutes=6)) for n in range(4)]
    sessions.all(sweeps)
    desk.quiesce()
    assert (desk.refunded_to(acme()), money()) == (900, {"revenue": -4000, "cash": 4000})


def test_days_without_stripe_only_delay_a_refund(desk: Desk, settings) -> None:
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    settings.STRIPE_API_KEY = "rk_live_wrong"
    desk.give_back()
    assert (again(note).state, again(note).attempts) == ("due", 1)
    settings.STRIPE_API_KEY = "sk_test_parley"
    desk.quiesce()
    assert desk.refunded_to(acme()) == 900


def test_calls_for_a_note_are_named_for_it(desk: Desk) -> None:
    note = credited(desk, paid(desk, 4900), 900, to="refund")
    desk.give_back()
    (call,) = StripeCall.objects.filter(credit_note=note)
    assert (call.idempotency_key, call.invoice, call.stripe_id) == (
        f"credit_note:{note.pk}:refund",
        None,
        again(note).refund_id,
    )


def test_nothing_is_asked_of_stripe_for_a_note_that_only_gives_credit(desk: Desk) -> None:
    note = credited(desk, paid(desk, 4900), 900)
    assert (note.state, refund_due(now=desk.now)) == ("done", 0)
    assert collect_due(now=desk.now) == 0 and Collection.objects.count() == 1
