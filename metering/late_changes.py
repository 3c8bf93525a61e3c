"""Which usage changed after somebody had counted it?

Counting leaves a meter reading (up to which settling instant); a fold that touches anything before it notes the day,
and names the conversations that are gone from it. Billing takes the days of a customer, recounts the periods they fall
into and bills the difference.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping

from metering.models import GoneConversation, LateChange, MeterReading
from metering.tallies import forget_tallies

Departure = tuple[uuid.UUID, dt.datetime, str]
"""A customer, an instant, and the reference of a conversation that settled then and does so no longer."""


def note_late_changes(
    touched: Mapping[uuid.UUID, Iterable[dt.datetime]], gone: Iterable[Departure] = (), *, now: dt.datetime
) -> None:
    """Note the days of settling instants up to which somebody has already counted the customer's usage.

    And forget the hours of them that are tallied.
    """
    forget_tallies(touched)
    read_to = dict(MeterReading.objects.filter(customer__in=touched).values_list("customer_id", "read_to"))
    if not read_to:
        return
    late = sorted(
        {
            (customer_id, instant.astimezone(dt.UTC).date())
            for customer_id, instants in touched.items()
            if customer_id in read_to
            for instant in instants
            if instant < read_to[customer_id]
        }
    )
    # An update even where the row is there: its lock makes a concurrent recount wait for this transaction.
    LateChange.objects.bulk_create(
        [LateChange(customer_id=customer_id, day=day, noted_at=now) for customer_id, day in late],
        update_conflicts=True,
        update_fields=["noted_at"],
        unique_fields=["customer_id", "day"],
    )
    counted = sorted({one for one in gone if one[0] in read_to and one[1] < read_to[one[0]]})
    GoneConversation.objects.bulk_create(
        [GoneConversation(customer_id=who, settled_at=at, reference=name, noted_at=now) for who, at, name in counted],
        update_conflicts=True,
        update_fields=["noted_at"],
        unique_fields=["customer_id", "settled_at", "reference"],
    )


def take_late_days(customer_id: uuid.UUID) -> list[dt.date]:
    """Remove and return the customer's noted days; the caller holds the usage lock and recounts before it commits."""
    return take_late_days_of([customer_id]).get(customer_id, [])


def take_late_days_of(customer_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[dt.date]]:
    """The same for several customers; those without a day are not in the answer."""
    notes = LateChange.objects.filter(customer__in=list(customer_ids))
    days: dict[uuid.UUID, list[dt.date]] = defaultdict(list)
    for customer_id, day in notes.values_list("customer_id", "day").order_by("customer_id", "day"):
        days[customer_id].append(day)
    if days:
        notes.delete()
    return dict(days)
