"""Which sweeps of metering does Celery wake?"""

from celery import shared_task
from django.utils import timezone

from metering import settling
from metering.catalogue import sync_rates
from metering.watching import count_watched_ahead


@shared_task(name="metering.settle_due")
def settle_due() -> None:
    """Let in released events, settle the conversations whose time has come, and count ahead what is much asked for."""
    now = timezone.now()
    settling.settle(as_of=now, now=now)
    count_watched_ahead(now=now)


@shared_task(name="metering.sync_supplier_rates")
def sync_supplier_rates() -> None:
    """Append what the price catalogue has learned."""
    sync_rates(timezone.now())
