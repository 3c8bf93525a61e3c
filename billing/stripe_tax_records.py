"""How does Stripe come to know, for the seller's tax returns, what tax was taken and given back?

An invoice that Stripe has taxed is recorded there once it is finalized, and taken back when it is voided or credited.
The calls are intended in the transaction in which that happens, and made by this sweep. Stripe cannot list what was
recorded, but takes a reference (our number) only once: that tells what became of a call whose outcome is not known.
"""

import datetime as dt
import logging
from typing import Any

import stripe
from django.db import transaction
from django.db.models import Sum

from billing.models import CreditNote, Invoice, StripeCall
from billing.stripe_gateway import Send, StripeRefused, StripeUnavailable, key_of, once, retry_delay, stripe_client

log = logging.getLogger(__name__)

BATCH = 20
LEASE = dt.timedelta(minutes=5)
TAKEN = "resource_already_exists"
"""Stripe's code for a reference that it has already."""


class NotRecordedYet(Exception):
    """What is to be taken back is itself still to be recorded."""


def record_due(*, now: dt.datetime) -> int:
    """Make the intended calls that are due; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    for taken in range(BATCH):
        call = _take_next(now)
        if call is None:
            return taken
        _take_on(client, call, now)
    return BATCH


def _take_next(now: dt.datetime) -> StripeCall | None:
    """The call that is due longest, leased: nobody else takes it for a while."""
    with transaction.atomic():
        due = StripeCall.objects.filter(state=StripeCall.State.INTENT, not_before__lte=now)
        locked = due.select_for_update(of=["self"], skip_locked=True)
        call = locked.select_related("customer", "invoice", "credit_note__invoice").order_by("not_before").first()
        if call is not None:
            _put_off(call, now + LEASE)
    return call


def _take_on(client: stripe.StripeClient, call: StripeCall, now: dt.datetime) -> None:
    try:
        if call.credit_note is not None:
            _take_back_note(client, call, call.credit_note, now)
        elif call.step == "untax":
            _take_back_rest(client, call, now)
        else:
            _record(client, call, now)
    except (StripeUnavailable, NotRecordedYet):
        _put_off(call, now + retry_delay(call.attempts))
    except StripeRefused as error:
        log.error("Stripe does not record %s: %s", call, error)
    except Exception:
        log.exception("recording %s failed", call)
        _put_off(call, now + retry_delay(call.attempts))


def _record(client: stripe.StripeClient, call: StripeCall, now: dt.datetime) -> None:
    """The tax of an invoice. One below zero takes back from earlier ones instead."""
    invoice = call.invoice
    assert invoice is not None
    if invoice.total < 0:
        return _take_back_from_earlier(client, call, invoice, now)
    params: Any = {"calculation": invoice.tax_reference, "reference": invoice.number}
    _make(call, lambda options: client.v1.tax.transactions.create_from_calculation(params, options).id, now)
    return None


def _take_back_note(client: stripe.StripeClient, call: StripeCall, note: CreditNote, now: dt.datetime) -> None:
    _reverse(client, call, note.invoice, note.number, note.net, note.tax, now)


def _take_back_rest(client: stripe.StripeClient, call: StripeCall, now: dt.datetime) -> None:
    """What credit notes have left of a void invoice."""
    invoice = call.invoice
    assert invoice is not None and invoice.tax is not None
    sums = invoice.credit_notes.aggregate(net=Sum("net", default=0), tax=Sum("tax", default=0))
    net, tax = invoice.subtotal - sums["net"], invoice.tax - sums["tax"]
    _reverse(client, call, invoice, f"{invoice.number}-void", net, tax, now)


def _reverse(
    client: stripe.StripeClient,
    call: StripeCall,
    invoice: Invoice,
    reference: str,
    net: int,
    tax: int,
    now: dt.datetime,
) -> None:
    """Take back so much of what was recorded for an invoice; amounts are exact, so that Stripe rounds nothing."""
    original = _recorded(invoice)
    (line,) = _ask_lines(client, original)
    taken = {"amount": -net, "amount_tax": -tax, "original_line_item": line, "reference": reference}
    params: Any = {
        "mode": "partial", "original_transaction": original, "reference": reference, "line_items": [taken],
    }  # fmt: skip
    _make(call, lambda options: client.v1.tax.transactions.create_reversal(params, options).id, now)
