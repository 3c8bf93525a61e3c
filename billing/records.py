"""What does a period's price follow from? Standing lines, coupons, counts: on file, for one period or for thousands.

Who knows which periods it will ask about has them read ahead, all in one statement a kind of thing; whatever was not
is read when it is asked for. So a bill run and the preview of one bill come to their figures in the same way. Records
are as of their reading: make new ones where something has been written since.
"""

import datetime as dt
import uuid
from collections.abc import Iterable

from billing.coupons import redemptions_of
from billing.given_up import PeriodKey, standing_lines_of
from billing.models import InvoiceLine, Redemption
from metering.counting import Counts, Span, count_settled_in
from plans.meters import EVERYTHING, Meters
from plans.models import Subscription


class Records:
    """What is on file about periods of subscriptions."""

    def __init__(self) -> None:
        self._lines: dict[PeriodKey, list[InvoiceLine]] = {}
        self._redemptions: dict[uuid.UUID, list[Redemption]] = {}
        self._counts: dict[Span, Counts] = {}

    def read_ahead(self, periods: Iterable[PeriodKey], spans: Iterable[Span]) -> None:
        """Read what stands on these periods and counts of these spans, before somebody asks for it."""
        periods = list(periods)
        self._lines |= standing_lines_of(periods)
        self._redemptions |= redemptions_of(pk for pk, _ in periods)
        self._counts |= count_settled_in(spans)

    def standing_lines(self, subscription: Subscription, index: int) -> list[InvoiceLine]:
        """As `given_up.standing_lines`."""
        period = (subscription.pk, index)
        if period not in self._lines:
            self._lines |= standing_lines_of([period])
        return self._lines[period]

    def redemptions(self, subscription: Subscription) -> list[Redemption]:
        """All that was ever redeemed for a subscription, older before newer."""
        if subscription.pk not in self._redemptions:
            self._redemptions |= redemptions_of([subscription.pk])
        return self._redemptions[subscription.pk]

    def count(
        self, customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters = EVERYTHING
    ) -> Counts:
        """As `metering.reading.count_settled`."""
        span = Span(customer_id, start, end, meters)
        if span not in self._counts:
            self._counts |= count_settled_in([span])
        return self._counts[span]
