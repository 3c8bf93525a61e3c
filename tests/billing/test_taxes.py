"""Tax by the seller's own rates: whose, which, on how much; and where it stands in the order of the sum."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from pytest_django import Settings

from billing.finalizing import finalize_invoice, void_invoice
from billing.models import Invoice, TaxRate
from billing.taxes import InvalidTaxRate, TaxRateExists
from plans.customers import InvalidCustomer, change_customer, create_customer
from tests.billing.books import balance
from tests.billing.drafts import a_draft, an_invoice, vat
from tests.billing.purse import bought, left, prepaid, present
from tests.billing.stripe_desk import booked
from tests.cast import NOON, acme, bolt
from tests.rest import Caller

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fixed", "money_is_right")]

DAY = dt.timedelta(days=1)


@pytest.fixture
def fixed(settings: Settings) -> None:
    settings.TAX = "fixed"


def taxed(invoice: Invoice) -> tuple[int, int | None, int]:
    return invoice.subtotal, invoice.tax, invoice.total


# Which rate


def test_without_rates_nothing_is_taxed() -> None:
    invoice = an_invoice(1000)
    assert taxed(invoice) == (1000, 0, 1000)
    assert (invoice.tax_name, invoice.tax_percent, invoice.amount_due) == ("", None, 1000)


def test_a_tax_is_added_to_the_subtotal_and_rounded_once() -> None:
    vat("19")
    invoice = an_invoice(333, 334)
    assert taxed(invoice) == (667, 127, 794)
    assert (invoice.tax_name, invoice.tax_percent, invoice.amount_due) == ("VAT", Decimal(19), 794)


def test_an_inclusive_tax_is_contained() -> None:
    vat("10", inclusive=True)
    invoice = an_invoice(60000)
    assert taxed(invoice) == (60000, 5455, 60000)
    assert invoice.tax_inclusive


def test_the_rate_of_the_customers_country_goes_before_that_of_all_others() -> None:
    vat("20")
    vat("19", "DE")
    vat("25", "DK", since=NOON + DAY)
    german, french = acme(country="DE"), bolt(country="FR")
    dane = create_customer(key="dane", currency="USD", country="DK", now=NOON)
    assert [an_invoice(1000, customer=who).tax for who in (german, french, dane)] == [190, 200, 200]


def test_the_newest_rate_that_has_begun_is_in_force() -> None:
    vat("19", "DE", since=NOON - DAY)
    vat("16", "DE", since=NOON + DAY)
    customer = acme(country="DE")
    assert [an_invoice(1000, customer=customer, now=NOON + days * DAY).tax for days in (0, 1)] == [190, 160]


@pytest.mark.parametrize(("exempt", "name"), [("exempt", ""), ("reverse", "Reverse charge")])
def test_who_is_exempt_or_accounts_for_the_tax_pays_none(exempt: str, name: str) -> None:
    vat()
    invoice = an_invoice(1000, customer=acme(tax_exempt=exempt))
    assert (*taxed(invoice), invoice.tax_name) == (1000, 0, 1000, name)
    assert list(booked(invoice)) == ["total"]


def test_rates_matter_only_where_they_are_chosen(settings: Settings) -> None:
    settings.TAX = "none"
    vat()
    assert an_invoice(1000).tax == 0


def test_a_setting_nobody_knows_stops_the_start() -> None:
    code = "import os; os.environ['PARLEY_TAX'] = 'maybe'; import config.settings"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode and "PARLEY_TAX is none, fixed or stripe" in ended.stderr


def test_no_customer_is_exempt_in_a_way_nobody_knows() -> None:
    with pytest.raises(InvalidCustomer):
        change_customer(acme(), tax_exempt="maybe")


# On how much


def test_what_the_tax_is_on_is_earned_and_the_tax_is_owed_to_the_state() -> None:
    vat()
    invoice = an_invoice(1000, -100)
    assert booked(invoice) == {"total": ("receivable", "revenue", 900), "tax": ("receivable", "tax", 180)}
    assert balance(acme(), "receivable") == 1080


def test_an_inclusive_tax_is_none_of_what_is_earned() -> None:
    vat("25", inclusive=True)
    invoice = an_invoice(1000)
    assert booked(invoice) == {"total": ("receivable", "revenue", 800), "tax": ("receivable", "tax", 200)}


def test_an_invoice_below_zero_gives_its_tax_back() -> None:
    vat()
    invoice = an_invoice(100, -600)
    assert taxed(invoice) == (-500, -100, -600)
    assert booked(invoice) == {"total": ("revenue", "credit", 500), "tax": ("tax", "credit", 100)}
    assert (invoice.status, balance(acme(), "credit")) == ("paid", -600)


def test_promotional_credit_is_taken_off_before_tax_and_prepaid_credit_after_it() -> None:
    vat()
    welcome, saved = present(400), prepaid(500)
    invoice = an_invoice(1000)
    assert taxed(invoice) == (600, 120, 720)
    assert (invoice.prepaid_applied, invoice.credit_applied, invoice.amount_due) == (500, 0, 220)
    assert [(line.kind, line.amount) for line in invoice.lines.all()] == [("one_off", 1000), ("credit", -400)]
    assert (left(welcome), left(saved), balance(acme(), "revenue")) == (0, 0, -600)


def test_the_line_of_promotional_credit_names_its_grants() -> None:
    welcome, sorry = present(400), present(300, name="Sorry", priority=60)
    line = an_invoice(1000, -100).lines.get(kind="credit")
    assert (line.position, line.amount, line.description) == (2, -700, "Promotional credit")
    assert line.details["grants"] == [
        {"grant": str(welcome.pk), "name": "Welcome", "amount": "4.00"},
        {"grant": str(sorry.pk), "name": "Sorry", "amount": "3.00"},
    ]


def test_what_we_owe_the_customer_is_used_last() -> None:
    prepaid(500)
    an_invoice(-450)
    vat()
    invoice = an_invoice(1000)
    assert (invoice.prepaid_applied, invoice.credit_applied, invoice.amount_due) == (500, 450, 250)


def test_a_top_up_is_not_taxed_nor_paid_from_grants() -> None:
    vat()
    present(400)
    prepaid(500)
    invoice = bought(1000).invoice
    assert invoice is not None
    assert (*taxed(Invoice.objects.get(pk=invoice.pk)), invoice.number) == (1000, 0, 1000, "INV-000001")
    assert booked(invoice) == {"total": ("receivable", "pending", 1000)}


def test_a_top_up_that_our_credit_pays_is_usable_at_once() -> None:
    an_invoice(-1000)
    grant = bought(1000)
    assert (grant.usable_at, left(grant)) == (NOON, 1000)
    assert grant.invoice is not None and grant.invoice.status == "paid"


def test_voiding_gives_everything_back_where_it_came_from() -> None:
    vat()
    welcome, saved = present(400), prepaid(500)
    an_invoice(-100)
    invoice = an_invoice(1000)
    assert invoice.amount_due == 100
    void_invoice(invoice.pk, reason="not what was ordered", now=NOON)
    assert (left(welcome), left(saved), balance(acme(), "credit")) == (400, 500, -120)
    assert (balance(acme(), "revenue"), balance(acme(), "tax"), balance(acme(), "receivable")) == (100, 20, 0)
    assert Invoice.objects.get(pk=invoice.pk).void_reason == "not what was ordered"


def test_a_draft_that_fails_to_be_finalized_is_as_it_was() -> None:
    vat()
    welcome = present(400)
    draft = a_draft(1000)
    with transaction.atomic():
        finalize_invoice(draft.pk, now=NOON)
        transaction.set_rollback(True)
    draft.refresh_from_db()
    assert (draft.subtotal, draft.tax, draft.lines.count(), left(welcome)) == (1000, None, 1, 400)


# Rates


def test_a_rate_is_never_changed() -> None:
    rate = vat()
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        TaxRate.objects.filter(pk=rate.pk).update(percent=7)
    with pytest.raises(TaxRateExists):
        vat("7")


@pytest.mark.parametrize("percent", ["-1", "100.1", "19.00001", "NaN"])
def test_a_rate_is_a_percentage(percent: str) -> None:
    with pytest.raises(InvalidTaxRate):
        vat(percent)


RATE = {"name": "VAT", "percent": "19.5", "country": "DE", "inclusive": True, "starts_at": "2026-11-02T12:00:00Z"}


def test_a_rate_is_added_and_listed(caller: Any) -> None:
    added = caller("manage").post("/v1/tax-rates", RATE)
    assert added.status_code == 201
    assert added.json() | RATE == added.json()
    (listed,) = caller("read").get("/v1/tax-rates").json()["data"]
    assert listed == added.json()


def test_a_rate_for_all_countries_begins_now_and_is_added_to_prices(caller: Any) -> None:
    added = caller().post("/v1/tax-rates", {"name": "GST", "percent": "10"}).json()
    assert (added["country"], added["inclusive"], added["percent"]) == (None, False, "10")
    assert added["starts_at"] == added["created_at"]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"percent": "101"}, 400), ({"percent": "1e1"}, 400), ({"country": "Germany"}, 400), ({"name": ""}, 400)],
)
def test_a_rate_that_cannot_be_is_refused(caller: Any, change: dict[str, str], status: int) -> None:
    assert caller().post("/v1/tax-rates", RATE | change).status_code == status


def test_a_second_rate_of_an_instant_is_a_conflict(caller: Any) -> None:
    assert [caller().post("/v1/tax-rates", RATE).status_code for _ in range(2)] == [201, 409]


def test_strangers_and_readers_add_no_rates(caller: Any, stranger_status: Any) -> None:
    assert stranger_status("/v1/tax-rates") == 401
    assert Caller(None).post("/v1/tax-rates", RATE).status_code == 401
    assert caller("read").post("/v1/tax-rates", RATE).status_code == 403


def test_how_a_customer_is_taxed_is_shown_and_changed(caller: Any) -> None:
    made = caller().post("/v1/customers", {"key": "acme", "currency": "USD"}).json()
    changed = caller().patch("/v1/customers/acme", {"tax_exempt": "reverse"})
    assert (made["tax_exempt"], changed.json()["tax_exempt"]) == ("none", "reverse")
    assert caller().patch("/v1/customers/acme", {"tax_exempt": "maybe"}).status_code == 400
