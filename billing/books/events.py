"""Is every event stored right: at its rate, pointing at rows that exist, and out of quarantine when it can be?"""

from billing.books.invariant import Invariant

# No database-level foreign keys hold these: they would cost every event a look-up.
DANGLING = """
SELECT 'event ' || event_id AS what, e.customer_id AS customer, rate_id::text AS refers_to
FROM metering_event e LEFT JOIN plans_customer customer ON customer.id = e.customer_id
LEFT JOIN metering_supplierrate rate ON rate.id = e.rate_id
WHERE customer.id IS NULL OR e.rate_id IS NOT NULL AND rate.id IS NULL
UNION ALL
SELECT 'conversation ' || reference, c.customer_id, boundary_id::text
FROM metering_conversation c LEFT JOIN plans_customer customer ON customer.id = c.customer_id
LEFT JOIN plans_tierschemeversion boundary ON boundary.id = c.boundary_id
WHERE customer.id IS NULL OR boundary.id IS NULL
UNION ALL
SELECT 'tier of conversation ' || s.id, s.customer_id, scheme_version_id::text
FROM metering_settledconversation s LEFT JOIN plans_tierschemeversion version ON version.id = s.scheme_version_id
WHERE version.id IS NULL
UNION ALL
SELECT 'late change ' || day, late.customer_id, NULL
FROM metering_latechange late LEFT JOIN plans_customer customer ON customer.id = late.customer_id
WHERE customer.id IS NULL
"""
ONCE = """
SELECT customer_id AS customer, event_id, count(*) AS events
FROM metering_event GROUP BY customer_id, event_id HAVING count(*) > 1
"""
USAGE = """
SELECT customer_id AS customer, event_id, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
    reasoning_tokens, attempt
FROM metering_event
WHERE least(input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens) < 0
   OR reasoning_tokens > output_tokens OR attempt < 1
"""
UNPRICED = """
SELECT customer_id AS customer, event_id, kind, provider, model, rate_id AS rate, cost_nanos
FROM metering_event
WHERE CASE kind WHEN 'close' THEN (rate_id IS NULL AND cost_nanos = 0) IS NOT TRUE
    ELSE (rate_id IS NULL) <> (cost_nanos IS NULL) END
"""
# USD per million tokens are 1,000 nano-dollars a token. round() rounds half away from zero, like metering.costing.
COSTS = """
SELECT customer_id AS customer, event_id, e.provider, e.model, rate_id AS rate, cost_nanos, at_its_rate
FROM metering_event e JOIN metering_supplierrate rate ON rate.id = e.rate_id
CROSS JOIN LATERAL (SELECT round(
    1000 * (e.input_tokens * rate.input_usd_per_million + e.cache_read_tokens * rate.cache_read_usd_per_million
        + e.cache_write_tokens * rate.cache_write_usd_per_million + e.output_tokens * rate.output_usd_per_million)
    + 1000000000 * coalesce(rate.usd_per_request, 0))::bigint AS at_its_rate) anew
WHERE e.cost_nanos <> at_its_rate
"""
RATE_APPLIES = """
SELECT customer_id AS customer, event_id, occurred_at, rate.starts_at AS rate_starts_at, rate.min_context,
    e.input_tokens::bigint + e.cache_read_tokens + e.cache_write_tokens AS context
FROM metering_event e JOIN metering_supplierrate rate ON rate.id = e.rate_id
WHERE rate.starts_at > e.occurred_at
   OR rate.min_context > e.input_tokens::bigint + e.cache_read_tokens + e.cache_write_tokens
"""
VOIDS = """
SELECT e.customer_id AS customer, e.event_id, e.voided, e.corrected, correction.action
FROM metering_event e FULL JOIN (
    SELECT customer_id, event_id, max(action) AS action FROM metering_correction GROUP BY customer_id, event_id
) correction ON correction.customer_id = e.customer_id AND correction.event_id = e.event_id
WHERE (e.corrected, e.voided) IS DISTINCT FROM
    (correction.action IS NOT NULL, coalesce(correction.action = 'void', false))
"""
# A key that was freed by an erasure and taken by somebody else says nothing about what was released before.
RELEASED = """
SELECT q.customer_key AS customer, q.event_id, q.received_at, q.released_at
FROM metering_quarantinedevent q JOIN plans_customer customer
  ON customer.key = q.customer_key AND customer.created_at <= q.released_at
WHERE NOT EXISTS (SELECT FROM metering_event e WHERE e.customer_id = customer.id AND e.event_id = q.event_id)
"""
WAITING = """
SELECT q.customer_key AS customer, q.event_id, q.received_at, customer.created_at AS customer_since
FROM metering_quarantinedevent q
JOIN plans_customer customer ON customer.key = q.customer_key AND customer.erased_at IS NULL
WHERE q.released_at IS NULL AND q.refused_at IS NULL AND q.discarded_at IS NULL
  AND greatest(q.received_at, customer.created_at) < %(now)s - interval '1 hour'
"""

EVENTS = (
    Invariant("event_is_stored_once", "A customer has one event of an id.", ONCE),
    Invariant(
        "usage_refers_to_rows_that_exist",
        "The customers, rates and scheme versions that events and conversations name exist.",
        DANGLING,
    ),
    Invariant(
        "event_usage_is_possible",
        "No count of tokens is below zero, and reasoning is a part of output.",
        USAGE,
    ),
    Invariant(
        "unpriced_event_has_no_cost",
        "A call without a supplier rate has no cost, not a cost of nothing; one with a rate has one.",
        UNPRICED,
    ),
    Invariant("event_costs_what_its_rate_says", "A call costs its tokens times its supplier rate.", COSTS),
    Invariant(
        "event_rate_was_in_force",
        "The rate of a call had begun when it was made, and is for its context size.",
        RATE_APPLIES,
    ),
    Invariant("corrected_event_has_its_history", "Voids and amendments are on record, and no others.", VOIDS),
    Invariant("released_event_is_stored", "An event let out of quarantine is stored.", RELEASED),
    Invariant(
        "event_of_a_known_customer_is_released",
        "No event waits in quarantine for an hour after its customer was created.",
        WAITING,
    ),
)
