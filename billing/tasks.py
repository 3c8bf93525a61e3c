"""Which sweeps of billing does Celery wake? Each finds its work in rows; losing a message loses nothing."""

import contextlib
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
AT_STRIPE = (stripe_tax.finalize_due, collecting.collect_due, refunding.refund_due, stripe_tax_records.record_due)


@shared_task(name="billing.bill_due")
def bill_due() -> None:
    """Give the periods that are over to the workers, batch by batch."""
    now = timezone.now()
    settle(as_of=now, now=now)
    for batch in billing.batches(billing.schedules_due(as_of=now, now=now)):
        bill_batch.apply_async((list(map(str, batch)),), expires=BILL_EXPIRES_S)


@shared_task(name="billing.bill_batch")
def bill_batch(schedule_ids: list[str]) -> None:
    """Invoice what is over by now of these subscriptions, and send the invoices on their way."""
    now = timezone.now()
    if billing.bill_batch(list(map(uuid.UUID, schedule_ids)), as_of=now, now=now).invoices:
        collect_due.delay()


@shared_task(name="billing.collect_due")
def collect_due() -> None:
    """Have Stripe tax the drafts that wait for it, and take finalized invoices and credit notes there."""
    with contextlib.suppress(StripeNotConfigured):
        for sweep in AT_STRIPE:
            while sweep(now=timezone.now()):
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
