"""Which rule puts a conversation into its tier, said in SQL? The twin of metering.tiering.

There are two forms, held equal to the pure rule by property tests. `CLASSIFY` says it row by row, as a reader would,
and checks the books. `RULES` prepares it for many rows of many customers: which version of a scheme rules a customer
when, and each version as a grid. The limits of its tiers cut turns and tokens into stretches, and within one stretch of
each all conversations are in the same tier; so a tier is found by two searches in sorted limits, whatever the tiers are
and however many.
"""

TURNS = "CASE WHEN c.max_turn IS NULL THEN c.first_completions ELSE c.max_turn - c.min_turn + 1 END"
TOKENS = """
CASE v.token_basis
  WHEN 'context' THEN CASE WHEN v.count_retries THEN c.peak_context ELSE c.peak_context_first END
  ELSE c.input_tokens + c.cache_write_tokens + c.output_tokens
    + CASE v.token_basis WHEN 'processed' THEN c.cache_read_tokens ELSE 0 END
    - CASE WHEN v.count_retries THEN 0 ELSE
        c.retry_input_tokens + c.retry_cache_write_tokens + c.retry_output_tokens
        + CASE v.token_basis WHEN 'processed' THEN c.retry_cache_read_tokens ELSE 0 END END
END"""
VERSION_IN_FORCE = """
coalesce(
  (SELECT s.version_id FROM plans_scheme_span s WHERE s.customer_id = c.customer_id
     AND s.starts_at <= c.settles_at AND (s.ends_at IS NULL OR s.ends_at > c.settles_at)),
  (SELECT s.version_id FROM plans_scheme_span s WHERE s.customer_id IS NULL
     AND s.starts_at <= c.settles_at AND (s.ends_at IS NULL OR s.ends_at > c.settles_at)))"""
CLASSIFY = f"""
SELECT v.id, t.code, {TURNS}, {TOKENS}
FROM plans_tierschemeversion v JOIN plans_tier t ON t.scheme_version_id = v.id
WHERE v.id = {VERSION_IN_FORCE}
  AND (t.max_turns IS NULL OR {TURNS} < t.max_turns) AND (t.max_tokens IS NULL OR {TOKENS} < t.max_tokens)
ORDER BY t.position LIMIT 1"""
"""For a row `c`: the version in force at its settling instant, and tier, turns and tokens by it."""

RULES = """
own AS MATERIALIZED (
    SELECT customer_id, version_id, starts_at, coalesce(ends_at, 'infinity') AS ends_at
    FROM plans_scheme_span WHERE customer_id = ANY(%(customers)s::uuid[])
),
usual AS MATERIALIZED (
    SELECT version_id, starts_at, coalesce(ends_at, 'infinity') AS ends_at
    FROM plans_scheme_span WHERE customer_id IS NULL
),
version AS MATERIALIZED (
    SELECT v.id, v.token_basis, v.count_retries, turn_limits, token_limits, cardinality(token_limits) + 1 AS columns,
        ARRAY(
            SELECT (SELECT t.code FROM plans_tier t WHERE t.scheme_version_id = v.id
                AND (t.max_turns IS NULL OR t.max_turns > turns.least)
                AND (t.max_tokens IS NULL OR t.max_tokens > tokens.least) ORDER BY t.position LIMIT 1)
            FROM unnest(-1 || turn_limits) turns (least), unnest(-1 || token_limits) tokens (least)
            ORDER BY turns.least, tokens.least
        ) AS tiers
    FROM plans_tierschemeversion v CROSS JOIN LATERAL (
        SELECT array_remove(array_agg(DISTINCT max_turns::int8), NULL) AS turn_limits,
            array_remove(array_agg(DISTINCT max_tokens), NULL) AS token_limits
        FROM plans_tier t WHERE t.scheme_version_id = v.id) limits
    WHERE v.id IN (SELECT version_id FROM own UNION ALL SELECT version_id FROM usual)
)"""
"""Rows `own` (of customers, by time), `usual` (for whoever has none then) and `version`, by id."""
OWN = """
LEFT JOIN own ON own.customer_id = c.customer_id AND own.starts_at <= c.settles_at AND own.ends_at > c.settles_at"""
"""Joined to conversations `c`, after RULES; at most one is in force at an instant."""
RULING = """
coalesce(own.version_id,
    (SELECT version_id FROM usual WHERE usual.starts_at <= c.settles_at AND usual.ends_at > c.settles_at))"""
"""The id of the version in force, of a row `c` with OWN; the twin of VERSION_IN_FORCE."""
TIER = f"""
v.tiers[width_bucket(({TURNS})::int8, v.turn_limits) * v.columns + width_bucket(({TOKENS})::int8, v.token_limits) + 1]
"""
"""Of a row `c` under the version `v`; width_bucket counts the limits that are reached."""
