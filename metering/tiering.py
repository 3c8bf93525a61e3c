"""Which tier is a conversation in, and why? Pure: the same rule rows that the settling statement joins in SQL.

A tier matches when turns < max_turns and tokens < max_tokens; the first match wins; the last tier has no limits.
"""

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from metering.sittings import CLOSE, MeteredEvent, Sitting, replayed


class TierLimits(msgspec.Struct, frozen=True):
    """One tier: below both limits a conversation belongs to it (None: no limit)."""

    code: str
    max_turns: int | None
    max_tokens: int | None

    def admits(self, turns: int, tokens: int) -> bool:
        return (self.max_turns is None or turns < self.max_turns) and (
            self.max_tokens is None or tokens < self.max_tokens
        )


class TierRules(msgspec.Struct, frozen=True):
    """A version of a tier scheme as far as it decides tiers."""

    version_id: uuid.UUID
    scheme: str
    version: int
    token_basis: str
    count_retries: bool
    tiers: tuple[TierLimits, ...]


class Crossing(msgspec.Struct, frozen=True):
    """The first limit of the next cheaper tier that the conversation reached, and the event that reached it."""

    limit: str
    value: int
    event_id: str | None


class Explanation(msgspec.Struct, frozen=True):
    """Why a conversation is in its tier, for the API, the console and the customer."""

    scheme: str
    scheme_version: int
    token_basis: str
    tier: str
    turns: int
    tokens: int
    max_turns: int | None
    max_tokens: int | None
    cheaper_tier: str | None
    crossed: Crossing | None
    turns_over: int | None
    tokens_over: int | None
    sentence: str


def count_turns(sitting: Sitting) -> int:
    """User messages answered: highest minus lowest turn plus one, else successful first-attempt completions."""
    if sitting.min_turn is None or sitting.max_turn is None:
        return sitting.first_completions
    return sitting.max_turn - sitting.min_turn + 1


def count_tokens(sitting: Sitting, basis: str, count_retries: bool) -> int:
    """The tokens that decide the tier, under the scheme's token basis."""
    if basis == "context":
        return sitting.peak_context if count_retries else sitting.peak_context_first
    tokens = sitting.input_tokens + sitting.cache_write_tokens + sitting.output_tokens
    retried = sitting.retry_input_tokens + sitting.retry_cache_write_tokens + sitting.retry_output_tokens
    if basis == "processed":
        tokens += sitting.cache_read_tokens
        retried += sitting.retry_cache_read_tokens
    return tokens if count_retries else tokens - retried


def classify(turns: int, tokens: int, tiers: Sequence[TierLimits]) -> int:
    """The position of the first tier that admits the counts."""
    return next(position for position, tier in enumerate(tiers) if tier.admits(turns, tokens))


def explain(sitting: Sitting, events: Iterable[MeteredEvent], rules: TierRules) -> Explanation:
    """Explain the tier of a sitting; `events` are its events in chronological order."""
    turns = count_turns(sitting)
    tokens = count_tokens(sitting, rules.token_basis, rules.count_retries)
    position = classify(turns, tokens, rules.tiers)
    tier = rules.tiers[position]
    cheaper = rules.tiers[position - 1] if position else None
    crossed = _first_crossing(events, cheaper, rules) if cheaper else None
    return Explanation(
        scheme=rules.scheme,
        scheme_version=rules.version,
        token_basis=rules.token_basis,
        tier=tier.code,
        turns=turns,
        tokens=tokens,
        max_turns=tier.max_turns,
        max_tokens=tier.max_tokens,
        cheaper_tier=cheaper.code if cheaper else None,
        crossed=crossed,
        turns_over=_over(turns, cheaper.max_turns) if cheaper else None,
        tokens_over=_over(tokens, cheaper.max_tokens) if cheaper else None,
        sentence=_sentence(tier, cheaper, turns, tokens),
    )


def _over(count: int, limit: int | None) -> int | None:
    """By how much a count has to shrink to stay below a limit (0: it already does)."""
    return None if limit is None else max(0, count - limit + 1)


def _first_crossing(events: Iterable[MeteredEvent], cheaper: TierLimits, rules: TierRules) -> Crossing | None:
    """Replay the sitting event by event until the cheaper tier no longer admits it."""
    for event, so_far in replayed(event for event in events if event.kind != CLOSE and not event.voided):
        turns = count_turns(so_far)
        tokens = count_tokens(so_far, rules.token_basis, rules.count_retries)
        if cheaper.max_turns is not None and turns >= cheaper.max_turns:
            return Crossing(limit="turns", value=turns, event_id=event.event_id)
        if cheaper.max_tokens is not None and tokens >= cheaper.max_tokens:
            return Crossing(limit="tokens", value=tokens, event_id=event.event_id)
    return None


def _sentence(tier: TierLimits, cheaper: TierLimits | None, turns: int, tokens: int) -> str:
    counted = f"{turns:,} {'turn' if turns == 1 else 'turns'} and {tokens:,} tokens"
    if cheaper is None:
        return f"This conversation had {counted}, which is {tier.code}."
    reasons = []
    if cheaper.max_turns is not None and turns >= cheaper.max_turns:
        reasons.append(f"fewer than {cheaper.max_turns:,} turns")
    if cheaper.max_tokens is not None and tokens >= cheaper.max_tokens:
        reasons.append(f"fewer than {cheaper.max_tokens:,} tokens")
    return f"This conversation had {counted}, which is {tier.code}: {cheaper.code} needs {' and '.join(reasons)}."
