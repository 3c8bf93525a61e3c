"""What a printed invoice tells is what its rows say, and what happened in its period."""

from decimal import Decimal

import pytest

from billing.editing import add_discount
from billing.finalizing import finalize_invoice
from billing.invoice_statement import TierUsage, check_sums
from billing.models import Invoice, InvoiceKind
from billing.one_off import OneOff, draft_one_off
from billing.reissuing import reissue
from billing.statements import statement_of
from plans.models import TaxExempt
from tests.billing.books import DEC_2, GRACE, billed, conversation, conversations, happened
from tests.cast import FLAT_RATES, NOON, a_plan, acme, subscribed

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE
FLAT = {"included": 0, "price": {"model": "flat", "unit": "0.02"}}


def cycle() -> Invoice:
    return next(invoice for invoice in billed(DUE) if invoice.kind == InvoiceKind.CYCLE)


def set_up() -> Invoice:
    return draft_one_off(acme(), [OneOff("Set-up", 2, Decimal("125.00"))], now=NOON, finalize=True)


def test_a_statement_adds_up_and_names_both_sides(settings) -> None:
    settings.SELLER = settings.SELLER | {"name": "Parley GmbH", "address": ("Main St 1", "Berlin")}
    subscribed(acme(country="FR", tax_id="FR1", timezone="Europe/Berlin"), a_plan())
    told = statement_of(cycle())
    check_sums(told)
    assert (told.seller.name, told.seller.address) == ("Parley GmbH", ("Main St 1", "Berlin"))
    assert (told.buyer.name, told.buyer.key, told.buyer.country, told.buyer.tax_id) == ("Acme Inc", "acme", "FR", "FR1")
    assert (told.number, told.status, told.amount_due) == ("INV-000002", "finalized", 4900)
    assert told.period is not None
    assert told.period.starts_at.isoformat() == "2026-11-02T13:00:00+01:00"
    assert told.lines[0].unit_amount == Decimal("49")


def test_usage_is_told_by_tier_with_what_happened_in_it() -> None:
    rates = FLAT_RATES | {"simple": {"included": 1, "price": {"model": "flat", "unit": "0.02"}}}
    subscribed(acme(), a_plan(rates=rates))
    happened(*conversations(3), conversation("big", tier="complex", turn=1), now=NOON)
    simple, complex_ = statement_of(cycle()).usage
    assert simple == TierUsage(
        tier="simple",
        conversations=3,
        turns=3,
        included=1,
        overage=2,
        input_tokens=2_700,
        cache_read_tokens=0,
        cache_write_tokens=0,
        output_tokens=300,
        amount=4,
    )
    assert (complex_.tier, complex_.conversations, complex_.amount) == ("complex", 1, 15)


def test_peak_and_other_hours_of_a_tier_are_told_together() -> None:
    every_morning = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "14:00"}]
    dear = {"included": 0, "price": {"model": "flat", "unit": "0.10"}}
    subscribed(acme(), a_plan(rates=FLAT_RATES | {"simple": FLAT | {"peak": dear}}, peak_hours=every_morning))
    happened(conversation("morning", 1), conversation("evening", 6), now=NOON)
    invoice = cycle()
    assert invoice.lines.filter(tier="simple").count() == 2
    (simple,) = statement_of(invoice).usage
    assert (simple.conversations, simple.overage, simple.amount, simple.turns) == (2, 2, 12, 2)


def test_tiers_of_a_pool_have_no_price_of_their_own() -> None:
    pool = {"credits": 2, "weights": {"simple": 1, "complex": 5}, "overage": {"model": "flat", "unit": "0.10"}}
    subscribed(acme(), a_plan(rates={"standard": "0.05", "enterprise": "0.50"}, pool=pool))
    happened(*conversations(2), conversation("big", tier="complex"), now=NOON)
    told = {usage.tier: usage for usage in statement_of(cycle()).usage}
    assert set(told) == {"simple", "complex"}
    assert (told["simple"].conversations, told["simple"].turns) == (2, 2)
    assert (told["simple"].included, told["simple"].overage, told["simple"].amount) == (None, None, None)


def test_what_is_not_billable_is_not_told() -> None:
    subscribed(acme(), a_plan(billable_outcomes=["resolved"]))
    happened(conversation("solved", outcome="resolved"), conversation("lost"), now=NOON)
    (simple,) = statement_of(cycle()).usage
    assert (simple.conversations, simple.turns, simple.input_tokens) == (1, 1, 900)


def test_a_change_after_the_invoice_is_noted_and_the_count_stays_as_billed() -> None:
    subscribed(acme(), a_plan())
    happened(*conversations(2), now=NOON)
    invoice = cycle()
    assert statement_of(invoice).notes == ()
    happened(conversation("late"), now=DUE + GRACE)
    billed(DUE + GRACE)
    told = statement_of(invoice)
    assert (told.usage[0].conversations, told.usage[0].turns) == (2, 3)
    assert told.notes == ("Turns and tokens include what was reported after the invoice was made.",)


def test_a_one_off_has_neither_period_nor_usage() -> None:
    told = statement_of(set_up())
    check_sums(told)
    assert (told.period, told.usage, told.issued_on) == (None, (), NOON.date())
    assert (told.lines[0].quantity, told.lines[0].amount, told.lines[0].period) == (2, 25000, None)


def test_a_draft_adds_up_before_its_tax_is_known(settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    draft = cycle()
    add_discount(draft.pk, description="As agreed", percent=Decimal("10"), now=DUE)
    told = statement_of(Invoice.objects.get(pk=draft.pk))
    check_sums(told)
    assert (told.number, told.tax, told.subtotal) == ("", None, 4410)


def test_reverse_charge_is_explained(settings) -> None:
    settings.TAX = "fixed"
    acme(tax_exempt=TaxExempt.REVERSE)
    told = statement_of(set_up())
    check_sums(told)
    assert told.tax is not None
    assert (told.tax.name, told.tax.amount) == ("Reverse charge", 0)
    assert told.tax.note == "The customer accounts for the tax (reverse charge)."


def test_a_reissued_invoice_names_the_one_before_and_that_why_it_is_void() -> None:
    void = set_up()
    draft = reissue(void.pk, reason="an old address", now=NOON)
    finalize_invoice(draft.pk, now=NOON)
    assert statement_of(Invoice.objects.get(pk=draft.pk)).notes == ("It takes the place of invoice INV-000001.",)
    assert statement_of(Invoice.objects.get(pk=void.pk)).notes == ("Void: an old address",)
