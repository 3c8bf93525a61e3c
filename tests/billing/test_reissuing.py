"""A wrong invoice is void, and the right one in its place bills the same periods once."""

import datetime as dt
from decimal import Decimal
from functools import partial

import pytest

from billing.changing import make_change
from billing.editing import add_discount, add_line
from billing.fee_lines import SHOWN
from billing.finalizing import InvoiceNotVoidable, finalize_invoice
from billing.models import Invoice, InvoiceKind, LineKind
from billing.one_off import OneOff, draft_one_off
from billing.reissuing import reissue
from metering.corrections import void_event
from plans.changing import change_plan
from plans.models import Customer
from tests.billing.books import (
    DEC_2,
    GRACE,
    JAN_2,
    all_billed,
    assert_books_balance,
    billed,
    conversation,
    conversations,
    happened,
    lines_of,
)
from tests.billing.discounts import a_coupon, assert_bills_hold, redeemed
from tests.cast import NOON, a_plan, acme, subscribed

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE
FIFTEEN_DAYS = dt.timedelta(days=15)


@pytest.fixture
def customer() -> Customer:
    """Acme in December: 49.00 billed for November, then 49.00 and two enterprise conversations."""
    subscribed(acme(), a_plan())
    happened(*conversations(2, tier="enterprise"), now=NOON)
    billed(DUE)
    return acme()


def cycle() -> Invoice:
    return Invoice.objects.get(kind=InvoiceKind.CYCLE, period_index=0, reissue_of=None)


def again(invoice: Invoice, *, now=DUE) -> Invoice:
    return reissue(invoice.pk, reason="a wrong address", now=now)


def test_the_void_invoice_says_why_and_the_draft_whose_place_it_takes(customer: Customer) -> None:
    draft = again(cycle())
    old = cycle()
    assert (old.status, old.void_reason) == ("void", "a wrong address")
    assert (draft.status, draft.reissue_of, draft.kind, draft.ordinal) == ("draft", old, "cycle", 1)
    assert lines_of(draft) == lines_of(old)
    assert_bills_hold(DUE)
    assert (draft.period_start, draft.period_end) == (old.period_start, old.period_end)


def test_what_was_reissued_is_billed_once(customer: Customer) -> None:
    finalize_invoice(again(cycle()).pk, now=DUE)
    assert all_billed(customer) == 4900 + 4900 + 100
    assert_bills_hold(DUE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]
    assert_bills_hold(JAN_2 + GRACE)
    assert_books_balance()


def test_the_new_draft_bills_what_is_counted_today(customer: Customer) -> None:
    void_event(customer, "c-enterprise-0-1", reason="test traffic", now=DUE)
    happened(conversation("late", tier="complex"), now=DUE)
    draft = again(cycle())
    assert lines_of(draft) == [("base_fee", "", 4900), ("usage", "complex", 15), ("usage", "enterprise", 50)]
    finalize_invoice(draft.pk, now=DUE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]


def test_a_start_invoice_is_reissued(customer: Customer) -> None:
    start = Invoice.objects.get(kind=InvoiceKind.START)
    draft = again(start)
    assert lines_of(draft) == [("base_fee", "", 4900)]
    finalize_invoice(draft.pk, now=DUE)
    assert all_billed(customer) == 4900 + 4900 + 100


def test_a_reissued_invoice_can_be_reissued(customer: Customer) -> None:
    second = finalize_invoice(again(cycle()).pk, now=DUE)
    third = again(second)
    assert (third.reissue_of, third.ordinal) == (second, 2)
    finalize_invoice(third.pk, now=DUE)
    assert all_billed(customer) == 4900 + 4900 + 100


def test_a_coupons_discount_is_taken_again(settings) -> None:
    subscription = subscribed(acme(), a_plan())
    redeemed(a_coupon(percent="50", duration="forever"), subscription)
    happened(*conversations(2, tier="enterprise"), now=NOON)
    billed(DUE)
    old = lines_of(cycle())
    finalize_invoice(again(cycle()).pk, now=DUE)
    assert sorted(lines_of(Invoice.objects.get(reissue_of=cycle()))) == sorted(old)
    assert all_billed(acme()) == (4900 + 4900 + 100) / 2
    assert_bills_hold(DUE)


def test_manual_lines_and_discounts_are_copied_as_they_were_promised(settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    happened(*conversations(2, tier="enterprise"), now=NOON)
    billed(DUE)
    line = add_line(cycle().pk, description="Set-up", quantity=2, unit_amount=Decimal("5.00"), now=DUE)
    usage = cycle().lines.get(kind=LineKind.USAGE)
    for line_id, percent in ((line.pk, "50"), (usage.pk, "10"), (None, "10")):
        add_discount(cycle().pk, description=percent, percent=Decimal(percent), line_id=line_id, now=DUE)
    finalize_invoice(cycle().pk, now=DUE)
    happened(conversation("late", tier="enterprise"), now=DUE)
    draft = again(cycle())
    assert lines_of(cycle())[2:] == [("one_off", "", 1000), *discounts(-500, -10, -549)]
    assert lines_of(draft)[1:] == [("usage", "enterprise", 150), ("one_off", "", 1000), *discounts(-500, -15, -554)]
    finalize_invoice(draft.pk, now=DUE)
    assert_books_balance()


def discounts(*amounts: int) -> list[tuple[str, str, int]]:
    return [("discount", "", amount) for amount in amounts]


def test_a_discount_on_a_line_that_has_gone_is_gone_too(settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    happened(conversation("wrong", tier="enterprise"), now=NOON)
    billed(DUE)
    usage = cycle().lines.get(kind=LineKind.USAGE)
    add_discount(cycle().pk, description="Sorry", amount=Decimal("0.20"), line_id=usage.pk, now=DUE)
    finalize_invoice(cycle().pk, now=DUE)
    void_event(acme(), "wrong-1", reason="test traffic", now=DUE)
    assert lines_of(again(cycle())) == [("base_fee", "", 4900)]


def test_a_fee_whose_plan_was_changed_within_its_period_is_reissued_as_it_was() -> None:
    subscription, scale = subscribed(acme(), a_plan()), a_plan("scale", base_fee="199").versions.get()
    (start,) = billed(NOON)
    change = partial(change_plan, version=scale, when="now", now=NOON + FIFTEEN_DAYS)
    make_change(subscription.pk, change, now=NOON + FIFTEEN_DAYS, preview=False, show=lambda _, invoices: None)
    draft = again(start, now=NOON + FIFTEEN_DAYS)
    (fee,), (as_it_was,) = draft.lines.all(), start.lines.all()
    assert all(getattr(fee, name) == getattr(as_it_was, name) for name in (*SHOWN, "amount"))
    finalize_invoice(draft.pk, now=NOON + FIFTEEN_DAYS)
    assert_bills_hold(NOON + FIFTEEN_DAYS)


def test_a_one_off_is_reissued_line_by_line() -> None:
    old = draft_one_off(acme(), [OneOff("Set-up", 2, Decimal("125.00"))], now=NOON, finalize=True)
    draft = again(old)
    assert (lines_of(draft), draft.reissue_of, draft.subtotal) == (lines_of(old), old, 25000)
    finalize_invoice(draft.pk, now=DUE)
    assert all_billed(acme()) == 25000
    assert_books_balance()


def test_only_what_can_be_voided_is_reissued(customer: Customer) -> None:
    draft = again(cycle())
    for invoice in (draft, cycle()):
        with pytest.raises(InvoiceNotVoidable):
            again(invoice)
    assert Invoice.objects.filter(reissue_of=cycle()).count() == 1


# Over REST


def test_voiding_with_a_reissue_over_rest(caller, customer: Customer) -> None:
    answer = caller("manage").post(f"/v1/invoices/{cycle().pk}/void", {"reason": "a typo", "reissue": True}).json()
    assert (answer["status"], answer["void_reason"]) == ("void", "a typo")
    draft = caller("read").get(f"/v1/invoices/{answer['reissued_as']}").json()
    assert (draft["status"], draft["reissue_of"], draft["subtotal"]) == ("draft", answer["id"], "50.00")


def test_voiding_alone_makes_no_draft(caller, customer: Customer) -> None:
    answer = caller("manage").post(f"/v1/invoices/{cycle().pk}/void", b"").json()
    assert (answer["status"], answer["void_reason"], answer["reissued_as"]) == ("void", None, None)
