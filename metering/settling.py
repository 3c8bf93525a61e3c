"""When is a conversation's tier fixed? At its settling instant, by one statement that joins the tier rows.

The statement is the SQL twin of metering.tiering (a property test holds them equal). It computes from the row it
updates, so a conversation that a concurrent ingest has just extended is judged, or left open, as it then is.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence

import psycopg
from django.db import OperationalError, connection, transaction

from metering.models import Conversation
from metering.recutting import recut_changed_schemes
from metering.releasing import release_quarantined
from metering.usage_lock import share_usage_lock

CUSTOMERS_A_BATCH = 200
"""Customers settled in one transaction: long enough to be fast, short enough not to hold up their ingestion."""

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
SETTLE = f"""
UPDATE metering_conversation c
SET settled_at = c.settles_at, (scheme_version_id, tier, turns, counted_tokens) = ({CLASSIFY})
WHERE c.customer_id = ANY(%s) AND c.settled_at IS NULL AND c.settles_at <= %s
"""
CLASSIFY_OPEN = f"""
SELECT c.customer_id, c.id, c.settles_at, c.outcome, now_in.version_id, now_in.tier, now_in.turns, now_in.tokens
FROM metering_conversation c CROSS JOIN LATERAL ({CLASSIFY}) now_in (version_id, tier, turns, tokens)
WHERE c.settled_at IS NULL
"""


def settle(*, as_of: dt.datetime, now: dt.datetime, progress: Callable[[int], object] = lambda settled: None) -> int:
    """Settle every conversation that is due at `as_of`, of all customers; returns how many.

    First lets in quarantined events whose customer exists by now and cuts anew what another scheme rules by now.
    `progress` is called with the number settled in each step.
    """
    release_quarantined(now=now)
    recut_changed_schemes(now=now)
    settled = 0
    customers = list(
        Conversation.objects.filter(settled_at=None)
        .order_by("customer_id")
        .values_list("customer_id", flat=True)
        .distinct()
    )
    for start in range(0, len(customers), CUSTOMERS_A_BATCH):
        step = settle_customers(customers[start : start + CUSTOMERS_A_BATCH], as_of=as_of)
        settled += step
        progress(step)
    return settled


def settle_customers(customer_ids: Sequence[uuid.UUID], *, as_of: dt.datetime, attempts: int = 5) -> int:
    """Settle what is due of these customers, in one transaction (tried again when it deadlocks with an ingest).

    The shared usage lock makes a recut wait: a statement that began before the scheme changed would otherwise put the
    rows that were just recut into tiers of the old one.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            share_usage_lock(customer_ids)
            cursor.execute(SETTLE, [list(customer_ids), as_of])
            return int(cursor.rowcount)
    except OperationalError as error:
        if attempts == 1 or not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
            raise
    return settle_customers(customer_ids, as_of=as_of, attempts=attempts - 1)
