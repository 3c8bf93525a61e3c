"""From every figure of an invoice, a credit note or a wallet a link leads to what explains it."""

import datetime as dt
import re

import pytest

from billing.billing import bill
from billing.credit_notes import credit_note
from billing.models import Account, CreditNote, Grant, Invoice, InvoiceLine, TaxRate, Transfer
from billing.reissuing import reissue
from billing.topping_up import set_rule
from console.links import rows_url
from plans.models import TaxExempt
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.drafts import a_draft, a_paid_invoice, an_invoice, vat
from tests.billing.purse import billed_once, bought, pay, prepaid, present, voided
from tests.cast import NOON, a_plan, acme, at, bolt, report, send, subscribed
from tests.console.conftest import SECOND_MONTH
from tests.console.test_access import row_url
from tests.console.test_following import HOSTILE, read

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fixed(settings):
    settings.TAX = "fixed"


def text(body: str) -> str:
    """What a person reads: no tags, single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body)).replace("&#x27;", "'")


def test_an_invoice_shows_its_sum_from_the_lines_to_what_is_due(desk):
    vat("19")
    prepaid(1_000)
    shown = text(read(desk, row_url(an_invoice(10_000))))
    assert "Subtotal 100.00 USD the lines below VAT 19 % 19.00 USD tax rates of the country Total 119.00 USD" in shown
    assert "Prepaid credit -10.00 USD Prepaid 10.00 USD Credit balance 0.00 USD Amount due 109.00 USD" in shown


def test_the_tax_leads_to_the_rates_that_the_customer_could_have(desk):
    acme(country="DE")
    vat("19", "DE"), vat("20"), vat("25", "SE")
    (url,) = re.findall(r'href="(/admin/billing/taxrate/\?[^"]+)"', read(desk, row_url(an_invoice(10_000))))
    shown = desk.get(url.replace("&amp;", "&")).context["cl"].queryset
    assert set(shown) == set(TaxRate.objects.exclude(country="SE"))


def test_a_tax_within_the_prices_says_so(desk):
    vat("7.5", inclusive=True)
    shown = text(read(desk, row_url(an_invoice(10_750))))
    assert "VAT 7.5 % (contained in the subtotal) 7.50 USD" in shown
    assert "Total 107.50 USD" in shown


def test_a_customer_who_is_not_taxed_explains_the_missing_tax(desk):
    vat("19")
    shown = text(read(desk, row_url(an_invoice(100, customer=bolt(tax_exempt=TaxExempt.REVERSE)))))
    assert "Reverse charge 0.00 USD the customer accounts for the tax itself (reverse charge)" in shown


def test_what_a_draft_does_not_know_is_no_zero(desk):
    shown = text(read(desk, row_url(a_draft(10_000))))
    assert "Tax not known yet it is worked out when the invoice is finalized" in shown
    assert "Total and amount due not known yet" in shown
    assert "0.00 USD Credit balance" not in shown
    assert "draft Acme Inc one_off Draft 2026-11-02 100.00 USD before tax - -" in text(read(desk, rows_url(Invoice)))


def test_a_draft_that_stripe_is_to_tax_says_when_it_is_asked(desk):
    draft = a_draft(10_000)
    Invoice.objects.filter(pk=draft.pk).update(finalize_at=NOON)
    assert "Stripe is asked at 2026-11-02 12:00 UTC" in text(read(desk, row_url(draft)))


def test_less_than_nothing_goes_to_the_credit_balance(desk):
    shown = text(read(desk, row_url(an_invoice(-500))))
    assert "Total -5.00 USD To the credit balance 5.00 USD what we owed the customer Amount due 0.00 USD" in shown


def test_promotional_credit_leads_to_its_grants(desk):
    grant = present(300)
    body = read(desk, row_url(an_invoice(1_000)))
    assert "Promotional credit Welcome 3.00 -3.00 USD" in text(body)
    assert row_url(grant) in body


def test_prepaid_credit_leads_to_its_grants_also_when_it_was_given_back(desk):
    grant, invoice = prepaid(300), billed_once(1_000)
    reissue(invoice.pk, reason="an old address", now=NOON)
    body = read(desk, row_url(invoice))
    assert "Prepaid credit -3.00 USD Prepaid 3.00 USD Credit" in text(body)
    assert row_url(grant) in body


def test_credit_notes_lower_what_is_still_to_be_paid(desk):
    vat("20")
    invoice = an_invoice(10_000)
    note = credit_note(invoice, reason="An outage", amount=1_000, now=NOON)
    body = read(desk, row_url(invoice))
    assert f"Credit notes -12.00 USD {note} Still to be paid 108.00 USD" in text(body)
    assert "An outage 12.00 USD 12.00 USD off what was due" in text(body)
    assert row_url(note) in body


def test_credit_notes_of_a_void_invoice_are_void_as_well(desk):
    invoice = billed_once(1_000)
    credit_note(invoice, reason="An outage", amount=100, now=NOON)
    voided(invoice)
    shown = text(read(desk, row_url(invoice)))
    assert "Credit notes, void as it is -1.00 USD" in shown
    assert "Still to be paid" not in shown


def test_a_credit_note_shows_what_it_takes_back_and_where_that_went(desk):
    vat("20")
    invoice = a_paid_invoice(10_000, 500)
    note = credit_note(invoice, reason="Not wanted", lines=[(invoice.lines.last(), 500)], now=NOON)
    body = read(desk, row_url(note))
    assert "Without tax 5.00 USD the lines below Tax 1.00 USD Total 6.00 USD" in text(body)
    assert "To the credit balance 6.00 USD Acme Inc" in text(body)
    assert row_url(invoice) in body and row_url(invoice.lines.last()) in body
    assert "Taken back by credit notes: 5.00 USD" in text(read(desk, row_url(invoice.lines.last())))


def test_an_invoice_issued_again_leads_to_its_replacement_and_back(desk):
    old = billed_once(1_000)
    new = reissue(old.pk, reason="an old address", now=NOON)
    shown = read(desk, row_url(old))
    assert "Void reason: an old address" in text(shown)
    assert f"Issued again as: {new}" in text(shown) and row_url(new) in shown
    assert f"In place of: {old}" in text(read(desk, row_url(new)))


def test_an_invoice_as_usual_has_no_rows_about_being_issued_again(desk):
    shown = text(read(desk, row_url(an_invoice(1_000))))
    assert not re.search("Void reason|Issued again|In place of", shown)


def test_a_discount_leads_to_its_coupon_and_says_how_much_it_took(desk):
    redemption = redeemed(a_coupon(duration="forever"), subscribed(acme(), a_plan()))
    bill(as_of=at(1), now=at(1))
    line = InvoiceLine.objects.get(kind="discount")
    assert row_url(redemption) in read(desk, row_url(line.invoice))
    body = read(desk, row_url(redemption))
    assert "Taken off so far: 4.90 USD" in text(body)
    (url,) = re.findall(r'href="(/admin/billing/invoiceline/\?[^"]+)"', body)
    assert list(desk.get(url).context["cl"].queryset) == [line]


def test_credits_of_a_pool_lead_to_the_conversations_of_each_tier(desk):
    pool = {"credits": 1, "weights": {"simple": 1, "standard": 5}, "overage": {"model": "flat", "unit": "1.00"}}
    rates = {"complex": "0.15", "enterprise": "0.50"}
    subscribed(acme(), a_plan(rates=rates, pool=pool))
    send([report(), *(report(f"e{turn}", 1, conversation="long", turn=turn) for turn in range(1, 6))])
    bill(as_of=at(SECOND_MONTH), now=at(SECOND_MONTH))
    body = read(desk, row_url(InvoiceLine.objects.get(kind="usage")))
    urls = re.findall(r'href="(/admin/conversations/\?customer[^"]+)"', body)
    listed = [row for url in urls for row in desk.get(url.replace("&amp;", "&")).context["rows"]]
    assert sorted(row.reference for row in listed) == ["chat", "long"]
    shown = text(read(desk, f"/admin/conversations/{listed[0].id}/"))
    assert "of the pool; its credits: 1.00 USD each after 1 included a period (growth version 1)" in shown
    assert "6 credits: 1 included" in shown


def test_a_conversation_at_peak_hours_leads_to_the_line_of_these(desk):
    standard = {"price": {"model": "flat", "unit": "0.05"}, "peak": {"price": {"model": "flat", "unit": "0.09"}}}
    hours = [{"days": ["tue"], "from": "00:00", "to": "24:00"}]
    rates = {"simple": standard, "standard": "0.05", "complex": "0.15", "enterprise": "0.50"}
    subscribed(acme(), a_plan(rates=rates, peak_hours=hours))
    send([report("e1"), report("e2", 30, conversation="later")])
    bill(as_of=at(SECOND_MONTH), now=at(SECOND_MONTH))
    line = InvoiceLine.objects.get(details__tier="simple@peak")
    (url,) = re.findall(r'href="(/admin/conversations/\?customer[^"]+)"', read(desk, row_url(line)))
    peak, off_peak = sorted(desk.get(url.replace("&amp;", "&")).context["rows"], key=lambda row: row.settles_at)
    assert row_url(line) in read(desk, f"/admin/conversations/{peak.id}/")
    assert "0.09 USD each at peak hours (growth version 1)" in read(desk, f"/admin/conversations/{peak.id}/")
    assert row_url(line) not in read(desk, f"/admin/conversations/{off_peak.id}/")


def test_a_conversation_that_is_not_billable_says_so_and_is_on_no_line(desk):
    subscribed(acme(), a_plan(billable_outcomes=["resolved"]))
    send([report(outcome="abandoned"), report("e2", 1, conversation="other", outcome="resolved")])
    bill(as_of=at(SECOND_MONTH), now=at(SECOND_MONTH))
    (row,) = desk.get("/admin/conversations/?reference=chat").context["rows"]
    body = read(desk, f"/admin/conversations/{row.id}/")
    assert "nothing: its outcome is not billable (growth version 1)" in body
    assert "INV-" not in body


def test_a_customer_shows_its_wallet_in_the_order_in_which_it_burns(desk, now):
    begun = now - dt.timedelta(days=1)
    prepaid(3_000, name="Yearly", priority=60, now=begun)
    present(700, name="Spring", expires_at=now + dt.timedelta(days=9), now=begun)
    present(500, name="Welcome", now=begun)
    bought(5_000, name="Top-up", now=begun)
    set_rule(acme(), below=1_000, up_to=2_000, cool_off=dt.timedelta(hours=1), now=begun)
    shown = text(read(desk, row_url(acme())))
    assert "Usable credit 42.00 USD Credit we owe the customer 0.00 USD Bought and not paid yet 50.00 USD" in shown
    assert "Topped up below 10.00 USD to 20.00 USD" in shown
    order = [
        shown.index(row) for row in ("Spring promotional active 7.00 USD", "Welcome promotional", "Yearly prepaid")
    ]
    assert order == sorted(order)


def test_a_customer_shows_its_credit_notes_and_discounts(desk):
    note = credit_note(a_paid_invoice(1_000), reason="Goodwill", amount=400, now=NOON)
    redemption = redeemed(a_coupon(amount="5.00", duration="repeating", periods=3), subscribed(acme(), a_plan()))
    body = read(desk, row_url(acme()))
    assert f"{note} {note.invoice} Goodwill 4.00 USD done" in text(body)
    assert "SPRING 5.00 USD of everything 0 to 2 nothing yet" in text(body)
    assert row_url(note) in body and row_url(redemption) in body
    assert row_url(Account.objects.get(kind="credit")) in body


def test_a_grant_says_how_much_of_it_was_used_and_leads_to_its_transfers(desk):
    grant = prepaid(3_000)
    an_invoice(1_000)
    body = read(desk, row_url(grant))
    assert "Given: 30.00 USD Used: 10.00 USD Left: 20.00 USD" in text(body)
    taken = rows_url(Transfer, debit__id__exact=grant.account.pk)
    assert taken in body
    assert [row.amount for row in desk.get(taken).context["cl"].queryset] == [1_000]


def test_credit_that_was_bought_leads_to_its_invoice(desk):
    grant = bought(3_000)
    pay(grant.invoice)
    assert row_url(grant.invoice) in read(desk, row_url(grant))


def test_what_operators_wrote_is_inert(desk):
    present(100, name=HOSTILE[:100])
    vat("20")
    note = credit_note(a_paid_invoice(1_000), reason=HOSTILE, amount=100, now=NOON)
    redeemed(a_coupon(name=HOSTILE), subscribed(acme(), a_plan()))
    void = billed_once(500)
    reissue(void.pk, reason=HOSTILE, now=NOON)
    for page in (acme(), note, note.invoice, void, Grant.objects.get(), acme().subscriptions.get()):
        body = read(desk, row_url(page))
        assert "<script>alert" not in body and '"onload="' not in body, page
    assert "<script>alert" not in read(desk, rows_url(CreditNote))
