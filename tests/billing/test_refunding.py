"""From a credit note to Stripe: invoices that are lowered there, and money that goes back, or cannot."""

import datetime as dt

import pytest

from billing.bringing_home import CannotBe, NotOurs
from billing.collecting import collect_due
from billing.credit_notes import To, credit_note
from billing.creditable import still_due
from billing.finalizing import void_invoice
from billing.models import Collection, CreditNote, Invoice, StripeCall, StripeEvent
from billing.refunding import bring_refund_home, refund_due
from tests.billing.books import balance
from tests.billing.stripe_desk import (  # noqa: F401
    Desk,
    booked,
    collection_of,
    in_its_state,
    open_desk,
    start_stripe,
    status_of,
)
from tests.cast import acme
from tests.metering.conftest import Sessions

pytestmark = pytest.mark.usefixtures("committed", "money_is_right")

GONE = "the refund has failed: expired_or_canceled_card"


def credited(desk: Desk, invoice: Invoice, amount: int | None = None, *, to: To = "credit") -> CreditNote:
    return credit_note(invoice, reason="was wrong", amount=amount, to=to, now=desk.now)


def paid(desk: Desk, *amounts: int, card: str = "pm_card_visa") -> Invoice:
    """An invoice that Stripe has charged, as we know."""
    invoice = desk.invoice(desk.acme_with_card(card), *amounts)
    desk.collect()
    desk.deliver()
    assert status_of(invoice) == "paid"
    return invoice


def again(note: CreditNote) -> CreditNote:
    return CreditNote.objects.get(pk=note.pk)


def money() -> dict[str, int]:
    """Debits less credits of Acme's accounts that are not even."""
    kinds = ("receivable", "revenue", "cash", "credit", "refund", "carried")
    return {kind: balance(acme(), kind) for kind in kinds if balance(acme(), kind)}


# Taken off what is due


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


# Given back


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
