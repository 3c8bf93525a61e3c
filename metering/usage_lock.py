"""How do counting and ingestion of one customer's usage stay out of each other's way?

Every transaction that changes a customer's events or conversations holds the customer's usage lock shared; whoever
counts usage (or cuts all of it anew) takes it alone. So a count sees whole ingest transactions or nothing of them,
and whatever commits after it knows that it came late. Advisory, transaction-long, and always the first lock taken:
usage lock, then conversations, then invoices, then ledger accounts.
"""

import uuid
from collections.abc import Iterable

from django.db import connection

LOCK_SPACE = 7041
"""First half of the advisory lock keys used here; the second half is made from the customer's id."""


def _half(customer_id: uuid.UUID) -> int:
    return (customer_id.int & 0xFFFFFFFF) - 0x80000000


def share_usage_lock(customer_ids: Iterable[uuid.UUID]) -> None:
    """Hold, until the transaction ends, off anybody who wants to count these customers' usage."""
    halves = sorted({_half(customer_id) for customer_id in customer_ids})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(%s, half) FROM unnest(%s::int[]) half", [LOCK_SPACE, halves]
        )


def take_usage_lock(customer_id: uuid.UUID) -> None:
    """Wait for the transactions that change this customer's usage, and keep new ones out until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_SPACE, _half(customer_id)])
