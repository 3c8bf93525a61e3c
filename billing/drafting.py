"""What is on the invoice of a period? Lines, from today's counts and the terms, by the one price path.

A cycle invoice carries the base fee of the period that begins, the usage of the one that is over, and an adjustment
for each earlier period whose usage changed after it was invoiced: that period priced anew, minus all that was billed
for it. Each line is rounded once; nothing else rounds.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from billing.models import Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineKind
from metering.reading import changed_since, count_settled
from plans.calendar import Period, time_zone
from plans.models import Subscription
from plans.money import format_amount, to_minor
from plans.pricing import PricedTier, price_usage
from plans.subscribing import Agreement, agreement
from plans.terms import Flat

NAMED_CONVERSATIONS = 50
"""How many changed conversations an adjustment names; all of them are in the CSV of its period."""


def draft_start(subscription: Subscription, *, now: dt.datetime) -> Invoice | None:
    """The first base fee, in advance; None where the plan has none."""
    agreed = agreement(subscription, 0)
    if not agreed.terms.base_fee:
        return None
    return _draft(subscription, InvoiceKind.START, agreed, agreed.period, [base_fee_line(agreed)], now)


def draft_cycle(subscription: Subscription, index: int, late_days: Sequence[dt.date], *, now: dt.datetime) -> Invoice:
    """The invoice of the period `index`, which is over; the caller has taken the meter reading."""
    agreed = agreement(subscription, index)
    lines: list[InvoiceLine] = []
    if agreed.terms.base_fee and (subscription.ends_at is None or subscription.ends_at > agreed.period.end):
        lines.append(base_fee_line(agreement(subscription, index + 1)))
    counts = count_settled(subscription.customer_id, agreed.period.start, agreed.period.end)
    lines += usage_lines(agreed, counts)
    lines += adjustment_lines(subscription.customer_id, late_days)
    return _draft(subscription, InvoiceKind.CYCLE, agreed, agreed.period, lines, now)


def draft_adjustment(
    subscription: Subscription, last_index: int, late_days: Sequence[dt.date], *, now: dt.datetime
) -> Invoice | None:
    """What changed after the last period of an ended subscription was invoiced; None if nothing did.

    Such invoices continue the count of the subscription's periods.
    """
    lines = adjustment_lines(subscription.customer_id, late_days)
    if not lines:
        return None
    agreed = agreement(subscription, last_index)
    earlier = Invoice.objects.filter(subscription=subscription, kind=InvoiceKind.ADJUSTMENT).count()
    period = Period(last_index + 1 + earlier, agreed.period.end, max(now, agreed.period.end))
    return _draft(subscription, InvoiceKind.ADJUSTMENT, agreed, period, lines, now)


def base_fee_line(agreed: Agreement) -> InvoiceLine:
    """The base fee of a whole period."""
    terms = agreed.terms
    return _line(
        LineKind.BASE_FEE,
        agreed,
        description=f"{agreed.plan_version.plan.name}, base fee {_span(agreed)}",
        quantity=1,
        unit_amount=terms.base_fee,
        amount=to_minor(terms.base_fee, terms.currency),
    )


def usage_lines(agreed: Agreement, counts: dict[str, int]) -> list[InvoiceLine]:
    """One line a tier of the plan, in its order; tiers without conversations are left out."""
    return [usage_line(priced, agreed) for priced in price_usage(agreed.terms, counts) if priced.quantity]


def usage_line(priced: PricedTier, agreed: Agreement) -> InvoiceLine:
    """A tier's usage, rounded here and nowhere else; `details` holds the pencil sum."""
    currency = agreed.terms.currency
    price = agreed.terms.rates[priced.tier].price
    return _line(
        LineKind.USAGE,
        agreed,
        tier=priced.tier,
        description=priced.explain(currency),
        quantity=priced.quantity,
        unit_amount=price.unit if isinstance(price, Flat) else None,
        amount=to_minor(priced.amount, currency),
        details=priced.details(currency),
    )


def adjustment_lines(customer_id: uuid.UUID, late_days: Sequence[dt.date]) -> list[InvoiceLine]:
    """One line for each invoiced period of the customer that a late day falls into and whose sum changed."""
    lines = (adjustment_line(invoice) for invoice in _invoices_touched(customer_id, late_days))
    return [line for line in lines if line is not None]


def adjustment_line(invoice: Invoice) -> InvoiceLine | None:
    """An invoice's period priced from today's counts, minus all that was billed for it; None if nothing is left."""
    subscription = invoice.subscription
    agreed = agreement(subscription, invoice.period_index)
    period, currency = agreed.period, agreed.terms.currency
    counts = count_settled(subscription.customer_id, period.start, period.end)
    owed = sum(line.amount for line in usage_lines(agreed, counts))
    billed = billed_for(subscription, invoice.period_index)
    if owed == billed:
        return None
    changed = changed_since(subscription.customer_id, period.start, period.end, invoice.counted_at)
    return _line(
        LineKind.ADJUSTMENT,
        agreed,
        description=(
            f"Usage of {_span(agreed)} that changed after invoice {invoice}: "
            f"{format_amount(owed, currency)} instead of {format_amount(billed, currency)} {currency}"
        ),
        quantity=1,
        unit_amount=None,
        amount=owed - billed,
        details={
            "invoice": str(invoice),
            "counts": counts,
            "owed": format_amount(owed, currency),
            "billed": format_amount(billed, currency),
            "conversations": changed[:NAMED_CONVERSATIONS],
            "conversations_changed": len(changed),
        },
    )


def billed_for(subscription: Subscription, period_index: int) -> int:
    """All usage ever billed for a period, adjustments included, in minor units.

    Also what stood on an invoice that is void by now: it has been given up and is not billed again.
    """
    lines = InvoiceLine.objects.filter(
        subscription=subscription,
        period_index=period_index,
        kind__in=[LineKind.USAGE, LineKind.ADJUSTMENT],
    )
    return lines.aggregate(sum=Sum("amount"))["sum"] or 0


def _invoices_touched(customer_id: uuid.UUID, late_days: Sequence[dt.date]) -> list[Invoice]:
    """The invoices whose period a late day overlaps; a voided one has given its period up."""
    cycles = Invoice.objects.filter(customer=customer_id, kind=InvoiceKind.CYCLE).exclude(status=InvoiceStatus.VOID)
    return [
        invoice
        for invoice in cycles.select_related("subscription").order_by("period_start")
        if any(_overlaps(day, invoice) for day in late_days)
    ]


def _overlaps(day: dt.date, invoice: Invoice) -> bool:
    start = dt.datetime.combine(day, dt.time.min, dt.UTC)
    return start < invoice.period_end and start + dt.timedelta(days=1) > invoice.period_start


def _draft(
    subscription: Subscription,
    kind: InvoiceKind,
    agreed: Agreement,
    period: Period,
    lines: Sequence[InvoiceLine],
    now: dt.datetime,
) -> Invoice:
    invoice = Invoice.objects.create(
        customer_id=subscription.customer_id,
        subscription=subscription,
        plan_version=agreed.plan_version,
        kind=kind,
        currency=agreed.terms.currency,
        period_index=period.index,
        period_start=period.start,
        period_end=period.end,
        counted_at=now,
        total=sum(line.amount for line in lines),
        created_at=now,
    )
    for position, line in enumerate(lines):
        line.invoice, line.position = invoice, position
    InvoiceLine.objects.bulk_create(lines)
    return invoice


def _line(
    kind: LineKind,
    agreed: Agreement,
    *,
    description: str,
    quantity: int,
    unit_amount: Decimal | None,
    amount: int,
    tier: str = "",
    details: dict[str, Any] | None = None,
) -> InvoiceLine:
    return InvoiceLine(
        subscription=agreed.subscription,
        kind=kind,
        tier=tier,
        description=description,
        quantity=quantity,
        unit_amount=unit_amount,
        amount=amount,
        period_index=agreed.period.index,
        period_start=agreed.period.start,
        period_end=agreed.period.end,
        details=details or {},
    )


def _span(agreed: Agreement) -> str:
    """The days of a period as the customer's calendar shows them, the last one included."""
    zone = time_zone(agreed.subscription.timezone)
    first = agreed.period.start.astimezone(zone)
    last = (agreed.period.end - dt.timedelta(microseconds=1)).astimezone(zone)
    return f"{first:%d %b %Y} to {last:%d %b %Y}"
