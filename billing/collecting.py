"""How does a finalized invoice reach Stripe and get paid there? Step by step, each made once.

Customer, invoice, lines, a comparison of totals, finalize, pay. A sweep leases what is due, walks the steps that are
not done yet, and leaves the rest to Stripe's webhooks (`stripe_inbox`), with a look of its own now and then in case a
webhook gets lost.
"""

import datetime as dt
import logging
from typing import Any

import stripe
from django.db import transaction
from django.db.models import F

from billing.bringing_home import bring_home
from billing.models import Collection, Invoice, StripeCall, StripeCustomer
from billing.stripe_gateway import StripeRefused, StripeUnavailable, ask, metadata_of, once, stripe_client
from plans.models import Customer
from plans.money import format_amount

log = logging.getLogger(__name__)

LEASE = dt.timedelta(minutes=2)
"""Longer than the steps of one invoice take; a sweep that is killed leaves the invoice to the next after this."""
BATCH = 20
FIRST_RETRY = dt.timedelta(seconds=5)
LONGEST_RETRY = dt.timedelta(hours=1)
LOOK_AGAIN_AFTER = dt.timedelta(hours=1)
PAY_AGAIN_AFTER = dt.timedelta(days=1)
MAX_PAYMENT_ATTEMPTS = 4
DAYS_UNTIL_DUE = 30


class TotalsDiffer(Exception):
    """Stripe's total for the invoice is not ours; it is not finalized there."""


def collect_due(*, now: dt.datetime) -> int:
    """Take the due collections one step on; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    collections = _lease(now)
    for collection in collections:
        try:
            _advance(client, collection, now)
        except StripeUnavailable as error:
            _retry_later(collection, error, now)
        except (StripeRefused, TotalsDiffer) as error:
            log.error("invoice %s is parked: %s", collection.invoice, error)
            Collection.objects.filter(pk=collection.pk).update(state=Collection.State.PARKED, last_error=str(error))
    return len(collections)


def _lease(now: dt.datetime) -> list[Collection]:
    with transaction.atomic():
        due = Collection.objects.filter(
            state__in=[Collection.State.DUE, Collection.State.SENT], not_before__lte=now
        ).select_for_update(of=["self"], skip_locked=True)
        leased = list(due.select_related("invoice__customer").order_by("not_before")[:BATCH])
        Collection.objects.filter(pk__in=[collection.pk for collection in leased]).update(not_before=now + LEASE)
    return leased


def _advance(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    if collection.state == Collection.State.SENT:
        assert collection.stripe_invoice_id is not None
        bring_home(client, collection.stripe_invoice_id, now=now)
        collection.refresh_from_db()
        if collection.state == Collection.State.SENT:
            _pay(client, collection, now)
    elif collection.task == Collection.Task.VOID:
        _void(client, collection, now)
    else:
        _send(client, collection, now)


def _retry_later(collection: Collection, error: Exception, now: dt.datetime) -> None:
    delay = min(FIRST_RETRY * 2**collection.attempts, LONGEST_RETRY)
    Collection.objects.filter(pk=collection.pk).update(
        attempts=F("attempts") + 1, not_before=now + delay, last_error=str(error)
    )


# --- the steps ------------------------------------------------------------------------------------------------------


def _send(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    invoice = collection.invoice
    customer_id = ensure_customer(client, invoice.customer, now=now)
    pays_by_card = _has_payment_method(client, customer_id)
    stripe_id = _create(client, invoice, customer_id, pays_by_card, now)
    Collection.objects.filter(pk=collection.pk).update(stripe_invoice_id=stripe_id)
    collection.stripe_invoice_id = stripe_id
    _add_lines(client, invoice, stripe_id, now)
    _compare(client, invoice, stripe_id)
    _finalize(client, invoice, stripe_id, now)
    Collection.objects.filter(pk=collection.pk).update(
        state=Collection.State.SENT, not_before=now + LOOK_AGAIN_AFTER, attempts=0, last_error=""
    )
    if pays_by_card:
        _pay(client, collection, now)


def ensure_customer(client: stripe.StripeClient, customer: Customer, *, now: dt.datetime) -> str:
    """The customer's id at Stripe, made there if need be."""
    known = StripeCustomer.objects.filter(customer=customer).first()
    if known is not None:
        return known.stripe_id
    metadata = {"parley_customer": str(customer.id)}

    def send(options: stripe.RequestOptions) -> str:
        params: Any = {"name": customer.name or customer.key, "metadata": metadata}
        if customer.email:
            params["email"] = customer.email
        return client.v1.customers.create(params, options).id

    def find() -> str | None:
        since = int((now - dt.timedelta(days=2)).timestamp())
        for found in client.v1.customers.list({"created": {"gte": since}, "limit": 100}).auto_paging_iter():
            if metadata_of(found).get("parley_customer") == str(customer.id):
                return found.id
        return None

    key = f"customer:{customer.id}"
    stripe_id = once(key, step="customer", customer=customer, invoice=None, send=send, find=find, now=now)
    StripeCustomer.objects.get_or_create(customer=customer, defaults={"stripe_id": stripe_id})
    return stripe_id


def _has_payment_method(client: stripe.StripeClient, customer_id: str) -> bool:
    found = ask(lambda: client.v1.customers.retrieve(customer_id))
    chosen = found.invoice_settings
    return bool(chosen and chosen.default_payment_method)


def _create(
    client: stripe.StripeClient, invoice: Invoice, customer_id: str, pays_by_card: bool, now: dt.datetime
) -> str:
    params: Any = {
        "customer": customer_id,
        "currency": invoice.currency.lower(),
        "number": invoice.number,
        "auto_advance": False,
        "collection_method": "charge_automatically" if pays_by_card else "send_invoice",
        "pending_invoice_items_behavior": "exclude",
        "metadata": {"parley_invoice": str(invoice.id)},
    }
    if not pays_by_card:
        params["days_until_due"] = DAYS_UNTIL_DUE

    def find() -> str | None:
        for found in client.v1.invoices.list({"customer": customer_id, "limit": 100}).auto_paging_iter():
            if metadata_of(found).get("parley_invoice") == str(invoice.id):
                return found.id
        return None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.create(params, options).id

    return _invoice_once(invoice, "create", send, find, now)


def _add_lines(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, now: dt.datetime) -> None:
    lines: list[Any] = [{"amount": line.amount, "description": line.description[:500]} for line in invoice.lines.all()]
    if invoice.credit_applied:
        lines.append({"amount": -invoice.credit_applied, "description": "Credit applied"})

    def find() -> str | None:
        found = client.v1.invoices.line_items.list(stripe_id, {"limit": 1})
        return stripe_id if found.data else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.add_lines(stripe_id, {"lines": lines}, options).id

    _invoice_once(invoice, "lines", send, find, now)


def _compare(client: stripe.StripeClient, invoice: Invoice, stripe_id: str) -> None:
    found = ask(lambda: client.v1.invoices.retrieve(stripe_id))
    if found.total != invoice.amount_due or found.currency != invoice.currency.lower():
        ours = format_amount(invoice.amount_due, invoice.currency)
        raise TotalsDiffer(f"{ours} {invoice.currency} here, {found.total} {found.currency} in minor units at Stripe")


def _finalize(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, now: dt.datetime) -> None:
    def find() -> str | None:
        return None if client.v1.invoices.retrieve(stripe_id).status == "draft" else stripe_id

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.finalize_invoice(stripe_id, {"auto_advance": False}, options).id

    _invoice_once(invoice, "finalize", send, find, now)


def _pay(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    """Charge the customer's card; a decline is an answer, tried again a day later, four times at the most."""
    stripe_id = collection.stripe_invoice_id
    assert stripe_id is not None
    declined = StripeCall.objects.filter(
        invoice=collection.invoice, step__startswith="pay", state=StripeCall.State.REFUSED
    )
    attempt = declined.count() + 1
    again = now + (PAY_AGAIN_AFTER if attempt <= MAX_PAYMENT_ATTEMPTS else LOOK_AGAIN_AFTER)
    Collection.objects.filter(pk=collection.pk, state=Collection.State.SENT).update(not_before=again)
    found = ask(lambda: client.v1.invoices.retrieve(stripe_id))
    if attempt > MAX_PAYMENT_ATTEMPTS or found.status != "open" or found.collection_method != "charge_automatically":
        return

    def find() -> str | None:
        return stripe_id if client.v1.invoices.retrieve(stripe_id).status == "paid" else None

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.invoices.pay(stripe_id, {}, options).id

    try:
        _invoice_once(collection.invoice, f"pay-{attempt}", send, find, now)
    except StripeRefused as error:
        Collection.objects.filter(pk=collection.pk).update(payment_error=str(error))


def _void(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    stripe_id = collection.stripe_invoice_id
    if stripe_id is None:
        Collection.objects.filter(pk=collection.pk).update(state=Collection.State.DONE)
        return
    found = ask(lambda: client.v1.invoices.retrieve(stripe_id))
    if found.status == "draft":
        _invoice_once(
            collection.invoice,
            "delete",
            lambda options: client.v1.invoices.delete(stripe_id, None, options).id,
            lambda: None,
            now,
        )
    elif found.status == "open":
        _invoice_once(
            collection.invoice,
            "void",
            lambda options: client.v1.invoices.void_invoice(stripe_id, {}, options).id,
            lambda: stripe_id if client.v1.invoices.retrieve(stripe_id).status == "void" else None,
            now,
        )
    bring_home(client, stripe_id, now=now)
    Collection.objects.filter(pk=collection.pk).update(state=Collection.State.DONE)


def _invoice_once(invoice: Invoice, step: str, send: Any, find: Any, now: dt.datetime) -> str:
    key = f"invoice:{invoice.id}:{step}"
    return once(key, step=step, customer=invoice.customer, invoice=invoice, send=send, find=find, now=now)
