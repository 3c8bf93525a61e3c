"""What the wallet tests say about credit: how it is given and paid for, what bills take of it, and what is left.

Amounts are cents; the customer is Acme and the time NOON unless said.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing import wallets
from billing.creditable import still_due
from billing.finalizing import finalize_invoice, void_invoice
from billing.granting import give
from billing.ledger import book
from billing.models import AccountKind, Grant, GrantKind, Invoice, InvoiceStatus, Transfer
from billing.one_off import OneOff, draft_one_off
from plans.models import Customer
from tests.cast import NOON, acme


def present(amount: int, customer: Customer | None = None, *, now: dt.datetime = NOON, **fields: Any) -> Grant:
    """Promotional credit."""
    return give(
        customer or acme(), **{"kind": GrantKind.PROMOTIONAL, "name": "Welcome", "amount": amount, "now": now} | fields
    )


def prepaid(amount: int, customer: Customer | None = None, *, now: dt.datetime = NOON, **fields: Any) -> Grant:
    """Credit that was paid for by a bank transfer."""
    known = {"kind": GrantKind.PAID, "name": "Prepaid", "paid": "outside", "amount": amount, "now": now}
    return give(customer or acme(), **known | fields)


def bought(amount: int, customer: Customer | None = None, **fields: Any) -> Grant:
    """Credit sold with an invoice, which is not paid yet."""
    return prepaid(amount, customer, **{"paid": "invoice"} | fields)


def drafted(amount: int, customer: Customer | None = None, *, now: dt.datetime = NOON) -> Invoice:
    """A one-off draft."""
    line = OneOff("Consulting", 1, Decimal(amount) / 100)
    return draft_one_off(customer or acme(), [line], now=now)


def billed_once(amount: int, customer: Customer | None = None, *, now: dt.datetime = NOON) -> Invoice:
    """A finalized one-off invoice."""
    return finalize_invoice(drafted(amount, customer, now=now).pk, now=now)


def pay(invoice: Invoice | None, *, now: dt.datetime = NOON) -> None:
    """As bringing it home from Stripe as paid does."""
    assert invoice is not None
    with transaction.atomic():
        locked = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice.pk)
        cash, owed = AccountKind.CASH, AccountKind.RECEIVABLE
        book(locked, "payment", debit=cash, credit=owed, amount=still_due(locked), at=now)
        locked.status, locked.paid_at = InvoiceStatus.PAID, now
        locked.save(update_fields=["status", "paid_at"])
        wallets.invoice_paid(locked, at=now)


def voided(invoice: Invoice | None, *, now: dt.datetime = NOON) -> None:
    assert invoice is not None
    void_invoice(invoice.pk, reason="a mistake", now=now)


def left(grant: Grant) -> int:
    """What can still be taken from a grant."""
    return wallets.left(again(grant))


def used(grant: Grant) -> int:
    """What bills have taken of a grant."""
    return wallets.used(again(grant))


def again(grant: Grant) -> Grant:
    """The grant as it is now."""
    return wallets.with_use(Grant.objects.filter(pk=grant.pk)).get()


def state(grant: Grant, *, now: dt.datetime = NOON) -> str:
    return wallets.state(again(grant), now=now)


def drawn(invoice: Invoice) -> dict[str, int]:
    """What each grant, by name, gave to an invoice."""
    draws = Transfer.objects.filter(invoice=invoice, debit__kind=AccountKind.GRANT)
    return dict(draws.values_list("debit__grant__name", "amount"))
