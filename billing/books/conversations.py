"""Is every conversation what its events make it, and in the tier it settled into?"""

from billing.books.invariant import Invariant
from metering.tier_rules import CLASSIFY

RETRY = "(e.attempt > 1 OR e.status = 'error')"
CONTEXT = "e.input_tokens::bigint + e.cache_read_tokens + e.cache_write_tokens + e.output_tokens"
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
FOLDS = {
    "opened_at": "min(e.occurred_at) FILTER (WHERE e.kind <> 'close')",
    "last_event_at": "max(e.occurred_at) FILTER (WHERE e.kind <> 'close')",
    "closed_at": "min(e.occurred_at) FILTER (WHERE e.kind = 'close')",
    "calls": "count(*) FILTER (WHERE e.kind <> 'close')",
    "retry_calls": f"count(*) FILTER (WHERE e.kind <> 'close' AND {RETRY})",
    "first_completions": f"count(*) FILTER (WHERE e.kind = 'completion' AND NOT {RETRY})",
    "min_turn": "min(e.turn)",
    "max_turn": "max(e.turn)",
    **{bucket: f"sum(e.{bucket})" for bucket in (*BUCKETS, "reasoning_tokens")},
    **{f"retry_{bucket}": f"coalesce(sum(e.{bucket}) FILTER (WHERE {RETRY}), 0)" for bucket in BUCKETS},
    "peak_context": f"max({CONTEXT})",
    "peak_context_first": f"coalesce(max({CONTEXT}) FILTER (WHERE NOT {RETRY}), 0)",
    "cost_nanos": "coalesce(sum(e.cost_nanos) FILTER (WHERE NOT e.byok), 0)",
    "retry_cost_nanos": f"coalesce(sum(e.cost_nanos) FILTER (WHERE NOT e.byok AND {RETRY}), 0)",
    "byok_cost_nanos": "coalesce(sum(e.cost_nanos) FILTER (WHERE e.byok), 0)",
    "unpriced_calls": "count(*) FILTER (WHERE e.cost_nanos IS NULL AND NOT e.byok)",
    "outcome_at": "max(e.occurred_at) FILTER (WHERE e.outcome IS NOT NULL)",
}
"""What each column of a conversation is over its events: the SQL twin of metering.sittings; `outcome` is apart."""

CUSTOMER = "LEFT JOIN plans_customer customer ON customer.id = c.customer_id"
# Until a change of the agreement is worked off, conversations are still cut and tiered by what was agreed before.
RECUT_IS_WAITING = "EXISTS (SELECT FROM plans_schemechange s WHERE s.customer_id = c.customer_id)"
# What waits in the queue is in its events already, and not in the conversations yet.
NOT_FOLDED = "EXISTS (SELECT FROM metering_unfoldedevents u WHERE u.customer_id = {}.customer_id)"
IN_SITTING = """e.customer_id = c.customer_id AND e.conversation = c.reference
  AND e.occurred_at BETWEEN c.opened_at AND c.settles_at"""

# At least one here; not more than one because sittings of a reference do not overlap.
HOMELESS = f"""
SELECT e.customer_id AS customer, e.event_id, e.conversation, e.occurred_at FROM metering_event e
WHERE NOT e.voided AND e.kind <> 'close' AND NOT EXISTS (SELECT FROM metering_conversation c WHERE {IN_SITTING})
  AND NOT {NOT_FOLDED.format("e")}
"""
NUMBERED = """
SELECT * FROM (
    SELECT customer_id AS customer, reference, ordinal, opened_at, settles_at,
        row_number() OVER own AS expected_ordinal, lag(settles_at) OVER own AS previous_settles_at
    FROM metering_conversation WINDOW own AS (PARTITION BY customer_id, reference ORDER BY opened_at, ordinal)) sitting
WHERE ordinal <> expected_ordinal OR opened_at <= previous_settles_at
"""
FOLDED = f"""
WITH folded AS (
    SELECT c.customer_id, c.id, {", ".join(f"{fold} AS {name}" for name, fold in FOLDS.items())}
    FROM metering_conversation c JOIN metering_event e ON {IN_SITTING}
    WHERE NOT e.voided GROUP BY c.customer_id, c.id
)
SELECT customer.key AS customer, c.reference, c.ordinal, concat_ws('; ', {
    ", ".join(
        f"CASE WHEN c.{name} IS DISTINCT FROM f.{name} THEN "
        f"concat('{name} is ', coalesce(c.{name}::text, 'none'), ', not ', coalesce(f.{name}::text, 'none')) END"
        for name in FOLDS
    )
}) AS differences
FROM metering_conversation c LEFT JOIN folded f ON f.customer_id = c.customer_id AND f.id = c.id {CUSTOMER}
WHERE ({", ".join(f"c.{name}" for name in FOLDS)}) IS DISTINCT FROM ({", ".join(f"f.{name}" for name in FOLDS)})
  AND NOT {NOT_FOLDED.format("c")}
"""
OUTCOMES = f"""
SELECT customer.key AS customer, c.reference, c.ordinal, c.outcome, last.outcome AS last_reported
FROM metering_conversation c LEFT JOIN (
    SELECT DISTINCT ON (c.customer_id, c.id) c.customer_id, c.id, e.outcome
    FROM metering_event e JOIN metering_conversation c ON {IN_SITTING}
    WHERE e.outcome IS NOT NULL AND NOT e.voided
    ORDER BY c.customer_id, c.id, e.occurred_at DESC, e.outcome COLLATE "C" DESC
) last ON last.customer_id = c.customer_id AND last.id = c.id {CUSTOMER}
WHERE c.outcome IS DISTINCT FROM last.outcome AND NOT {NOT_FOLDED.format("c")}
"""
SERVICE_ENDS = """(SELECT s.ends_at FROM plans_subscription s
    WHERE s.customer_id = c.customer_id AND s.starts_at <= c.opened_at AND s.ends_at > c.opened_at)"""
SETTLES = f"""
SELECT customer.key AS customer, c.reference, c.ordinal, c.opened_at, c.last_event_at, c.closed_at, service_ends_at,
    c.settles_at, expected_settles_at
FROM metering_conversation c JOIN plans_tierschemeversion v ON v.id = c.boundary_id
LEFT JOIN LATERAL {SERVICE_ENDS} service (service_ends_at) ON true
CROSS JOIN LATERAL (SELECT least(c.last_event_at + v.idle_timeout, c.opened_at + v.max_age, c.closed_at,
    service_ends_at - interval '1 microsecond') AS expected_settles_at) anew
{CUSTOMER}
WHERE c.settles_at <> expected_settles_at AND NOT {RECUT_IS_WAITING}
"""
SPAN = "s.starts_at <= c.opened_at AND (s.ends_at IS NULL OR s.ends_at > c.opened_at)"
BOUNDARY = f"""
SELECT customer.key AS customer, c.reference, c.ordinal, c.opened_at, c.boundary_id AS boundary,
    rule.version_id AS in_force
FROM metering_conversation c CROSS JOIN LATERAL (SELECT coalesce(
    (SELECT s.version_id FROM plans_scheme_span s WHERE s.customer_id = c.customer_id AND {SPAN}),
    (SELECT s.version_id FROM plans_scheme_span s WHERE s.customer_id IS NULL AND {SPAN})) AS version_id) rule
{CUSTOMER}
WHERE c.boundary_id <> rule.version_id AND NOT {RECUT_IS_WAITING}
"""
TIERED = f"""
SELECT customer.key AS customer, c.reference, c.ordinal, s.settled_at, s.tier, s.turns, s.counted_tokens, s.outcome,
    anew.tier AS tier_anew, anew.turns AS turns_anew, anew.tokens AS tokens_anew, c.outcome AS outcome_anew
FROM metering_settledconversation s JOIN metering_conversation c ON c.customer_id = s.customer_id AND c.id = s.id
LEFT JOIN LATERAL ({CLASSIFY}) anew (version_id, tier, turns, tokens) ON true {CUSTOMER}
WHERE NOT {RECUT_IS_WAITING} AND (s.scheme_version_id, s.tier, s.turns, s.counted_tokens, s.outcome)
    IS DISTINCT FROM (anew.version_id, anew.tier, anew.turns, anew.tokens, c.outcome)
"""
OPEN_OR_SETTLED = """
WITH said (customer_id, id, settles_at, state) AS (
    SELECT customer_id, id, settles_at, 'open until ' || settles_at FROM metering_openconversation
    UNION ALL SELECT customer_id, id, settled_at, 'settled at ' || settled_at FROM metering_settledconversation
)
SELECT customer.key AS customer, coalesce(c.id, each.id) AS conversation, c.reference, c.ordinal, c.settles_at,
    coalesce(states, '{}') AS states
FROM metering_conversation c FULL JOIN (
    SELECT customer_id, id, array_agg(state ORDER BY state) AS states, min(settles_at) AS settles_at
    FROM said GROUP BY 1, 2) each USING (customer_id, id)
LEFT JOIN plans_customer customer ON customer.id = coalesce(c.customer_id, each.customer_id)
WHERE cardinality(states) IS DISTINCT FROM 1 OR c.settles_at IS DISTINCT FROM each.settles_at
"""
UNFOLDED = """
SELECT customer.key AS customer, min(u.received_at) AS waiting_since, count(*) AS batches
FROM metering_unfoldedevents u LEFT JOIN plans_customer customer ON customer.id = u.customer_id
WHERE u.received_at < %(now)s - interval '5 minutes' GROUP BY 1
"""
UNSETTLED = f"""
SELECT customer.key AS customer, c.reference, c.ordinal, c.settles_at
FROM metering_openconversation JOIN metering_conversation c USING (customer_id, id) {CUSTOMER}
WHERE c.settles_at < %(now)s - interval '1 hour'
  AND c.folded_at < %(now)s - interval '1 hour'
"""
TALLIED = f"""
SELECT customer.key AS customer, c.hours, c.start, tallied, counted FROM metering_tally c {CUSTOMER}
CROSS JOIN LATERAL (SELECT
    ARRAY(SELECT (tier, outcome, count)::text FROM unnest(c.tiers, c.outcomes, c.counts) each (tier, outcome, count)
        ORDER BY 1) AS tallied,
    ARRAY(SELECT (s.tier, s.outcome, count(*))::text FROM metering_settledconversation s
        WHERE s.customer_id = c.customer_id AND s.settled_at >= c.start
            AND s.settled_at < c.start + c.hours * interval '1 hour'
        GROUP BY s.tier, s.outcome ORDER BY 1) AS counted) figures
WHERE tallied <> counted
"""

CONVERSATIONS = (
    Invariant(
        "stored_events_are_folded_soon",
        "No event waits longer than five minutes to be in its conversation.",
        UNFOLDED,
    ),
    Invariant(
        "event_lies_in_a_sitting",
        "Every call that is not void happened within a sitting of its conversation.",
        HOMELESS,
    ),
    Invariant(
        "sittings_are_numbered_and_do_not_overlap",
        "The sittings of a conversation are numbered from 1, and each begins after the one before has settled.",
        NUMBERED,
    ),
    Invariant(
        "conversation_is_the_fold_of_its_events",
        "Calls, turns, tokens, contexts and costs of a conversation are those of its events.",
        FOLDED,
    ),
    Invariant(
        "conversation_outcome_is_the_last_reported",
        "The outcome of a conversation is the last one its events report.",
        OUTCOMES,
    ),
    Invariant(
        "conversation_settles_by_its_boundary_rule",
        "A conversation settles when it is closed, idle for too long, too old, or its subscription ends, whichever "
        "comes first.",
        SETTLES,
    ),
    Invariant(
        "conversation_is_cut_by_the_scheme_in_force",
        "The boundary rule of a conversation is that of the scheme in force when it opened.",
        BOUNDARY,
    ),
    Invariant(
        "settled_conversation_is_in_its_tier",
        "Tier, turns and tokens of a settled conversation are what the scheme in force makes of it today, and its "
        "outcome is the conversation's.",
        TIERED,
    ),
    Invariant(
        "conversation_is_either_open_or_settled",
        "Every conversation is either open or settled, once, at the instant at which it settles; nothing else is.",
        OPEN_OR_SETTLED,
    ),
    Invariant(
        "due_conversation_is_settled",
        "No conversation waits an hour to be settled.",
        UNSETTLED,
    ),
    Invariant(
        "tally_is_what_settled_in_its_time",
        "Where the conversations of an hour or a day are tallied, the tally is what is counted.",
        TALLIED,
    ),
)
