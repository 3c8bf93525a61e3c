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

from billing.models import Invoice, InvoiceStatus, StripeCall
from billing.stripe_gateway import Send, StripeRefused, StripeUnavailable, ask, key_of, once, retry_delay, stripe_client

log = logging.getLogger(__name__)

BATCH = 20
LEASE = dt.timedelta(minutes=5)
REFERENCE_IS_TAKEN = "resource_already_exists"
MOST_EARLIER = 12
"""Invoices, the newest first, that an invoice below zero is tried on."""


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
            note = call.credit_note
            _take_back(client, call, note.invoice, note.number, note.net, note.tax, now)
        elif call.step == "untax":
            _take_back_rest(client, call, now)
        else:
            _record(client, call, now)
    except (StripeUnavailable, NotRecordedYet):
        _put_off(call, now + retry_delay(call.attempts))
    except StripeRefused as error:
        log.error("Stripe does not record %s: %s", call.pk, error)
        _end(call, StripeCall.State.REFUSED, now, error=str(error))
    except Exception:
        log.exception("recording %s failed", call.pk)
        _put_off(call, now + retry_delay(call.attempts))


def _record(client: stripe.StripeClient, call: StripeCall, now: dt.datetime) -> None:
    """The tax of an invoice; one below zero takes back what was recorded for an earlier one."""
    invoice = call.invoice
    assert invoice is not None and invoice.number is not None and invoice.tax is not None
    if invoice.total < 0:
        _take_back_from_earlier(client, call, invoice, now)
        return
    params: Any = {"calculation": invoice.tax_reference, "reference": invoice.number}
    _make(call, lambda options: client.v1.tax.transactions.create_from_calculation(params, options).id, now)


def _take_back_rest(client: stripe.StripeClient, call: StripeCall, now: dt.datetime) -> None:
    """What credit notes have left of a void invoice."""
    invoice = call.invoice
    assert invoice is not None and invoice.tax is not None
    sums = invoice.credit_notes.aggregate(net=Sum("net", default=0), tax=Sum("tax", default=0))
    net, tax = invoice.subtotal - sums["net"], invoice.tax - sums["tax"]
    _take_back(client, call, invoice, f"{invoice.number}-void", net, tax, now)


def _take_back_from_earlier(client: stripe.StripeClient, call: StripeCall, invoice: Invoice, now: dt.datetime) -> None:
    """From the newest invoice before it of which enough is left; Stripe refuses more than there is."""
    assert invoice.number is not None and invoice.tax is not None
    earlier = Invoice.objects.filter(customer=invoice.customer, finalized_at__lt=invoice.finalized_at, total__gt=0)
    taxed = earlier.exclude(tax_reference="").exclude(status=InvoiceStatus.VOID).order_by("-finalized_at")
    for place, candidate in enumerate(taxed[:MOST_EARLIER]):
        step = f"{call.step}-{place + 1}"
        attempt = StripeCall(pk=key_of(step, invoice=invoice), step=step, customer=call.customer, invoice=invoice)
        try:
            _take_back(client, attempt, candidate, invoice.number, -invoice.subtotal, -invoice.tax, now)
        except StripeRefused:
            continue
        _end(call, StripeCall.State.DONE, now)
        return
    raise StripeRefused("no earlier invoice has so much left that it could be taken back")


def _take_back(
    client: stripe.StripeClient,
    call: StripeCall,
    recorded: Invoice,
    reference: str,
    net: int,
    tax: int,
    now: dt.datetime,
) -> None:
    """Take back so much of what was recorded for an invoice; to the unit, so that Stripe rounds nothing."""
    original = _transaction_of(recorded)
    (line,) = ask(lambda: client.v1.tax.transactions.line_items.list(original).data)
    back = {"amount": -net, "amount_tax": -tax, "original_line_item": line.id, "reference": reference}
    params: Any = {"mode": "partial", "original_transaction": original, "reference": reference, "line_items": [back]}
    _make(call, lambda options: client.v1.tax.transactions.create_reversal(params, options).id, now)


def _transaction_of(invoice: Invoice) -> str:
    """The id of what was recorded for an invoice. Raises NotRecordedYet; StripeRefused where it is not known."""
    call = StripeCall.objects.get(pk=key_of("tax", invoice=invoice))
    if call.state == StripeCall.State.INTENT:
        raise NotRecordedYet
    if not call.stripe_id:
        raise StripeRefused(f"what is recorded for {invoice} has an id at Stripe that was never told")
    return call.stripe_id


def _make(call: StripeCall, send: Send, now: dt.datetime) -> None:
    def find(since: dt.datetime) -> str | None:
        """Nothing lists what is recorded: asking again tells, for under its key it is the same call, and the reference
        is taken only once.
        """
        try:
            return send({"idempotency_key": call.pk})
        except stripe.InvalidRequestError as error:
            if error.code == REFERENCE_IS_TAKEN:
                return ""
            raise

    once(call.pk, step=call.step, customer=call.customer, invoice=call.invoice, send=send, find=find, now=now)


def _end(call: StripeCall, state: StripeCall.State, now: dt.datetime, *, error: str = "") -> None:
    unknown = StripeCall.objects.filter(pk=call.pk, state=StripeCall.State.INTENT)
    unknown.update(state=state, error=error, finished_at=now)


def _put_off(call: StripeCall, until: dt.datetime) -> None:
    StripeCall.objects.filter(pk=call.pk).update(not_before=until)
