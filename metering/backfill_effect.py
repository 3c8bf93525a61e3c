"""What does a file mean to conversations and bills? Counts over the events that it made or changed."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import connection

EFFECT = """
SELECT count(DISTINCT (e.customer_id, e.conversation)), count(*) FILTER (WHERE e.occurred_at < reading.read_to)
FROM {touched} e LEFT JOIN metering_meterreading reading ON reading.customer_id = e.customer_id"""
STORED = """
(SELECT e.customer_id, e.conversation, e.occurred_at
 FROM metering_backfilledevent b JOIN metering_event e ON e.customer_id = b.customer_id AND e.event_id = b.event_id
 WHERE b.backfill_id = %s AND b.effect <> 'same')"""


def effect_of(backfill_id: uuid.UUID) -> tuple[int, int]:
    """Of a file that is stored: how many conversation references it touched, and how many of its events changed usage
    of a time that had been counted for a bill (so that the next invoice carries the difference)."""
    return counted(STORED, [backfill_id])


def counted(touched: str, params: Sequence[Any]) -> tuple[int, int]:
    """The same of any rows of customer_id, conversation and occurred_at."""
    with connection.cursor() as cursor:
        cursor.execute(EFFECT.format(touched=touched), params)
        conversations, counted_before = cursor.fetchone()
        return int(conversations), int(counted_before)
