"""What is asked of Stripe on the way of an invoice? One function a change, with how to see that it has happened.

Each is made once (`stripe_gateway.once`), under a key that names our invoice and the step. Amounts are minor units.
All raise StripeUnavailable and StripeRefused.
"""

import datetime as dt
from typing import Any

import stripe

from billing.models import Invoice, StripeCall, StripeCustomer
from billing.stripe_gateway import DELETED, Find, Send, StripeRefused, ask, key_of, metadata_of, once
from plans.models import Customer
from plans.money import format_amount

DAYS_UNTIL_DUE = 30
PAGE = 100


class TotalsDiffer(Exception):
    """Stripe's total for the invoice is not ours; it is neither finalized nor charged there."""


def ensure_customer(client: stripe.StripeClient, customer: Customer, *, now: dt.datetime) -> str:
    """The customer's id at Stripe, made there if need be."""
    known = StripeCustomer.objects.filter(customer=customer).first()
    if known is not None:
        return known.stripe_id
    params: Any = {"name": customer.name or customer.key, "metadata": {"parley_customer": str(customer.id)}}
    if customer.email:
        params["email"] = customer.email

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.customers.create(params, options).id

    def find(since: dt.datetime) -> str | None:
        made_since: Any = {"created": {"gte": int(since.timestamp())}, "limit": PAGE}
        for found in client.v1.customers.list(made_since).auto_paging_iter():
            if metadata_of(found).get("parley_customer") == str(customer.id):
                return found.id
        return None

    key = f"customer:{customer.id}"
    stripe_id = once(key, step="customer", customer=customer, send=send, find=find, now=now)
    StripeCustomer.objects.get_or_create(customer=customer, defaults={"stripe_id": stripe_id})
    return stripe_id


def pays_by_card(client: stripe.StripeClient, customer_id: str) -> bool:
    """Whether the customer has put a card on file at Stripe; others are sent the invoice."""
    found = ask(lambda: client.v1.customers.retrieve(customer_id))
    if getattr(found, "deleted", False):
        raise StripeRefused(f"the customer {customer_id} was deleted at Stripe")
    return bool(found.invoice_settings and found.invoice_settings.default_payment_method)


def create_invoice(
    client: stripe.StripeClient, invoice: Invoice, customer_id: str, *, by_card: bool, now: dt.datetime
) -> str:
    """A draft at Stripe under our number; returns its id."""
    params: Any = {
        "customer": customer_id,
        "currency": invoice.currency.lower(),
        "number": invoice.number,
        "auto_advance": False,
        "collection_method": "charge_automatically" if by_card else "send_invoice",
        "pending_invoice_items_behavior": "exclude",
        "metadata": {"parley_invoice": str(invoice.id)},
    }
    if not by_card:
        params["days_until_due"] = DAYS_UNTIL_DUE

    def find(since: dt.datetime) -> str | None:
        made_since: Any = {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": PAGE}
        for found in client.v1.invoices.list(made_since).auto_paging_iter():
            if metadata_of(found).get("parley_invoice") == str(invoice.id):
                return found.id
        return None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.create(params, options).id

    return _once(invoice, "create", send, find, now)


def may_exist(invoice: Invoice) -> bool:
    """Whether Stripe was ever asked to create the invoice and did not say no."""
    asked = StripeCall.objects.filter(pk=key_of("create", invoice=invoice), attempts__gt=0)
    return asked.exclude(state=StripeCall.State.REFUSED).exists()


def add_lines(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """All lines in one call."""
    lines: list[Any] = [{"amount": amount, "description": text[:500]} for text, amount in lines_of(invoice)]

    def find(since: dt.datetime) -> str | None:
        return stripe_id if client.v1.invoices.line_items.list(stripe_id, {"limit": 1}).data else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.add_lines(stripe_id, {"lines": lines}, options).id

    _once(invoice, "lines", send, find, now)


def lines_of(invoice: Invoice) -> list[tuple[str, int]]:
    """Text and minor units of every line at Stripe, which knows no taxes and credit of ours: plain lines, that add up
    to what is due.
    """
    lines = [(line.description, line.amount) for line in invoice.lines.all()]
    if invoice.tax and not invoice.tax_inclusive:
        lines.append((tax_label(invoice), invoice.tax))
    applied = (("Prepaid credit applied", -invoice.prepaid_applied), ("Credit applied", -invoice.credit_applied))
    return lines + [(text, amount) for text, amount in applied if amount]


def tax_label(invoice: Invoice) -> str:
    """The tax as it is printed: "VAT 19 %"."""
    name = invoice.tax_name or "Tax"
    return name if invoice.tax_percent is None else f"{name} {invoice.tax_percent.normalize():f} %"


def compare(client: stripe.StripeClient, invoice: Invoice, stripe_id: str) -> stripe.Invoice:
    """The invoice as Stripe has it, which asks for what ours asks for. Raises TotalsDiffer."""
    found: stripe.Invoice = ask(lambda: client.v1.invoices.retrieve(stripe_id))
    if found.total != invoice.amount_due or found.currency != invoice.currency.lower():
        ours = format_amount(invoice.amount_due, invoice.currency)
        raise TotalsDiffer(f"{ours} {invoice.currency} here, {found.total} {found.currency} in minor units at Stripe")
    return found


def finalize(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """Draft to open; Stripe marks what is too small to be charged as paid, and carries it over."""

    def find(since: dt.datetime) -> str | None:
        return None if status_of(client, stripe_id) == "draft" else stripe_id

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.finalize_invoice(stripe_id, {"auto_advance": False}, options).id

    _once(invoice, "finalize", send, find, now)


def mail(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """Have Stripe mail the open invoice, with its page to pay on; a mail that comes twice does no harm."""

    def find(since: dt.datetime) -> str | None:
        return None if status_of(client, stripe_id) == "open" else stripe_id

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.send_invoice(stripe_id, {}, options).id

    _once(invoice, "mail", send, find, now)


def charge(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, attempt: int, now: dt.datetime) -> None:
    """Charge the customer's card. A decline is StripeRefused; the next attempt has a number and so a key of its own."""

    def find(since: dt.datetime) -> str | None:
        return stripe_id if status_of(client, stripe_id) == "paid" else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.pay(stripe_id, {}, options).id

    _once(invoice, f"pay-{attempt}", send, find, now)


def void(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """Take back an invoice that is finalized at Stripe."""

    def find(since: dt.datetime) -> str | None:
        return stripe_id if status_of(client, stripe_id) == "void" else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.void_invoice(stripe_id, {}, options).id

    _once(invoice, "void", send, find, now)


def delete_draft(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """Take back an invoice that is still a draft at Stripe."""

    def find(since: dt.datetime) -> str | None:
        return stripe_id if status_of(client, stripe_id) == DELETED else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.delete(stripe_id, None, options).id

    _once(invoice, "delete", send, find, now)


def status_of(client: stripe.StripeClient, stripe_id: str) -> str:
    """Stripe's status of an invoice; DELETED where there is none, for Stripe forgets deleted drafts."""
    try:
        return client.v1.invoices.retrieve(stripe_id).status or ""
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            return DELETED
        raise


def _once(invoice: Invoice, step: str, send: Send, find: Find, now: dt.datetime) -> str:
    customer = invoice.customer
    key = key_of(step, invoice=invoice)
    return once(key, step=step, customer=customer, invoice=invoice, send=send, find=find, now=now)
