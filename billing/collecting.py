"""How does a finalized invoice reach Stripe and get paid there? Step by step, each made once.

Customer, invoice, lines, a comparison of totals, finalize, charge. The invoice goes there as it was finalized; credit
notes that have lowered it meanwhile follow it before it is charged. A sweep takes what is due, walks the steps that are
not done yet, and leaves the rest to Stripe's webhooks (`stripe_inbox`), with a look of its own every hour in case a
webhook gets lost. Two sweeps at one invoice do no harm: every step has one key, and whoever finds that the invoice was
moved on or voided under its hands stops.
"""

import datetime as dt
import logging

import stripe
from django.db import transaction
from django.db.models import F

from billing import stripe_steps
from billing.bringing_home import CannotBe, NotOurs, bring_home
from billing.creditable import taken_off_due
from billing.models import Collection, InvoiceStatus, StripeCall
from billing.refunding import lower_at_stripe
from billing.stripe_gateway import StripeRefused, StripeUnavailable, ask, retry_delay, stripe_client
from billing.stripe_steps import TotalsDiffer, ensure_customer

__all__ = ["collect_due", "ensure_customer"]

log = logging.getLogger(__name__)

BATCH = 20
LEASE = dt.timedelta(minutes=5)
"""Longer than the steps of one invoice take; a sweep that is killed leaves the invoice to the next after this."""
LOOK_AGAIN_AFTER = dt.timedelta(hours=1)
LOOK_AT_BAD_DEBT_AFTER = dt.timedelta(days=1)
CHARGE_AGAIN_AFTER = dt.timedelta(days=1)
MAX_CHARGES = 4


class Superseded(Exception):
    """The collection was moved on or voided by somebody else meanwhile."""


def collect_due(*, now: dt.datetime) -> int:
    """Take due collections on as far as they go; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    for taken in range(BATCH):
        collection = _take_next(now)
        if collection is None:
            return taken
        _take_on(client, collection, now)
    return BATCH


def _take_next(now: dt.datetime) -> Collection | None:
    """The collection that is due longest, leased: nobody else takes it for a while."""
    with transaction.atomic():
        due = Collection.objects.filter(
            state__in=[Collection.State.DUE, Collection.State.SENT], not_before__lte=now
        ).select_for_update(of=["self"], skip_locked=True)
        collection = due.select_related("invoice__customer").order_by("not_before").first()
        if collection is not None:
            Collection.objects.filter(pk=collection.pk).update(not_before=now + LEASE)
    return collection


def _take_on(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    """One collection as far as it goes; what stops it is written down, and stops no other."""
    try:
        if collection.task == Collection.Task.VOID:
            _take_back(client, collection, now)
        elif collection.state == Collection.State.DUE:
            _bring_to_stripe(client, collection, now)
        else:
            _look(client, collection, now)
    except Superseded:
        # What this sweep made at Stripe may be younger than the look of whoever voided: that one looks once more.
        voided = Collection.objects.filter(pk=collection.pk, task=Collection.Task.VOID)
        voided.update(state=Collection.State.DUE, not_before=now)
    except StripeUnavailable as error:
        _retry_later(collection, error, now)
    except (StripeRefused, TotalsDiffer, NotOurs, CannotBe) as error:
        _park(collection, error)
    except Exception as error:
        log.exception("collecting invoice %s failed", collection.invoice)
        _retry_later(collection, error, now)


# --- the three tasks ------------------------------------------------------------------------------------------------


def _bring_to_stripe(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    """All the steps of a new invoice, up to the first charge."""
    invoice = collection.invoice
    customer_id = ensure_customer(client, invoice.customer, now=now)
    by_card = stripe_steps.pays_by_card(client, customer_id)
    _go_on(collection)
    stripe_id = stripe_steps.create_invoice(client, invoice, customer_id, by_card=by_card, now=now)
    Collection.objects.filter(pk=collection.pk).update(stripe_invoice_id=stripe_id)
    _go_on(collection)
    stripe_steps.add_lines(client, invoice, stripe_id, now=now)
    stripe_steps.compare(client, invoice, stripe_id)
    _go_on(collection)
    stripe_steps.finalize(client, invoice, stripe_id, now=now)
    lower_at_stripe(client, invoice, stripe_id, now=now)
    if not by_card:
        _mail(client, collection, stripe_id, now)
    _go_on(collection, state=Collection.State.SENT, not_before=now + LOOK_AGAIN_AFTER, attempts=0, last_error="")
    _charge_if_time(client, collection, stripe_id, now)


def _look(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    """What has become of the invoice, if its webhooks got lost; and another charge, when it is time."""
    stripe_id = collection.stripe_invoice_id
    assert stripe_id is not None
    bring_home(client, stripe_id, now=now)
    collection.refresh_from_db()
    if collection.state != Collection.State.SENT:
        return
    written_off = collection.invoice.status == InvoiceStatus.UNCOLLECTIBLE
    again = now + (LOOK_AT_BAD_DEBT_AFTER if written_off else LOOK_AGAIN_AFTER)
    _go_on(collection, not_before=again, attempts=0, last_error="")
    _charge_if_time(client, collection, stripe_id, now)


def _take_back(client: stripe.StripeClient, collection: Collection, now: dt.datetime) -> None:
    """Void it at Stripe, or delete the draft, whichever it is by now; a payment that was faster is brought home."""
    invoice, stripe_id = collection.invoice, collection.stripe_invoice_id
    if stripe_id is None and stripe_steps.may_exist(invoice):
        # Nobody knows whether it was created. Creating it under its key makes that certain, and then it can go.
        customer_id = ensure_customer(client, invoice.customer, now=now)
        by_card = stripe_steps.pays_by_card(client, customer_id)
        stripe_id = stripe_steps.create_invoice(client, invoice, customer_id, by_card=by_card, now=now)
        _go_on(collection, stripe_invoice_id=stripe_id)
    if stripe_id is not None:
        _undo(client, collection, stripe_id, now)
        bring_home(client, stripe_id, now=now)
    _go_on(collection, state=Collection.State.DONE, last_error="")


# --- on the way -----------------------------------------------------------------------------------------------------


def _mail(client: stripe.StripeClient, collection: Collection, stripe_id: str, now: dt.datetime) -> None:
    """Tell a customer without a card; one without an address cannot be told, but still finds the invoice's page."""
    if ask(lambda: stripe_steps.status_of(client, stripe_id)) != "open":
        return
    try:
        stripe_steps.mail(client, collection.invoice, stripe_id, now=now)
    except StripeRefused as error:
        _go_on(collection, payment_error=f"not mailed: {error}")


def _charge_if_time(client: stripe.StripeClient, collection: Collection, stripe_id: str, now: dt.datetime) -> None:
    """Charge the card; a decline is an answer, tried again a day later, four times at the most."""
    declined = StripeCall.objects.filter(
        invoice=collection.invoice, step__startswith="pay-", state=StripeCall.State.REFUSED
    )
    attempt = declined.count() + 1
    if attempt > MAX_CHARGES or declined.filter(finished_at__gt=now - CHARGE_AGAIN_AFTER).exists():
        return
    lower_at_stripe(client, collection.invoice, stripe_id, now=now)
    found = stripe_steps.compare(client, collection.invoice, stripe_id)
    if found.status != "open" or found.collection_method != "charge_automatically":
        return
    if found.pre_payment_credit_notes_amount != taken_off_due(collection.invoice):
        return  # somebody has written a credit note just now; the invoice is charged once that is there
    _go_on(collection)
    try:
        stripe_steps.charge(client, collection.invoice, stripe_id, attempt=attempt, now=now)
    except StripeRefused as error:
        _go_on(collection, payment_error=str(error))


def _undo(client: stripe.StripeClient, collection: Collection, stripe_id: str, now: dt.datetime) -> None:
    status = ask(lambda: stripe_steps.status_of(client, stripe_id))
    try:
        if status == "draft":
            stripe_steps.delete_draft(client, collection.invoice, stripe_id, now=now)
        elif status in ("open", "uncollectible"):
            stripe_steps.void(client, collection.invoice, stripe_id, now=now)
    except StripeRefused:
        # Somebody may have paid or voided it between the look and the call.
        if ask(lambda: stripe_steps.status_of(client, stripe_id)) not in ("paid", "void"):
            raise


def _go_on(collection: Collection, **fields: object) -> None:
    """Write down how far it is, if it still is where this sweep took it up. Raises Superseded."""
    mine = Collection.objects.filter(pk=collection.pk, task=collection.task, state=collection.state)
    if not mine.update(**fields or {"task": collection.task}):
        raise Superseded
    collection.state = fields.get("state", collection.state)  # type: ignore[assignment]


def _retry_later(collection: Collection, error: Exception, now: dt.datetime) -> None:
    Collection.objects.filter(pk=collection.pk, task=collection.task).update(
        attempts=F("attempts") + 1, not_before=now + retry_delay(collection.attempts), last_error=str(error)
    )


def _park(collection: Collection, error: Exception) -> None:
    mine = Collection.objects.filter(pk=collection.pk, task=collection.task).exclude(state=Collection.State.DONE)
    if mine.update(state=Collection.State.PARKED, last_error=str(error)):
        log.error("invoice %s is parked: %s", collection.invoice, error)
