"""What when another tier scheme rules a customer's past? Its references are cut anew from their stored events.

A subscription that starts in the past, or an event that was folded moments before a scheme changed, leaves
conversations cut by the wrong rule. The change is a row (plans.SchemeChange); this sweep works it off.
"""

import datetime as dt
import uuid

from django.db import transaction

from metering.conversation_rows import Reference
from metering.folding import fold
from metering.late_changes import note_late_changes
from metering.models import Conversation
from metering.usage_lock import take_usage_lock
from plans.models import SchemeChange

REFERENCES_A_FOLD = 1_000


def recut_changed_schemes(*, now: dt.datetime) -> int:
    """Work off the scheme changes; returns how many references were cut anew."""
    recut = 0
    while True:
        with transaction.atomic():
            change = SchemeChange.objects.select_for_update(skip_locked=True).order_by("id").first()
            if change is None:
                return recut
            recut += _recut_customer(change.customer_id, change.since, now=now)
            change.delete()


def _recut_customer(customer_id: uuid.UUID, since: dt.datetime, *, now: dt.datetime) -> int:
    """Cut anew every reference of the customer that was not over at `since`, and tier its sittings anew."""
    take_usage_lock(customer_id)
    rows = Conversation.objects.filter(customer=customer_id, settles_at__gte=since)
    note_late_changes({customer_id: list(rows.values_list("settles_at", flat=True))}, now=now)
    rows.update(settled_at=None, scheme_version=None, tier=None, turns=None, counted_tokens=None)
    earliest: dict[Reference, dt.datetime] = {}
    for reference, opened_at in rows.values_list("reference", "opened_at"):
        key = (customer_id, reference)
        earliest[key] = min(opened_at, earliest.get(key, opened_at))
    references = list(earliest)
    for start in range(0, len(references), REFERENCES_A_FOLD):
        fold(
            [], {reference: earliest[reference] for reference in references[start : start + REFERENCES_A_FOLD]}, now=now
        )
    return len(references)
