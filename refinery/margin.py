"""What was a period worth? What its conversations earned, what they cost us, and what of that was waste. Reads only."""

from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from billing.models import Invoice

NANOS_A_CENT = 10_000_000
COST_CURRENCY = "USD"

COST_BY_TIER = """
SELECT tier, count(*), sum(calls)::bigint, sum(cost_nanos)::bigint, sum(retry_cost_nanos)::bigint,
       sum(unpriced_calls)::bigint
FROM metering_settledconversation JOIN metering_conversation USING (customer_id, id)
WHERE customer_id = %s AND settled_at >= %s AND settled_at < %s
GROUP BY tier
"""


class TierCost(NamedTuple):
    """What the conversations of a tier cost us, in nano-dollars; `retry_nanos` of that for retries and errors."""

    tier: str
    conversations: int
    calls: int
    cost_nanos: int
    retry_nanos: int
    unpriced_calls: int


class Margin(NamedTuple):
    """An invoice against the supplier cost of the conversations on it.

    `revenue` is what the invoice comes to without tax, in minor units. `share` (0..1) is what is left of it, and None
    where that cannot be said: another currency than the cost's, no revenue, or calls whose price nobody knows.
    """

    revenue: int
    tiers: list[TierCost]
    share: Decimal | None

    @property
    def cost_nanos(self) -> int:
        return sum(tier.cost_nanos for tier in self.tiers)

    @property
    def retry_nanos(self) -> int:
        return sum(tier.retry_nanos for tier in self.tiers)

    @property
    def unpriced_calls(self) -> int:
        return sum(tier.unpriced_calls for tier in self.tiers)


def invoice_margin(invoice: Invoice) -> Margin:
    """The margin of an invoice over the conversations of its period."""
    with connection.cursor() as cursor:
        cursor.execute(COST_BY_TIER, [invoice.customer_id, invoice.period_start, invoice.period_end])
        tiers = [TierCost(*row) for row in cursor.fetchall()]
    margin = Margin(_without_tax(invoice), tiers, None)
    known = invoice.currency == COST_CURRENCY and margin.revenue > 0 and not margin.unpriced_calls
    if not known:
        return margin
    return margin._replace(share=1 - Decimal(margin.cost_nanos) / (margin.revenue * NANOS_A_CENT))


def _without_tax(invoice: Invoice) -> int:
    return invoice.subtotal - (invoice.tax or 0) if invoice.tax_inclusive else invoice.subtotal
