"""Which invoiced periods does late usage touch? Those a day of it overlaps; where allowance rolls over, those after."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from django.db.models import QuerySet, prefetch_related_objects

from billing.models import Invoice, InvoiceKind, InvoiceStatus
from billing.owing import rolls_over
from plans.periods import WITH_PHASES

ONE_DAY = dt.timedelta(days=1)


def cycles_touched(late_days: Mapping[uuid.UUID, Collection[dt.date]]) -> dict[uuid.UUID, list[Invoice]]:
    """By customer, the cycle invoices whose period these days (UTC) of its usage can have changed, oldest first.

    A voided one has given its period up. Each invoice knows its subscription, with the customer and all phases.
    """
    customers = [customer_id for customer_id, days in late_days.items() if days]
    by_customer: dict[uuid.UUID, list[Invoice]] = defaultdict(list)
    if not customers:
        return by_customer
    found = list(standing_cycles().filter(customer__in=customers).order_by("period_start"))
    prefetch_related_objects(found, "subscription__customer")
    prefetch_related_objects([subscription for cycle in found if (subscription := cycle.subscription)], WITH_PHASES)
    for cycle in found:
        by_customer[cycle.customer_id].append(cycle)
    return {customer_id: touched(cycles, late_days[customer_id]) for customer_id, cycles in by_customer.items()}


def touched(cycles: Iterable[Invoice], late_days: Collection[dt.date]) -> list[Invoice]:
    """Of a customer's cycle invoices, oldest first, those that late days touch."""
    found: list[Invoice] = []
    rolling: set[object] = set()
    for cycle in cycles:
        if cycle.subscription_id in rolling or any(_overlaps(day, cycle) for day in late_days):
            found.append(cycle)
            assert cycle.subscription is not None
            if rolls_over(cycle.subscription):
                rolling.add(cycle.subscription_id)
    return found


def standing_cycles() -> QuerySet[Invoice]:
    """Invoices that closed a period and have not given it up."""
    return Invoice.objects.filter(kind=InvoiceKind.CYCLE).exclude(status=InvoiceStatus.VOID)


def _overlaps(day: dt.date, cycle: Invoice) -> bool:
    start = dt.datetime.combine(day, dt.time.min, dt.UTC)
    return start < cycle.period_end and start + ONE_DAY > cycle.period_start
