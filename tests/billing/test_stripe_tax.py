"""Tax by Stripe: a draft waits for it, and what was taken and given back is told to Stripe."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from billing.credit_notes import credit_note
from billing.editing import add_line
from billing.finalizing import finalize_invoice, void_invoice
from billing.models import Invoice, StripeCall
from billing.stripe_tax import Answer, estimate, finalize_due
from billing.stripe_tax_records import record_due
from plans.customers import change_customer
from tests.billing.books import balance
from tests.billing.drafts import a_draft
from tests.billing.purse import bought, prepaid, present
from tests.billing.stripe_desk import Desk, booked, in_its_state, open_desk, start_stripe  # noqa: F401
from tests.billing.taxed import (  # noqa: F401
    again,
    asked_for,
    by_stripe,
    calculations,
    german,
    recorded,
    taxed,
)

pytestmark = pytest.mark.usefixtures("committed", "money_is_right", "by_stripe")


# Before it is finalized


def test_a_draft_waits_until_stripe_has_taxed_it(desk: Desk) -> None:
    draft = a_draft(1000, customer=german())
    waiting = finalize_invoice(draft.pk, now=desk.now)
    assert (waiting.status, waiting.number, waiting.finalize_at) == ("draft", None, desk_time(waiting))
    desk.tax()
    invoice = again(draft)
    assert (taxed(invoice), invoice.status, invoice.amount_due) == ((1000, 190, 1190), "finalized", 1190)
    assert (invoice.tax_name, invoice.tax_percent, invoice.finalize_at) == ("VAT", 19, None)
    assert invoice.tax_reference.startswith("taxcalc_")
    assert booked(invoice) == {"total": ("receivable", "revenue", 1000), "tax": ("receivable", "tax", 190)}


def desk_time(invoice: Invoice) -> dt.datetime | None:
    return again(invoice).finalize_at


def test_the_sweep_leaves_drafts_alone_that_nobody_wants_finalized(desk: Desk) -> None:
    a_draft(1000, customer=german())
    assert finalize_due(now=desk.now) == 0


def test_at_stripe_the_tax_is_one_more_line_and_is_paid(desk: Desk) -> None:
    customer = german()
    desk.put_card_on_file(customer)
    invoice = asked_for(desk, 1000, 500)
    desk.collect()
    desk.deliver()
    lines = [(line.description, line.amount) for line in desk.at_stripe(invoice).lines.data]
    assert lines == [("Line 0", 1000), ("Line 1", 500), ("VAT 19 %", 285)]
    assert (in_its_state(invoice), desk.charges_of(customer)) == (("paid", "done", "paid"), [1785])


def test_credit_of_all_kinds_is_applied_around_the_tax_and_stripe_asks_for_the_same(desk: Desk) -> None:
    customer = german()
    present(400, customer)
    prepaid(300, customer)
    asked_for(desk, -100)
    invoice = asked_for(desk, 1000)
    assert taxed(invoice) == (600, 114, 714)
    assert (invoice.prepaid_applied, invoice.credit_applied, invoice.amount_due) == (300, 119, 295)
    desk.collect()
    assert [line.amount for line in desk.at_stripe(invoice).lines.data] == [1000, -400, 114, -300, -119]


@pytest.mark.parametrize(
    ("fields", "tax", "name"),
    [
        ({"country": "FR"}, 200, "VAT"),
        ({"country": "AU"}, 100, "GST"),
        ({"country": "BR"}, 0, ""),
        ({"tax_exempt": "exempt"}, 0, ""),
        ({"tax_exempt": "reverse"}, 0, "Reverse charge"),
    ],
)
def test_where_the_customer_is_and_whether_it_is_exempt_decides(
    desk: Desk, fields: dict[str, str], tax: int, name: str
) -> None:
    invoice = asked_for(desk, 1000, customer=german(**fields))
    assert (invoice.tax, invoice.tax_name, invoice.status) == (tax, name, "finalized")
    desk.tax()
    assert recorded(desk)[str(invoice)] == (1000, tax)


def test_a_more_precise_address_at_stripe_goes_before_our_country(desk: Desk) -> None:
    customer = german(country="US")
    desk.put_card_on_file(customer)
    (there,) = desk.stripe_customers_of(customer)
    desk.stripe.tax({"US": "8.875"})
    desk.client.v1.customers.update(there.id, {"address": {"country": "US", "postal_code": "10001"}})
    invoice = asked_for(desk, 1000)
    desk.stripe.tax({"US": None})
    assert (invoice.tax, invoice.tax_name) == (89, "Sales tax")


def test_a_customer_that_is_nowhere_is_taxed_once_somebody_says_where_it_is(desk: Desk) -> None:
    customer = german(country="")
    draft = asked_for(desk, 1000)
    assert draft.status == "draft"
    assert StripeCall.objects.get(step="calculate").state == "refused"
    change_customer(customer, country="DE")
    desk.pass_time(hours=1.1)
    desk.tax()
    assert taxed(again(draft)) == (1000, 190, 1190)


def test_what_stripe_refused_is_asked_again_every_hour(desk: Desk) -> None:
    customer = german(country="US")
    draft = asked_for(desk, 1000)
    desk.pass_time(hours=1.1)
    desk.tax()
    assert StripeCall.objects.filter(step="calculate", state="refused").count() == 2
    (there,) = desk.stripe_customers_of(customer)
    desk.client.v1.customers.update(there.id, {"address": {"country": "DE"}})
    finalize_invoice(draft.pk, now=desk.now)
    desk.tax()
    assert again(draft).status == "finalized"


def test_a_draft_that_changes_after_the_answer_is_asked_about_again(desk: Desk, monkeypatch: Any) -> None:
    draft = a_draft(1000, customer=german())
    finalize_invoice(draft.pk, now=desk.now)
    calculated = type(desk.client.v1.tax.calculations)
    retrieve = calculated.retrieve

    def and_a_line_is_added(self: Any, *args: Any) -> Any:
        monkeypatch.undo()
        add_line(draft.pk, description="More", quantity=1, unit_amount=Decimal(500), now=desk.now)
        return retrieve(self, *args)

    monkeypatch.setattr(calculated, "retrieve", and_a_line_is_added)
    before = calculations(desk)
    desk.tax()
    assert (taxed(again(draft)), calculations(desk) - before) == ((51000, 9690, 60690), 2)


def test_credit_that_is_given_after_the_answer_is_asked_about_again(desk: Desk, monkeypatch: Any) -> None:
    customer = german()
    draft = a_draft(1000, customer=customer)
    finalize_invoice(draft.pk, now=desk.now)
    calculated = type(desk.client.v1.tax.calculations)
    retrieve = calculated.retrieve

    def and_a_present_comes(self: Any, *args: Any) -> Any:
        monkeypatch.undo()
        present(250, customer)
        return retrieve(self, *args)

    monkeypatch.setattr(calculated, "retrieve", and_a_present_comes)
    desk.tax()
    assert taxed(again(draft)) == (750, 143, 893)


def test_an_answer_is_kept_for_the_draft_as_it_is(desk: Desk) -> None:
    draft = asked_for(desk, 1000, customer=german(country="US"))
    Invoice.objects.filter(pk=draft.pk).update(tax=100, tax_reference="taxcalc_1", total=1100, tax_name="VAT")
    add_line(draft.pk, description="More", quantity=1, unit_amount=Decimal(5), now=desk.now)
    assert finalize_invoice(draft.pk, now=desk.now).status == "draft"


def test_prepaid_credit_that_burns_first_leaves_just_so_much_to_promotional_credit(desk: Desk) -> None:
    customer = german()
    prepaid(10_000, customer, priority=1)
    present(5_000, customer, priority=2)
    invoice = asked_for(desk, 10_000)
    assert taxed(invoice) == (8403, 1597, 10_000)
    assert (invoice.prepaid_applied, invoice.amount_due, invoice.status) == (10_000, 0, "paid")


@pytest.mark.parametrize("balance_before", [4_999, 9_990, 9_999, 10_001, 11_899, 11_900, 20_000])
@pytest.mark.parametrize("country", ["DE", "CH", "FI"])
def test_credit_of_both_kinds_in_any_order_finds_an_end(desk: Desk, balance_before: int, country: str) -> None:
    customer = german(country=country)
    present(1_234, customer, priority=1)
    prepaid(balance_before, customer, priority=2)
    present(7_777, customer, priority=3)
    invoice = asked_for(desk, 10_000)
    assert invoice.status in ("finalized", "paid")
    drawn = sum(line.amount for line in invoice.lines.filter(kind="credit"))
    assert invoice.subtotal == 10_000 + drawn


def test_what_comes_to_nothing_is_not_asked_about(desk: Desk) -> None:
    customer = german()
    present(1000, customer)
    before = calculations(desk)
    assert finalize_invoice(a_draft(1000, customer=customer).pk, now=desk.now).status == "paid"
    assert (calculations(desk), StripeCall.objects.exists()) == (before, False)


def test_a_top_up_is_not_asked_about(desk: Desk) -> None:
    grant = bought(1000, german())
    assert grant.invoice is not None and (grant.invoice.status, grant.invoice.tax) == ("finalized", 0)


def test_stripe_is_asked_once_for_one_answer(desk: Desk) -> None:
    before = calculations(desk)
    asked_for(desk, 1000)
    assert calculations(desk) - before == 1


def test_the_tax_between_answers_is_reckoned_in_proportion() -> None:
    known = {1000: Answer("a", 190, "VAT", None), 500: Answer("b", 96, "VAT", None)}
    assert [estimate(known, subtotal) for subtotal in (1000, 999, 500, 400, 0)] == [190, 190, 96, 77, 0]
    assert estimate({}, 1000) == 0


# Once it is finalized


def test_a_finalized_invoice_is_recorded_under_its_number(desk: Desk) -> None:
    invoice = asked_for(desk, 1000)
    assert recorded(desk) == {invoice.number: (1000, 190)}


def test_a_void_invoice_is_taken_back_whole(desk: Desk) -> None:
    invoice = asked_for(desk, 1000)
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.tax()
    assert recorded(desk) == {invoice.number: (1000, 190), f"{invoice.number}-void": (-1000, -190)}
    assert balance(german(), "tax") == 0


def test_credit_notes_take_their_parts_back_and_voiding_the_rest(desk: Desk) -> None:
    invoice = asked_for(desk, 1000)
    notes = [credit_note(invoice, reason="wrong", amount=amount, now=desk.now) for amount in (333, 100)]
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    desk.tax()
    assert recorded(desk) == {
        invoice.number: (1000, 190),
        notes[0].number: (-333, -63),
        notes[1].number: (-100, -19),
        f"{invoice.number}-void": (-567, -108),
    }


def test_an_invoice_below_zero_takes_back_what_an_earlier_one_has_left(desk: Desk) -> None:
    large, small = asked_for(desk, 1000), asked_for(desk, 100)
    below = asked_for(desk, -500)
    assert (taxed(below), balance(german(), "credit")) == ((-500, -95, -595), -595)
    assert recorded(desk)[str(below)] == (-500, -95)
    assert [call.state for call in calls(below, "tax-1", "tax-2", "tax")] == ["refused", "done", "done"]
    assert (again(large).status, again(small).status) == ("finalized", "finalized")


def calls(invoice: Invoice, *steps: str) -> list[StripeCall]:
    return [StripeCall.objects.get(invoice=invoice, step=step) for step in steps]


def test_what_no_earlier_invoice_can_give_back_is_a_matter_for_somebody(desk: Desk) -> None:
    below = asked_for(desk, -500)
    (call,) = calls(below, "tax")
    assert (call.state, "no earlier invoice" in call.error) == ("refused", True)


def test_what_was_not_taxed_by_stripe_is_not_recorded_there(desk: Desk, settings: Any) -> None:
    settings.TAX = "none"
    invoice = finalize_invoice(a_draft(1000, customer=german()).pk, now=desk.now)
    settings.TAX = "stripe"
    credit_note(invoice, reason="wrong", amount=1, now=desk.now)
    void_invoice(invoice.pk, reason="wrong", now=desk.now)
    assert record_due(now=desk.now) == 0


def test_a_note_waits_until_its_invoice_is_recorded(desk: Desk) -> None:
    draft = a_draft(1000, customer=german())
    finalize_invoice(draft.pk, now=desk.now)
    finalize_due(now=desk.now)
    credit_note(again(draft), reason="wrong", amount=100, now=desk.now)
    StripeCall.objects.filter(step="tax").update(not_before=desk.now + dt.timedelta(minutes=1))
    assert record_due(now=desk.now) == 1
    assert recorded(desk) == {}
    for _ in range(2):
        desk.pass_time(minutes=2)
        desk.tax()
    assert sorted(recorded(desk).values()) == [(-100, -19), (1000, 190)]
