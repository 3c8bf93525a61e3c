"""How long does the end of a month take? Conversations settled and invoices made, by what the commands call."""

import datetime as dt
import time
from typing import NamedTuple

from django.db import connection

TERMS = {
    "currency": "USD",
    "interval": "month",
    "base_fee": "49.00",
    "tier_scheme": "default",
    "rates": {
        "simple": {"included": 100, "price": {"model": "flat", "unit": "0.02"}},
        "standard": {
            "included": 20,
            "price": {"model": "graduated", "steps": [{"up_to": 50, "unit": "0.05"}, {"unit": "0.04"}]},
        },
        "complex": {"included": 0, "price": {"model": "flat", "unit": "0.15"}},
        "enterprise": {"included": 0, "price": {"model": "package", "size": 10, "amount": "5.00"}},
    },
}
# Written directly, since only what becomes of them is measured: ended conversations of every size, spread over a month.
OPEN_CONVERSATIONS = """
INSERT INTO metering_conversation (id, customer_id, reference, ordinal, boundary_id, opened_at, last_event_at,
    settles_at, revision, folded_at, calls, retry_calls, first_completions, min_turn, max_turn, input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, retry_input_tokens, retry_cache_read_tokens,
    retry_cache_write_tokens, retry_output_tokens, peak_context, peak_context_first, cost_nanos, retry_cost_nanos,
    byok_cost_nanos, unpriced_calls)
SELECT uuidv7(), c.id, 'closing-' || n, 1, v.id, at, at, at + v.idle_timeout, n %% 40 + 1, %(now)s,
    n %% 40 + 1, 0, n %% 40 + 1, 1, n %% 40 + 1, 100 * (n %% 997), 50 * (n %% 40), 0, 10 * (n %% 991), 0, 0, 0, 0, 0,
    1000, 1000, 1000 * (n %% 997), 0, 0, 0
FROM generate_series(1, %(each)s) n
CROSS JOIN (SELECT id FROM plans_customer WHERE key LIKE 'closing-%%') c
CROSS JOIN LATERAL (SELECT %(since)s + n * (interval '27 days' / %(each)s) AS at) moment
CROSS JOIN (SELECT v.id, v.idle_timeout FROM plans_tierschemeversion v JOIN plans_tierscheme s ON s.id = v.scheme_id
    WHERE s.code = 'default' AND v.status = 'published' LIMIT 1) v
"""


class Closing(NamedTuple):
    """What a month's end took."""

    conversations: int
    settling_s: float
    invoices: int
    billing_s: float


def close_month(*, customers: int, conversations_each: int, now: dt.datetime, with_billing: bool) -> Closing:
    """Settle last month's conversations and bill them. Django must be set up."""
    from billing.billing import bill
    from metering.settling import settle

    this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = (this_month - dt.timedelta(days=1)).replace(day=1)
    _subscribe(customers, since=last_month, now=now)
    settle(as_of=now, now=now)  # takes note of the subscriptions, and settles nothing
    with connection.cursor() as cursor:
        cursor.execute(OPEN_CONVERSATIONS, {"each": conversations_each, "since": last_month, "now": now})
        cursor.execute("VACUUM ANALYZE metering_conversation")
    begin = time.monotonic()
    settled = settle(as_of=now, now=now)
    settling_s = time.monotonic() - begin
    begin = time.monotonic()
    invoices = len(bill(as_of=now, now=now).invoices) if with_billing else 0
    return Closing(settled, settling_s, invoices, time.monotonic() - begin)


def _subscribe(customers: int, *, since: dt.datetime, now: dt.datetime) -> None:
    from plans.customers import create_customer
    from plans.publishing import create_plan, draft_plan_version, publish_plan_version
    from plans.subscribing import subscribe

    plan = create_plan(code="closing", name="Closing", customer=None, now=now)
    publish_plan_version(draft_plan_version(plan, raw_terms=TERMS, now=now), now=now)
    for number in range(customers):
        customer = create_customer(key=f"closing-{number:04}", currency="USD", now=now)
        subscribe(customer, plan, version=None, starts_at=since, now=now)
