"""Invoices that Stripe taxes, and what it then has on record."""

import json
from typing import Any

import pytest
from django.conf import settings

from billing.finalizing import finalize_invoice
from billing.models import Invoice
from plans.customers import create_customer
from plans.models import Customer
from sandbox.stripe_faults import FAULTS
from tests.billing.drafts import a_draft
from tests.billing.stripe_desk import Desk
from tests.cast import NOON

CALCULATE = "POST /v1/tax/calculations"
READ = "GET /v1/tax/calculations/{calculation}"
RECORD = "POST /v1/tax/transactions/create_from_calculation"
REVERSE = "POST /v1/tax/transactions/create_reversal"
EVERY_FAULT = sorted(FAULTS)


@pytest.fixture
def by_stripe(settings: Any) -> None:
    settings.TAX = "stripe"


def german(key: str = "acme", **fields: Any) -> Customer:
    """Pays 19 % VAT."""
    known = {"name": key, "currency": "USD", "country": "DE", "now": NOON}
    return Customer.objects.filter(key=key).first() or create_customer(key=key, **known | fields)


def asked_for(desk: Desk, *amounts: int, customer: Customer | None = None) -> Invoice:
    """An invoice that was to be finalized, and what became of it once the sweeps had run."""
    draft = a_draft(*amounts, customer=customer or german(), now=desk.now)
    assert finalize_invoice(draft.pk, now=desk.now).status == "draft"
    desk.tax()
    return again(draft)


def again(invoice: Invoice) -> Invoice:
    return Invoice.objects.get(pk=invoice.pk)


def taxed(invoice: Invoice) -> tuple[int, int | None, int]:
    return invoice.subtotal, invoice.tax, invoice.total


def recorded(desk: Desk) -> dict[str, tuple[int, int]]:
    """What Stripe has on record: reference -> net and tax."""
    rows = desk.stripe._server.store.rows("SELECT body FROM objects WHERE kind = 'tax.transaction'")
    found = {}
    for one in (json.loads(row["body"]) for row in rows):
        if settings.INVOICE_NUMBER_PREFIX in one["reference"]:  # Stripe is that of all tests of this module
            lines = one["line_items"]
            found[one["reference"]] = sum(x["amount"] for x in lines), sum(x["amount_tax"] for x in lines)
    return found


def calculations(desk: Desk) -> int:
    return desk.stripe.count("tax.calculation")
