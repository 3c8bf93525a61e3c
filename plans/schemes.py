"""Which tier scheme rules a customer's conversations, and when?

The answer is one database view, `plans_scheme_span` (migration 0006): spans of time with the scheme version in force
and the end of the subscription, per customer that is or was subscribed, and with no customer the spans of the default
scheme, which rule wherever no subscription does. Both the fold and the settling statement read it.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from django.db import connection

DEFAULT_SCHEME = "default"

SPANS = """
SELECT s.customer_id, s.starts_at, s.ends_at, s.version_id, v.idle_timeout, v.max_age, s.service_ends_at
FROM plans_scheme_span s JOIN plans_tierschemeversion v ON v.id = s.version_id
WHERE s.customer_id IS NULL OR s.customer_id = ANY(%s)
"""


class SchemeSpan(NamedTuple):
    """From `starts_at` until `ends_at` (None: open) this version rules; `customer_id` None is the default.

    `service_ends_at` is when the subscription ends, of which this span may be a part (None: open, or there is none).
    """

    customer_id: uuid.UUID | None
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    version_id: uuid.UUID
    idle_timeout: dt.timedelta
    max_age: dt.timedelta
    service_ends_at: dt.datetime | None


def scheme_spans(customer_ids: Iterable[uuid.UUID]) -> list[SchemeSpan]:
    """The spans of these customers' schemes and of the default scheme."""
    with connection.cursor() as cursor:
        cursor.execute(SPANS, [list(customer_ids)])
        return [SchemeSpan(*row) for row in cursor.fetchall()]


def version_in_force(customer_id: uuid.UUID, instant: dt.datetime) -> uuid.UUID:
    """The scheme version that rules a customer's conversations at an instant."""
    spans = [
        span
        for span in scheme_spans([customer_id])
        if span.starts_at <= instant and (span.ends_at is None or instant < span.ends_at)
    ]
    return min(spans, key=lambda span: span.customer_id is None).version_id
