"""Which conversations are behind an invoice? Those that settled in its period, as they stand today.

An invoice that closes a period counts conversations; a start, a change or a one-off invoice has none behind it.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import Max, Q, QuerySet, Sum

from billing.models import Invoice, InvoiceKind
from metering.models import Conversation
from plans.meters import Meters, is_peak, meter_of, meters_of
from plans.periods import parts_of, period_of

CHUNK = 2_000
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


class Traffic(NamedTuple):
    """What happened in the billable conversations of a tier, and when one of them last changed, by our clock."""

    turns: int
    tokens: dict[str, int]
    changed_at: dt.datetime


class Rule(NamedTuple):
    """How conversations that settled up to an instant (not included) were counted."""

    until: dt.datetime
    meters: Meters


def conversations_on(invoice: Invoice) -> Iterator[list[Any]]:
    """For a spreadsheet: each conversation of the invoice's period in settling order, streamed however many they are.

    The last three columns are its outcome, whether that is billable, and, where its tier has a price for peak hours,
    "peak" or "off_peak".
    """
    rules = _rules(invoice)
    rows = _behind(invoice).select_related("settled").order_by("settles_at", "id")
    for row in rows.iterator(chunk_size=CHUNK):
        settled = row.settled
        while settled.settled_at >= rules[0].until:
            rules.pop(0)
        meters = rules[0].meters
        billable = meter_of(meters, settled.tier, settled.outcome, settled.settled_at) is not None
        peak = "peak" if is_peak(meters, settled.settled_at) else "off_peak"
        yield [
            row.reference,
            row.ordinal,
            settled.tier,
            settled.turns,
            settled.counted_tokens,
            row.opened_at.isoformat(),
            settled.settled_at.isoformat(),
            row.id,
            settled.outcome or "",
            "yes" if billable else "no",
            peak if settled.tier in meters.peak_tiers else "",
        ]


def traffic_by_tier(invoice: Invoice) -> dict[str, Traffic]:
    """Turns and tokens of the conversations that the invoice's period counts, in one query."""
    counted, since = Q(pk__in=[]), invoice.period_start
    for rule in _rules(invoice):
        part = Q(settled__settled_at__gte=since, settled__settled_at__lt=rule.until)
        outcomes = rule.meters.billable_outcomes
        counted |= part if outcomes is None else part & Q(settled__outcome__in=outcomes)
        since = rule.until
    sums = {name: Sum(name) for name in BUCKETS}
    behind = _behind(invoice).filter(counted).values("settled__tier")
    rows: Any = behind.annotate(changed_at=Max("folded_at"), turns=Sum("settled__turns"), **sums).order_by()
    return {
        row["settled__tier"]: Traffic(row["turns"], {bucket: row[bucket] for bucket in BUCKETS}, row["changed_at"])
        for row in rows
    }


def _behind(invoice: Invoice) -> QuerySet[Conversation]:
    settled = Conversation.objects.filter(customer=invoice.customer_id)
    if invoice.kind != InvoiceKind.CYCLE:
        return settled.none()
    return settled.filter(settled__settled_at__gte=invoice.period_start, settled__settled_at__lt=invoice.period_end)


def _rules(invoice: Invoice) -> list[Rule]:
    """One after the other, as the agreement of the invoice's period says."""
    if invoice.kind != InvoiceKind.CYCLE:
        return []
    subscription = invoice.subscription
    assert subscription is not None and invoice.period_index is not None
    period = period_of(subscription, invoice.period_index)
    assert period is not None
    return [Rule(part.end, meters_of(part.terms, subscription.timezone)) for part in parts_of(subscription, period)]
