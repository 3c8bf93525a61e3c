"""Who is there to be billed, and what did they do? Customers and conversations by the thousand, written set by set.

Only what becomes of them is measured, so they are not made the way customers make them.
"""

import datetime as dt

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
CUSTOMERS = """
INSERT INTO plans_customer (id, key, name, email, currency, timezone, byok, country, tax_id, tax_exempt, created_at)
SELECT uuidv7(), %(name)s || '-' || lpad(n::text, 6, '0'), '', '', 'USD', 'UTC', false, '', '', 'none', %(since)s
FROM generate_series(1, %(customers)s) n"""
SUBSCRIPTIONS = """
INSERT INTO plans_subscription (id, customer_id, starts_at, timezone, created_at)
SELECT uuidv7(), id, %(since)s, 'UTC', %(since)s FROM plans_customer WHERE key LIKE %(name)s || '-%%'"""
PHASES = """
INSERT INTO plans_subscriptionphase (id, subscription_id, customer_id, plan_version_id, starts_at, anchor_at, paused,
    created_at)
SELECT uuidv7(), s.id, s.customer_id, %(version)s, s.starts_at, s.starts_at, false, s.created_at
FROM plans_subscription s JOIN plans_customer c ON c.id = s.customer_id WHERE c.key LIKE %(name)s || '-%%'"""
# Of every size and in order of time, as they would have come: what a customer has is spread over the whole table.
CONVERSATIONS = """
INSERT INTO metering_conversation (id, customer_id, reference, ordinal, boundary_id, opened_at, last_event_at,
    settles_at, revision, folded_at, calls, retry_calls, first_completions, min_turn, max_turn, input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, retry_input_tokens, retry_cache_read_tokens,
    retry_cache_write_tokens, retry_output_tokens, peak_context, peak_context_first, cost_nanos, retry_cost_nanos,
    byok_cost_nanos, unpriced_calls)
SELECT uuidv7(), c.id, %(name)s || '-' || n, 1, v.id, at, at, at + v.idle_timeout, n %% 40 + 1, at,
    n %% 40 + 1, 0, n %% 40 + 1, 1, n %% 40 + 1, 100 * (n %% 997), 50 * (n %% 40), 0, 10 * (n %% 991), 0, 0, 0, 0, 0,
    1000, 1000, 1000 * (n %% 997), 0, 0, 0
FROM generate_series(1, %(each)s) n
CROSS JOIN (SELECT id FROM plans_customer WHERE key LIKE %(name)s || '-%%') c
CROSS JOIN LATERAL (SELECT %(since)s + n * (%(during)s / %(each)s) AS at) moment
CROSS JOIN (SELECT v.id, v.idle_timeout FROM plans_tierschemeversion v JOIN plans_tierscheme s ON s.id = v.scheme_id
    WHERE s.code = 'default' AND v.status = 'published' LIMIT 1) v
ORDER BY at, c.id"""
OPEN = """
INSERT INTO metering_openconversation (customer_id, id, settles_at)
SELECT c.customer_id, c.id, c.settles_at
FROM metering_conversation c JOIN plans_customer customer ON customer.id = c.customer_id
WHERE key LIKE %(name)s || '-%%' ORDER BY c.id"""


def create_customers(name: str, customers: int, *, since: dt.datetime) -> None:
    """So many customers `name`-000001 and on, subscribed to the same plan from then on."""
    from plans.publishing import create_plan, draft_plan_version, publish_plan_version

    plan = create_plan(code=name, name=name.title(), customer=None, now=since)
    version = publish_plan_version(draft_plan_version(plan, raw_terms=TERMS, now=since), now=since)
    with connection.cursor() as cursor:
        for made in (CUSTOMERS, SUBSCRIPTIONS, PHASES):
            cursor.execute(made, {"name": name, "customers": customers, "since": since, "version": version.pk})


def create_conversations(name: str, each: int, *, since: dt.datetime, during: dt.timedelta) -> None:
    """Open conversations of one or many calls, spread evenly: so many of each of these customers."""
    with connection.cursor() as cursor:
        cursor.execute(CONVERSATIONS, {"name": name, "each": each, "since": since, "during": during})
        cursor.execute(OPEN, {"name": name})
        cursor.execute("VACUUM ANALYZE")
