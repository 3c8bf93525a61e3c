"""Which sweeps of billing does Celery wake? Each finds its work in rows; losing a message loses nothing."""

import contextlib
import time
import uuid

from celery import shared_task
from django.utils import timezone

from billing import (
    billing,
    collecting,
    expiring,
    refunding,
    stripe_inbox,
    stripe_tax,
    stripe_tax_records,
    topping_up,
)
from billing.stripe_gateway import StripeNotConfigured
from metering.settling import settle

BILL_EXPIRES_S = 60
"""A batch that no worker has come to by then is found again by the next sweep."""
BATCHES_A_SWEEP = 40
"""Half a minute's work for one worker. More waits for the next sweep, so that the other ones have their turn."""
AT_STRIPE_FOR_S = 20.0
"""After which a worker does something else; the next sweep goes on."""
AT_STRIPE = (stripe_tax.finalize_due, collecting.collect_due, refunding.refund_due, stripe_tax_records.record_due)


@shared_task(name="billing.bill_due")
def bill_due() -> None:
    """Give the periods that are over to the workers, batch by batch."""
    now = timezone.now()
    settle(as_of=now, now=now)
    longest_due = billing.schedules_due(as_of=now, now=now)[: BATCHES_A_SWEEP * billing.SUBSCRIPTIONS_A_BATCH]
    for batch in billing.batches(longest_due):
        bill_batch.apply_async((list(map(str, batch)),), expires=BILL_EXPIRES_S)


@shared_task(name="billing.bill_batch")
def bill_batch(schedule_ids: list[str]) -> None:
    """Invoice what is over by now of these subscriptions."""
    now = timezone.now()
    billing.bill_batch(list(map(uuid.UUID, schedule_ids)), as_of=now, now=now)


@shared_task(name="billing.collect_due")
def collect_due() -> None:
    """Have Stripe tax the drafts that wait for it, and take finalized invoices and credit notes there."""
    until = time.monotonic() + AT_STRIPE_FOR_S
    with contextlib.suppress(StripeNotConfigured):
        while sum(sweep(now=timezone.now()) for sweep in AT_STRIPE) and time.monotonic() < until:
            pass


@shared_task(name="billing.read_stripe_inbox")
def read_stripe_inbox() -> None:
    """Look into what Stripe told us."""
    with contextlib.suppress(StripeNotConfigured):
        while stripe_inbox.work_off_inbox(now=timezone.now()):
            pass


@shared_task(name="billing.expire_grants")
def expire_grants() -> None:
    """Take what is left of expired credit out of the wallets."""
    now = timezone.now()
    expiring.expire_grants(as_of=now, now=now)


@shared_task(name="billing.top_up_due")
def top_up_due() -> None:
    """Buy credit for the customers whose rule says so, and send the invoices on their way."""
    now = timezone.now()
    if topping_up.top_up_due(as_of=now, now=now):
        collect_due.delay()
