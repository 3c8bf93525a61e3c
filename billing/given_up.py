"""What of a period was claimed once and is not claimed again?

A void invoice gives its claim up, unless another was issued in its place; a credit note gives a part of one up. What
was given up is neither billed again nor, as it was never kept, given back when the period comes to less.
"""

import uuid
from collections.abc import Iterable

from django.db.models import BooleanField, OuterRef, Q, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from billing.models import PERIODIC_KINDS, CreditNoteLine, InvoiceLine, InvoiceStatus
from plans.models import Subscription

PeriodKey = tuple[uuid.UUID, int]
"""The id of a subscription and the index of one of its periods."""
REPLACED = Q(invoice__status=InvoiceStatus.VOID, invoice__reissued_as__isnull=False)
"""Lines of a void invoice in whose place another was issued."""
OF_THESE_PERIODS = """(billing_invoiceline.subscription_id, billing_invoiceline.period_index) IN (
    SELECT * FROM unnest(%s::uuid[], %s::int[]))"""


def standing_lines(subscription: Subscription, index: int) -> list[InvoiceLine]:
    """All lines that bill a period or have given it up, oldest first; each knows what of it was `credited`."""
    period = (subscription.pk, index)
    return standing_lines_of([period])[period]


def standing_lines_of(periods: Iterable[PeriodKey]) -> dict[PeriodKey, list[InvoiceLine]]:
    """The same for several periods."""
    standing: dict[PeriodKey, list[InvoiceLine]] = {period: [] for period in periods}
    wanted = RawSQL(OF_THESE_PERIODS, [[pk for pk, _ in standing], [index for _, index in standing]], BooleanField())
    lines = InvoiceLine.objects.filter(wanted, kind__in=PERIODIC_KINDS).exclude(REPLACED)
    notes = CreditNoteLine.objects.filter(invoice_line=OuterRef("pk")).order_by().values("invoice_line")
    credited = Coalesce(Subquery(notes.annotate(sum=Sum("amount")).values("sum")), 0)
    found = lines.select_related("invoice").annotate(credited=credited)
    for line in found.order_by("invoice__created_at", "invoice_id", "position"):
        assert line.subscription_id is not None and line.period_index is not None
        standing[line.subscription_id, line.period_index].append(line)
    return standing


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
