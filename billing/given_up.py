"""What of a period was claimed once and is not claimed again?

A void invoice gives its claim up, unless another was issued in its place; a credit note gives a part of one up. What
was given up is neither billed again nor, as it was never kept, given back when the period comes to less.
"""

from collections.abc import Iterable

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from billing.models import PERIODIC_KINDS, InvoiceLine, InvoiceStatus
from plans.models import Subscription

REPLACED = Q(invoice__status=InvoiceStatus.VOID, invoice__reissued_as__isnull=False)
"""Lines of a void invoice in whose place another was issued."""


def standing_lines(subscription: Subscription, index: int) -> list[InvoiceLine]:
    """All lines that bill a period or have given it up, oldest first; each knows what of it was `credited`."""
    lines = InvoiceLine.objects.filter(subscription=subscription, period_index=index, kind__in=PERIODIC_KINDS)
    credited = Coalesce(Sum("credit_note_lines__amount"), 0)
    found = lines.exclude(REPLACED).select_related("invoice", "phase").annotate(credited=credited)
    return list(found.order_by("invoice__created_at", "invoice_id", "position"))


def given_up(line: InvoiceLine) -> int:
    """How much of a standing line is not claimed any more, in minor units."""
    return line.amount if line.invoice.status == InvoiceStatus.VOID else int(line.credited)  # type: ignore[attr-defined]


def still_to_bill(owed: int, lines: Iterable[InvoiceLine]) -> int:
    """What is to be billed (or, below zero, given back) for a period that comes to `owed`, given its standing lines."""
    lines = list(lines)
    gone = sum(given_up(line) for line in lines)
    kept = sum(line.amount for line in lines) - gone
    if owed > (most := kept + max(gone, 0)):
        return owed - most
    return min(owed - kept, 0)
