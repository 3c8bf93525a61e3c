"""How does a credit note reach Stripe, and how does its refund end?

What it takes off an unpaid invoice is taken off at Stripe as soon as the invoice is open there; if that was paid first,
the surplus has become credit (`bringing_home`), and nothing is left to do. What it refunds is on its way until Stripe
says that it has arrived; a refund that fails, at once or weeks later, becomes credit of the customer.
"""

import datetime as dt
import logging
import uuid

import stripe
from django.db import transaction
from django.db.models import F

from billing import stripe_notes
from billing.bringing_home import CannotBe, NotOurs, bring_home
from billing.credit_notes import book, is_booked
from billing.creditable import REFUND_FAILED
from billing.models import AccountKind, Collection, CreditNote, Invoice
from billing.stripe_gateway import StripeRefused, StripeUnavailable, ask, metadata_of, retry_delay, stripe_client
from billing.stripe_steps import status_of

log = logging.getLogger(__name__)

BATCH = 20
LEASE = dt.timedelta(minutes=5)
WAIT_FOR_INVOICE = dt.timedelta(minutes=1)
LOOK_AGAIN_AFTER = dt.timedelta(hours=1)
LOOK_AT_ARRIVED_AFTER = dt.timedelta(days=1)
CERTAIN_AFTER = dt.timedelta(days=30)
"""Until then a bank may send back what Stripe has called a success."""
HOW_FINAL = {"pending": 1, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3}
"""Stripe's statuses of a refund only ever follow each other in this order."""


def refund_due(*, now: dt.datetime) -> int:
    """Take due credit notes on as far as they go; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    for taken in range(BATCH):
        note = _take_next(now)
        if note is None:
            return taken
        _take_on(client, note, now)
    return BATCH


def lower_at_stripe(client: stripe.StripeClient, invoice: Invoice, stripe_id: str, *, now: dt.datetime) -> None:
    """Take off a finalized invoice there what credit notes have taken off here, unless it was paid or voided first."""
    try:
        for note in _waiting(invoice):
            lowered_by = stripe_notes.lower(client, note, stripe_id, now=now)
            CreditNote.objects.filter(pk=note.pk).update(stripe_id=lowered_by)
    except StripeRefused:
        if _status(client, stripe_id) not in ("paid", "void"):
            raise


def bring_refund_home(client: stripe.StripeClient, refund_id: str, *, now: dt.datetime) -> None:
    """Apply what Stripe says of its refund. Raises NotOurs, CannotBe, and those of `ask`."""
    found: stripe.Refund = ask(lambda: client.v1.refunds.retrieve(refund_id))
    status = found.status or ""
    with transaction.atomic():
        note = _ours(found)
        if HOW_FINAL.get(status, 0) < HOW_FINAL.get(note.refund_status, 0):
            return  # somebody who looked later has been faster
        note.refund_id, note.refund_status = found.id, status
        if status in REFUND_FAILED:
            _keep_as_credit(note, f"the refund has {status}: {found.failure_reason or 'no reason given'}", now)
        elif status == "succeeded":
            book(note, "refunded", debit=AccountKind.REFUND, credit=AccountKind.CASH, amount=note.refunded, at=now)
            certain = now - note.created_at >= CERTAIN_AFTER
            _look_again(note, None if certain else now + LOOK_AT_ARRIVED_AFTER)
        else:
            _look_again(note, now + LOOK_AGAIN_AFTER)


def _take_next(now: dt.datetime) -> CreditNote | None:
    """The credit note that is due longest, leased: nobody else takes it for a while."""
    with transaction.atomic():
        due = CreditNote.objects.filter(state__in=[CreditNote.State.DUE, CreditNote.State.SENT], not_before__lte=now)
        locked = due.select_for_update(of=["self"], skip_locked=True).select_related("customer", "invoice__collection")
        note = locked.order_by("not_before").first()
        if note is not None:
            CreditNote.objects.filter(pk=note.pk).update(not_before=now + LEASE)
    return note


def _take_on(client: stripe.StripeClient, note: CreditNote, now: dt.datetime) -> None:
    """One credit note as far as it goes; what stops it is written down, and stops no other."""
    try:
        if note.state == CreditNote.State.SENT:
            bring_refund_home(client, note.refund_id, now=now)
        elif note.off_due and not _is_lowered(client, note.invoice, now):
            CreditNote.objects.filter(pk=note.pk).update(not_before=now + WAIT_FOR_INVOICE)
        elif note.refunded:
            _refund(client, note, now)
        else:
            CreditNote.objects.filter(pk=note.pk).update(state=CreditNote.State.DONE, not_before=None, last_error="")
    except StripeUnavailable as error:
        _retry_later(note, error, now)
    except (StripeRefused, NotOurs, CannotBe) as error:
        CreditNote.objects.filter(pk=note.pk).update(state=CreditNote.State.PARKED, last_error=str(error))
        log.error("credit note %s is parked: %s", note, error)
    except Exception as error:
        log.exception("credit note %s failed", note)
        _retry_later(note, error, now)


# --- what is still due ----------------------------------------------------------------------------------------------


def _is_lowered(client: stripe.StripeClient, invoice: Invoice, now: dt.datetime) -> bool:
    """Take the invoice's credit notes off at Stripe; False: it is not finalized there yet."""
    collection = invoice.collection
    if collection.task == Collection.Task.VOID:
        return True
    stripe_id = collection.stripe_invoice_id
    if stripe_id is None or _status(client, stripe_id) == "draft":
        return False
    lower_at_stripe(client, invoice, stripe_id, now=now)
    bring_home(client, stripe_id, now=now)
    return True


def _waiting(invoice: Invoice) -> list[CreditNote]:
    notes = CreditNote.objects.filter(invoice=invoice, state=CreditNote.State.DUE, off_due__gt=0, stripe_id="")
    return list(notes.select_related("customer").order_by("id"))


def _status(client: stripe.StripeClient, stripe_id: str) -> str:
    return ask(lambda: status_of(client, stripe_id))


# --- what was paid --------------------------------------------------------------------------------------------------


def _refund(client: stripe.StripeClient, note: CreditNote, now: dt.datetime) -> None:
    stripe_id = note.invoice.collection.stripe_invoice_id
    assert stripe_id is not None
    try:
        refund_id = stripe_notes.refund(client, note, stripe_id, now=now)
    except StripeRefused as error:
        with transaction.atomic():
            note = _locked(note.pk)
            note.refund_status = "failed"
            _keep_as_credit(note, f"Stripe does not refund it: {error}", now)
        return
    CreditNote.objects.filter(pk=note.pk).update(refund_id=refund_id)
    bring_refund_home(client, refund_id, now=now)


def _ours(found: stripe.Refund) -> CreditNote:
    """Our credit note, locked, that the refund names and agrees with."""
    named = metadata_of(found).get("parley_credit_note", "")
    try:
        note = _locked(uuid.UUID(named))
    except (ValueError, CreditNote.DoesNotExist) as error:
        raise NotOurs(f"{found.id} names {named!r}") from error
    if note.refund_id not in ("", found.id):
        raise NotOurs(f"{found.id} names {note}, whose refund is {note.refund_id}")
    if (found.amount, found.currency) != (note.refunded, note.currency.lower()):
        raise CannotBe(f"{found.id}: {found.amount} {found.currency} there, {note.refunded} {note.currency} here")
    return note


def _locked(note_id: uuid.UUID) -> CreditNote:
    """The credit note, with its invoice's lock before its own."""
    invoice_id = CreditNote.objects.values_list("invoice", flat=True).get(pk=note_id)
    Invoice.objects.select_for_update(of=["self"]).get(pk=invoice_id)
    return CreditNote.objects.select_for_update(of=["self"]).select_related("customer").get(pk=note_id)


def _keep_as_credit(note: CreditNote, why: str, now: dt.datetime) -> None:
    """The refund does not reach the customer: what was on its way, or seemed to have arrived, is owed as credit."""
    coming, credit = AccountKind.REFUND, AccountKind.CREDIT
    if is_booked(note, "refunded"):
        book(note, "returned", debit=AccountKind.CASH, credit=coming, amount=note.refunded, at=now)
    book(note, "kept", debit=coming, credit=credit, amount=note.refunded, at=now)
    note.last_error = why
    _look_again(note, None)


def _look_again(note: CreditNote, at: dt.datetime | None) -> None:
    """Write down what is known of the refund, and when to look at it again; None: that is all."""
    note.state, note.not_before = CreditNote.State.DONE if at is None else CreditNote.State.SENT, at
    note.attempts = 0
    note.save(update_fields=["state", "refund_id", "refund_status", "not_before", "attempts", "last_error"])


def _retry_later(note: CreditNote, error: Exception, now: dt.datetime) -> None:
    CreditNote.objects.filter(pk=note.pk).exclude(state=CreditNote.State.DONE).update(
        attempts=F("attempts") + 1, not_before=now + retry_delay(note.attempts), last_error=str(error)
    )
