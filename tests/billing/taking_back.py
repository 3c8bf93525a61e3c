"""What happens in the story to tax and to money that goes back: to Frida, Gustav and Hanna, all in Germany.

Frida pays by card: of what she paid one part is refunded, one is kept as credit, one refund comes back after it had
arrived, one is still on its way, and her top-up is taken back. Gustav has no card: one invoice is lowered and stays
open, one is lowered and voided, one is credited whole, one was paid outside of Stripe, which cannot refund it. Hanna is
taxed by Stripe: one invoice, a credit note on it, one that is voided.
"""

import datetime as dt
from decimal import Decimal

import requests
from django.conf import settings
from django.test import override_settings

from billing.bringing_home import bring_home
from billing.collecting import ensure_customer
from billing.credit_notes import credit_note
from billing.editing import add_discount
from billing.finalizing import finalize_invoice, void_invoice
from billing.models import Collection, CreditNote, Invoice
from billing.one_off import OneOff, draft_one_off
from billing.refunding import bring_refund_home
from billing.stripe_gateway import stripe_client
from billing.tasks import AT_STRIPE
from plans.customers import create_customer
from plans.models import Customer
from tests.billing.drafts import vat
from tests.billing.purse import bought
from tests.cast import NOON


def bill_what_will_be_credited(now: dt.datetime) -> None:
    """The invoices."""
    frida, gustav, hanna = (_german(key) for key in ("frida", "gustav", "hanna"))
    _put_card_on_file(frida, now)
    with override_settings(TAX="fixed"):
        vat("19", "DE")
        _invoice(frida, "10.00", "5.55", off="10", now=now)
        for _ in range(4):
            _invoice(gustav, "20.00", now=now)
    bought(1_000, frida, now=now)
    with override_settings(TAX="stripe"):
        for _ in range(2):
            assert _invoice(hanna, "30.00", now=now).finalize_at == now
        sweep(now)
    _pay_elsewhere(_invoices_of(gustav)[3], now)


def give_back(now: dt.datetime) -> None:
    """The credit notes, once Frida's payments are known here."""
    frida, gustav, hanna = (_invoices_of(_german(key)) for key in ("frida", "gustav", "hanna"))
    assert {invoice.status for invoice in frida} == {"paid"}
    _credit(frida[0], 333, now=now)
    returned = [_credit(frida[0], cents, to="refund", now=now) for cents in (100, 200)][1]
    _credit(frida[1], None, to="refund", now=now)
    _credit(gustav[0], 500, now=now)
    _credit(gustav[1], 700, now=now)
    _credit(gustav[2], None, now=now)
    _credit(gustav[3], 800, to="refund", now=now)
    _credit(hanna[0], 1_000, now=now)
    sweep(now)
    void_invoice(gustav[1].pk, reason="wrong", now=now)
    void_invoice(hanna[1].pk, reason="wrong", now=now)
    _bank_sends_back(returned, now)
    sweep(now)


def give_back_more(now: dt.datetime) -> None:
    """A refund that is still on its way when the story ends."""
    _steer(status="pending")
    _credit(_invoices_of(_german("frida"))[0], 50, to="refund", now=now)


def sweep(now: dt.datetime) -> None:
    """All that is to be done at Stripe by now."""
    for work in AT_STRIPE:
        while work(now=now):
            pass


def _german(key: str) -> Customer:
    known = Customer.objects.filter(key=key).first()
    return known or create_customer(key=key, currency="USD", country="DE", now=NOON)


def _invoice(customer: Customer, *prices: str, off: str = "", now: dt.datetime) -> Invoice:
    lines = [OneOff("Consulting", 1, Decimal(price)) for price in prices]
    draft = draft_one_off(customer, lines, now=now)
    if off:
        add_discount(draft.pk, description="As agreed", percent=Decimal(off), now=now)
    return finalize_invoice(draft.pk, now=now)


def _invoices_of(customer: Customer) -> list[Invoice]:
    return list(Invoice.objects.filter(customer=customer).order_by("id"))


def _credit(invoice: Invoice, amount: int | None, *, to: str = "credit", now: dt.datetime) -> CreditNote:
    return credit_note(invoice, reason="not as ordered", amount=amount, to=to, now=now)  # type: ignore[arg-type]


def _put_card_on_file(customer: Customer, now: dt.datetime) -> None:
    client = stripe_client()
    stripe_id = ensure_customer(client, customer, now=now)
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": stripe_id})
    client.v1.customers.update(stripe_id, {"invoice_settings": {"default_payment_method": card.id}})


def _pay_elsewhere(invoice: Invoice, now: dt.datetime) -> None:
    client = stripe_client()
    stripe_id = Collection.objects.get(pk=invoice.pk).stripe_invoice_id or ""
    client.v1.invoices.pay(stripe_id, {"paid_out_of_band": True})
    bring_home(client, stripe_id, now=now)


def _bank_sends_back(note: CreditNote, now: dt.datetime) -> None:
    refund_id = CreditNote.objects.get(pk=note.pk).refund_id
    _steer(refund=refund_id, status="failed")
    bring_refund_home(stripe_client(), refund_id, now=now)


def _steer(**asked: str) -> None:
    """What the stand-in's refunds are to become."""
    requests.post(f"{settings.STRIPE_API_BASE}/_sandbox/refunds", json=asked, timeout=10).raise_for_status()
