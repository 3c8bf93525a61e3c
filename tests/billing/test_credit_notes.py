"""What a credit note takes back, how it is divided, and where the money goes."""

import datetime as dt
from collections.abc import Sequence

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from billing.credit_notes import InvalidCredit, NotCreditable, To, credit_note
from billing.creditable import left_to_credit, net_of_deductions, refundable, still_due
from billing.finalizing import void_invoice
from billing.models import CreditNote, CreditNoteLine, Invoice
from tests.billing.books import balance
from tests.billing.drafts import a_draft, a_paid_invoice, an_invoice, vat
from tests.billing.purse import again, billed_once, bought, left, pay, prepaid, present, state
from tests.billing.stripe_desk import booked, status_of
from tests.cast import NOON, acme, bolt
from tests.undoing import undone

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("money_is_right")]


@pytest.fixture(autouse=True)
def fixed(settings: Settings) -> None:
    settings.TAX = "fixed"


def credited(
    invoice: Invoice,
    *amounts: int,
    amount: int | None = None,
    to: To = "credit",
    preview: bool = False,
    now: dt.datetime = NOON,
) -> CreditNote:
    """A note of so much of each line (none: of all that is left)."""
    lines = [(line, cents) for line, cents in zip(invoice.lines.all(), amounts, strict=False) if cents]
    return credit_note(
        invoice, reason="was wrong", lines=lines if amounts else None, amount=amount, to=to, preview=preview, now=now
    )


def parts(note: CreditNote) -> tuple[int, int, int]:
    return note.net, note.tax, note.total


def ways(note: CreditNote) -> tuple[int, int, int]:
    return note.off_due, note.refunded, note.credited


# How much


def test_a_part_of_a_line_is_taken_back_with_its_share_of_the_tax() -> None:
    vat("19")
    note = credited(a_paid_invoice(1000, 500), 100, 51)
    assert parts(note) == (151, 29, 180)
    assert [(line.amount, line.tax) for line in note.lines.order_by("invoice_line__position")] == [(100, 19), (51, 10)]


def test_an_inclusive_tax_goes_back_within_the_amount() -> None:
    vat("25", inclusive=True)
    note = credited(a_paid_invoice(1000), 500)
    assert parts(note) == (500, 100, 500)
    assert booked(note) == {"net": ("revenue", "credit", 400), "tax": ("tax", "credit", 100)}


def test_without_lines_all_that_is_left_is_taken_back() -> None:
    vat("19")
    invoice = a_paid_invoice(1000, 500)
    credited(invoice, 100, 51)
    assert parts(credited(invoice)) == (1349, 256, 1605)
    with pytest.raises(NotCreditable):
        credited(invoice)


def test_an_amount_is_spread_over_what_is_left_of_the_lines() -> None:
    invoice = a_paid_invoice(1000, 500)
    credited(invoice, 400)
    note = credited(invoice, amount=100)
    assert [line.amount for line in note.lines.order_by("invoice_line__position")] == [55, 45]


def test_discounts_and_promotional_credit_lower_what_can_be_taken_back_of_each_line() -> None:
    present(350)
    invoice = a_paid_invoice(1000, 500, -150)
    assert list(left_to_credit(invoice).values()) == [667, 333, 0, 0]
    assert parts(credited(invoice)) == (1000, 0, 1000)


@pytest.mark.parametrize("amounts", [(601,), (-1,), (500, 501), (0, 0, 1)])
def test_no_line_gives_back_more_than_was_paid_for_it(amounts: Sequence[int]) -> None:
    invoice = a_paid_invoice(1200, 1000, -1100)
    assert list(left_to_credit(invoice).values()) == [600, 500, 0]
    with pytest.raises(InvalidCredit):
        credited(invoice, *amounts)


def test_a_line_gives_back_what_earlier_notes_have_left() -> None:
    invoice = a_paid_invoice(1000)
    credited(invoice, 700)
    with pytest.raises(InvalidCredit, match="at most what is left: 3.00 USD"):
        credited(invoice, 301)
    assert parts(credited(invoice, 300)) == (300, 0, 300)


def test_a_line_of_another_invoice_gives_back_nothing() -> None:
    foreign = an_invoice(1000, customer=bolt()).lines.get()
    with pytest.raises(InvalidCredit):
        credit_note(a_paid_invoice(1000), reason="x", lines=[(foreign, 1)], now=NOON)


def test_a_line_is_named_once() -> None:
    invoice = a_paid_invoice(1000)
    line = invoice.lines.get()
    with pytest.raises(InvalidCredit):
        credit_note(invoice, reason="x", lines=[(line, 1), (line, 1)], now=NOON)
    with pytest.raises(InvalidCredit):
        credit_note(invoice, reason="x", lines=[], now=NOON)


def test_amounts_are_ones_that_can_be_paid() -> None:
    invoice = a_paid_invoice(100_00, customer=acme(currency="ISK"))
    with pytest.raises(InvalidCredit, match="too fine"):
        credited(invoice, amount=150)
    assert parts(credited(invoice, amount=200)) == (200, 0, 200)


@pytest.mark.parametrize("amounts", [(-500,), (500, -500)])
def test_an_invoice_of_nothing_or_less_gives_nothing_back(amounts: Sequence[int]) -> None:
    with pytest.raises(NotCreditable):
        credited(an_invoice(*amounts))


def test_only_finalized_invoices_that_still_stand_are_credited() -> None:
    with pytest.raises(NotCreditable, match="is draft"):
        credited(a_draft(1000))
    invoice = an_invoice(1000)
    void_invoice(invoice.pk, reason="wrong", now=NOON)
    with pytest.raises(NotCreditable, match="is void"):
        credited(invoice)
    with undone(), pytest.raises(NotCreditable, match="is uncollectible"):
        given_up = an_invoice(1000)
        Invoice.objects.filter(pk=given_up.pk).update(status="uncollectible")
        credited(given_up)


AMOUNTS = st.lists(st.integers(-2_000, 5_000).filter(bool), min_size=1, max_size=5).filter(lambda them: sum(them) > 0)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(AMOUNTS, st.sampled_from(["0", "7", "19", "33.333"]), st.booleans(), st.data())
def test_all_notes_together_give_back_exactly_the_invoice(
    amounts: list[int], percent: str, inclusive: bool, data: st.DataObject
) -> None:
    with undone():
        vat(percent, inclusive=inclusive)
        invoice = a_paid_invoice(*amounts)
        while rest := sum(left_to_credit(invoice).values()):
            chosen = data.draw(st.integers(1, rest))
            note = credited(invoice, amount=chosen if invoice.credit_notes.count() < 4 else rest)
            assert note.tax >= 0
            assert min(left_to_credit(invoice).values()) >= 0
            assert note.net == sum(line.amount for line in note.lines.all())
            assert note.tax == sum(line.tax for line in note.lines.all())
        sums = invoice.credit_notes.aggregate(net=Sum("net"), tax=Sum("tax"), total=Sum("total"))
        assert sums == {"net": invoice.subtotal, "tax": invoice.tax, "total": invoice.total}
        assert (balance(acme(), "revenue"), balance(acme(), "tax")) == (0, 0)


@given(st.lists(st.integers(-1_000, 1_000)), st.sampled_from([1, 10, 100]))
def test_what_lines_can_give_back_adds_up_to_what_was_paid_for_them(amounts: list[int], unit: int) -> None:
    charged = [amount * unit for amount in amounts]
    paid_for = net_of_deductions(charged, unit=unit)
    assert sum(paid_for) == max(sum(charged), 0)
    for paid, amount in zip(paid_for, charged, strict=True):
        assert 0 <= paid <= max(amount, 0) and paid % unit == 0


# Where to


def test_an_unpaid_invoice_is_lowered() -> None:
    vat()
    invoice = an_invoice(1000)
    note = credited(invoice, 400)
    assert (ways(note), note.state, still_due(invoice)) == ((480, 0, 0), "due", 720)
    assert booked(note) == {
        "net": ("revenue", "credit", 400),
        "tax": ("tax", "credit", 80),
        "due": ("credit", "receivable", 480),
    }
    assert (balance(acme(), "receivable"), balance(acme(), "credit"), status_of(invoice)) == (720, 0, "finalized")


def test_what_takes_all_that_is_due_pays_the_invoice() -> None:
    invoice = an_invoice(1000)
    assert ways(credited(invoice, 600)) == (600, 0, 0)
    later = NOON + dt.timedelta(hours=1)
    assert ways(credited(invoice, now=later)) == (400, 0, 0)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.paid_at, invoice.amount_due, still_due(invoice)) == ("paid", later, 1000, 0)
    assert balance(acme(), "receivable") == 0


def test_what_credit_has_paid_becomes_credit_again_once_nothing_is_due() -> None:
    prepaid(600)
    invoice = an_invoice(1000)
    note = credited(invoice, to="refund")
    assert ways(note) == (400, 0, 600)
    assert (status_of(invoice), balance(acme(), "credit"), balance(acme(), "receivable")) == ("paid", -600, 0)


def test_of_a_paid_invoice_the_money_is_kept_as_credit_unless_it_is_to_be_refunded() -> None:
    vat()
    invoice = a_paid_invoice(1000)
    assert ways(credited(invoice, 100)) == (0, 0, 120)
    note = credited(invoice, 200, to="refund")
    assert (ways(note), note.state) == ((0, 240, 0), "due")
    assert booked(note)["refunding"] == ("credit", "refund", 240)
    assert (balance(acme(), "credit"), balance(acme(), "refund")) == (-120, -240)


def test_no_more_is_refunded_than_was_collected() -> None:
    present(100)
    prepaid(300)
    an_invoice(-200)
    invoice = a_paid_invoice(1000)
    assert (invoice.amount_due, refundable(invoice)) == (400, 400)
    assert ways(credited(invoice, 150, to="refund")) == (0, 150, 0)
    assert ways(credited(invoice, to="refund")) == (0, 250, 500)


def test_money_on_its_way_back_pays_no_other_invoice() -> None:
    credited(a_paid_invoice(1000), to="refund")
    assert an_invoice(500).credit_applied == 0


# Prepaid credit


def test_unused_prepaid_credit_is_taken_back_whole() -> None:
    grant = bought(1000)
    pay(grant.invoice)
    assert grant.invoice is not None
    note = credited(grant.invoice, to="refund")
    assert ways(note) == (0, 1000, 0)
    assert booked(note)["net"] == ("grant", "credit", 1000)
    assert (state(grant), left(grant), again(grant).voided_at) == ("void", 0, NOON)
    assert balance(acme(), "revenue") == 0


def test_prepaid_credit_that_was_used_is_not_taken_back() -> None:
    grant = bought(1000)
    pay(grant.invoice)
    billed_once(1)
    with pytest.raises(NotCreditable, match="while nothing of it has been used"):
        credited(Invoice.objects.get(pk=grant.invoice_id))


def test_a_part_of_prepaid_credit_is_not_taken_back() -> None:
    grant = bought(1000)
    pay(grant.invoice)
    with pytest.raises(NotCreditable, match="whole"):
        credited(Invoice.objects.get(pk=grant.invoice_id), 999)


def test_prepaid_credit_that_is_not_paid_yet_is_voided_and_not_credited() -> None:
    grant = bought(1000)
    with pytest.raises(NotCreditable, match="void it"):
        credited(Invoice.objects.get(pk=grant.invoice_id))


# The note


def test_notes_have_numbers_of_their_own_without_gaps() -> None:
    invoice = a_paid_invoice(1000)
    assert credited(invoice, 1).number == "CN-000001"
    with pytest.raises(InvalidCredit):
        credited(invoice, 1000)
    assert credited(invoice, 1, preview=True).number == ""
    assert [credited(invoice, 1).number for _ in range(2)] == ["CN-000002", "CN-000003"]
    assert an_invoice(1000).number == "INV-000002"


def test_a_preview_says_what_the_note_will_and_changes_nothing() -> None:
    vat()
    invoice = an_invoice(1000, 500)
    seen = credited(invoice, 300, preview=True)
    assert not CreditNote.objects.exists()
    assert (still_due(invoice), balance(acme(), "receivable")) == (1800, 1800)
    note = credited(invoice, 300)
    assert (parts(seen), ways(seen)) == (parts(note), ways(note))
    assert [(line.invoice_line.position, line.amount) for line in seen.lines.all()] == [(0, 300)]


def test_a_note_is_frozen_but_for_its_work_at_stripe() -> None:
    note = credited(an_invoice(1000), 300)
    CreditNote.objects.filter(pk=note.pk).update(state="done", stripe_id="cn_1", last_error="x")
    for change in ({"off_due": 299, "credited": 1}, {"reason": "other"}):
        with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
            CreditNote.objects.filter(pk=note.pk).update(**change)
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        CreditNoteLine.objects.update(tax=1)


def test_voiding_an_invoice_takes_its_notes_back_with_it() -> None:
    vat()
    saved = prepaid(200)
    invoice = an_invoice(1000)
    notes = [credited(invoice, 100), credited(invoice, 250)]
    void_invoice(invoice.pk, reason="wrong", now=NOON)
    for kind in ("receivable", "revenue", "tax", "credit"):
        assert balance(acme(), kind) == 0
    assert left(saved) == 200
    assert booked(notes[0])["due:void"] == ("receivable", "credit", 120)
    assert set(CreditNote.objects.values_list("state", flat=True)) == {"done"}
