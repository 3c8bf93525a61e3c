"""What when something else was agreed about a customer's past? Its references are cut anew from their stored events.

A subscription that starts in the past under another tier scheme, or one whose end is set, moved or undone, leaves
conversations cut by the wrong rule; so does an event that was folded moments before. The change is a row
(plans.SchemeChange), worked off by a sweep, or at once by whoever has to bill what it makes.
"""

import datetime as dt
import uuid

from django.db import connection, transaction

from metering.catching_up import catch_up
from metering.folding import fold
from metering.late_changes import note_late_changes
from metering.models import Conversation
from metering.unfolded import Reference
from metering.usage_lock import take_usage_lock
from plans.models import SchemeChange

REFERENCES_A_FOLD = 1_000

REOPEN = """
WITH reopened AS (
    DELETE FROM metering_settledconversation WHERE customer_id = %s AND settled_at >= %s
    RETURNING customer_id, id, settled_at
)
INSERT INTO metering_openconversation (customer_id, id, settles_at) TABLE reopened"""


def recut_changed_schemes(*, now: dt.datetime) -> int:
    """Work off the scheme changes of all customers; returns how many references were cut anew."""
    recut = 0
    changed = SchemeChange.objects.order_by("customer_id").values_list("customer_id", flat=True).distinct()
    for customer_id in list(changed):
        with transaction.atomic():
            recut += recut_customer(customer_id, now=now)
    return recut


def recut_customer(customer_id: uuid.UUID, *, now: dt.datetime) -> int:
    """Work off one customer's scheme changes; returns how many references were cut anew.

    Inside the transaction that changes the agreement, or in one of its own. Takes the usage lock, which comes before
    locks on events, conversations and invoices; what it cut anew is open until it is settled again.
    """
    take_usage_lock(customer_id)
    changes = dict(SchemeChange.objects.filter(customer=customer_id).values_list("pk", "since"))
    if not changes:
        return 0
    catch_up([customer_id], now=now)
    recut = _recut(customer_id, min(changes.values()), now=now)
    SchemeChange.objects.filter(pk__in=changes).delete()
    return recut


def _recut(customer_id: uuid.UUID, since: dt.datetime, *, now: dt.datetime) -> int:
    """Cut anew every reference of the customer that was not over at `since`, and tier its sittings anew."""
    with connection.cursor() as cursor:
        cursor.execute(REOPEN, [customer_id, since])
    rows = Conversation.objects.still_open().filter(customer=customer_id, settles_at__gte=since)
    settling: list[dt.datetime] = []
    earliest: dict[Reference, dt.datetime] = {}
    for reference, opened_at, settles_at in rows.values_list("reference", "opened_at", "settles_at"):
        key = (customer_id, reference)
        earliest[key] = min(opened_at, earliest.get(key, opened_at))
        settling.append(settles_at)
    note_late_changes({customer_id: settling}, now=now)
    references = list(earliest)
    for start in range(0, len(references), REFERENCES_A_FOLD):
        fold(
            {}, {reference: earliest[reference] for reference in references[start : start + REFERENCES_A_FOLD]}, now=now
        )
    return len(references)
