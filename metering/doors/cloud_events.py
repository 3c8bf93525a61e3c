"""What does a CloudEvent of OpenMeter's clients tell? Pure.

`subject` is the customer, `id` the event id, `source` the feature. The data are what senders make them: the tokens
stand in fields by bucket, or as `tokens` with a `type` that says which bucket they are.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from metering.doors.foreign_calls import (
    NO_USAGE,
    CannotBill,
    ForeignCall,
    call_of,
    count,
    first_text,
    instant,
    text,
    usage_fields,
)
from metering.usage_normalising import MAX_TOKENS

CONVERSATIONS = (
    *("conversation_id", "conversation", "conversationId", "session_id", "session", "sessionId"),
    *("thread_id", "chat_id", "trace_id"),
)
PROVIDERS = ("provider", "vendor", "system", "model_provider")
LONGEST_FEATURE = 64
BUCKETS = {
    "input_tokens": ("input_tokens", "prompt_tokens", "inputTokens", "promptTokens"),
    "cache_read_tokens": ("cached_input_tokens", "cache_read_tokens", "cached_tokens", "cachedInputTokens"),
    "cache_write_tokens": ("cache_write_tokens", "cache_creation_tokens", "cacheWriteTokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "outputTokens", "completionTokens"),
    "reasoning_tokens": ("reasoning_tokens", "reasoningTokens"),
}
TYPES = {
    **dict.fromkeys(("input", "prompt", "system", "user", "total"), "input_tokens"),
    **dict.fromkeys(("output", "completion", "response", "assistant"), "output_tokens"),
    **dict.fromkeys(("cached", "cached_input", "cache_read"), "cache_read_tokens"),
    **dict.fromkeys(("cache_write", "cache_creation"), "cache_write_tokens"),
}
"""Which bucket `tokens` are, by the data's `type`. Without a type they are input, of which every call has some."""


def read_call(event: object) -> ForeignCall:
    """One CloudEvent as a call."""
    return call_of(event, _read)


def feature_of(source: str) -> str:
    """The source of an event as a feature: as it is, or the beginning of a long one with a digest of the whole."""
    if len(source) <= LONGEST_FEATURE:
        return source
    return f"{source[: LONGEST_FEATURE - 9]}~{sha256(source.encode()).hexdigest()[:8]}"


def _read(event: Mapping[str, Any], fields: dict[str, Any]) -> None:
    data = event.get("data")
    data = data if isinstance(data, Mapping) else {}
    source = text(event.get("source"), "source")
    for name, value in (
        ("id", text(event.get("id"), "id")),
        ("customer", text(event.get("subject"), "subject")),
        ("conversation", first_text(data, CONVERSATIONS)),
        ("provider", first_text(data, PROVIDERS)),
        ("model", text(data.get("model"), "data/model")),
        ("feature", feature_of(source) if source else None),
    ):
        if value is not None:
            fields[name] = value.lower() if name == "provider" else value
    fields["occurred_at"] = instant(event.get("time"), "time")
    fields["kind"], fields["usage"] = _kind_and_usage(data, fields.get("provider", ""))


def _kind_and_usage(data: Mapping[str, Any], provider: str) -> tuple[str, dict[str, int]]:
    if isinstance(data.get("usage"), Mapping):
        return "completion", usage_fields(provider, data["usage"])
    by_bucket = bucket_counts(data)
    if by_bucket:
        return "completion", disjoint(by_bucket)
    tokens = count(data.get("tokens"), "data/tokens")
    if tokens is None:
        raise CannotBill("data: reports no tokens")
    if tokens > MAX_TOKENS:
        raise CannotBill(f"data/tokens: more than {MAX_TOKENS}")
    type_ = text(data.get("type"), "data/type") or "input"
    bucket = TYPES.get(type_.lower())
    if bucket is None:
        raise CannotBill(f"data/type: {type_[:40]!r} is no kind of tokens")
    # The parts of one call come as events of their own: the one of its input is the call, and makes the turn.
    return "completion" if bucket == "input_tokens" else "other", NO_USAGE | {bucket: tokens}


def bucket_counts(data: Mapping[str, Any]) -> dict[str, int]:
    """The counts that are told by bucket. Raises CannotBill for what is no count."""
    counts = {}
    for bucket, names in BUCKETS.items():
        for name in names:
            number = count(data.get(name), name)
            if number is not None:
                counts[bucket] = number
                break
    return counts


def disjoint(counts: Mapping[str, int]) -> dict[str, int]:
    """Such counts in our buckets: input as these products count it, cached tokens included. Raises CannotBill."""
    return usage_fields(
        "",
        {
            "prompt_tokens": counts.get("input_tokens", 0),
            "completion_tokens": counts.get("output_tokens", 0),
            "prompt_tokens_details": {
                "cached_tokens": counts.get("cache_read_tokens"),
                "cache_write_tokens": counts.get("cache_write_tokens"),
            },
            "completion_tokens_details": {"reasoning_tokens": counts.get("reasoning_tokens")},
        },
    )
