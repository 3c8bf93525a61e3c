"""What is asked of Stripe for a credit note? To lower an open invoice, or to give back what was paid for it.

Each is made once (`stripe_gateway.once`), under a key that names our credit note and the step. A refund is made of the
payment, and not by a credit note of Stripe's: so it is one object with a fate of its own, and can be found again by
its payment whatever became of the call. Amounts are minor units. All raise StripeUnavailable and StripeRefused.
"""

import datetime as dt
from typing import Any

import stripe

from billing.models import CreditNote
from billing.stripe_gateway import Find, Send, StripeRefused, ask, key_of, metadata_of, once

PAGE = 100
LONGEST_MEMO = 500


def lower(client: stripe.StripeClient, note: CreditNote, stripe_invoice_id: str, *, now: dt.datetime) -> str:
    """Take `off_due` off an open invoice; the id of Stripe's credit note. Refused once the invoice is paid or void."""
    params: Any = {
        "invoice": stripe_invoice_id,
        "amount": note.off_due,
        "memo": f"{note.number}: {note.reason}"[:LONGEST_MEMO],
        "metadata": {"parley_credit_note": str(note.pk)},
    }

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.credit_notes.create(params, options).id

    def find(since: dt.datetime) -> str | None:
        of_invoice: Any = {"invoice": stripe_invoice_id, "limit": PAGE}
        return _named(note, client.v1.credit_notes.list(of_invoice).auto_paging_iter())

    return _once(note, "lower", send, find, now)


def refund(client: stripe.StripeClient, note: CreditNote, stripe_invoice_id: str, *, now: dt.datetime) -> str:
    """Give back `refunded` of what was paid; the id of the refund. Refused where Stripe has collected nothing."""
    paid_with = _payment_of(client, stripe_invoice_id)
    params: Any = {**paid_with, "amount": note.refunded, "metadata": {"parley_credit_note": str(note.pk)}}

    def send(options: stripe.RequestOptions) -> str:
        return client.v1.refunds.create(params, options).id

    def find(since: dt.datetime) -> str | None:
        of_payment: Any = {**paid_with, "limit": PAGE}
        return _named(note, client.v1.refunds.list(of_payment).auto_paging_iter())

    return _once(note, "refund", send, find, now)


def _payment_of(client: stripe.StripeClient, stripe_invoice_id: str) -> dict[str, str]:
    """What the invoice was paid with; of several payments the largest, which of two tries is the same one."""
    paid: Any = {"invoice": stripe_invoice_id, "status": "paid", "limit": PAGE}
    found = ask(lambda: list(client.v1.invoice_payments.list(paid).auto_paging_iter()))
    largest_first = sorted(found, key=lambda payment: (-(payment.amount_paid or 0), payment.id))
    for kind in ("payment_intent", "charge"):
        for payment in largest_first:
            if payment.payment.type == kind:
                return {kind: str(getattr(payment.payment, kind))}
    raise StripeRefused(f"{stripe_invoice_id} was not paid through Stripe")


def _named(note: CreditNote, found: Any) -> str | None:
    return next((str(one.id) for one in found if metadata_of(one).get("parley_credit_note") == str(note.pk)), None)


def _once(note: CreditNote, step: str, send: Send, find: Find, now: dt.datetime) -> str:
    key = key_of(step, credit_note=note)
    return once(key, step=step, customer=note.customer, credit_note=note, send=send, find=find, now=now)
