"""How many tokens does a span say that a call used? Four dialects of attributes, our buckets. Pure."""

import ast
from collections.abc import Iterable
from typing import Any

from metering.doors.foreign_calls import NO_USAGE, CannotBill, count, storable, usage_fields
from metering.doors.otlp_reading import Attributes, Span
from metering.doors.refusals import was_refused

INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.details.cache_read_tokens",
    "llm.token_count.prompt_details.cache_read",
)
CACHE_WRITE = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
)
REASONING = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)
TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")

COUNTS = (*INPUT, *OUTPUT, *CACHE_READ, *CACHE_WRITE, *REASONING, *TOTAL)
_LONGEST_LITERAL = 10_000


def first_of(attributes: Attributes, names: Iterable[str]) -> Any:
    """The first of these attributes that says anything, or None."""
    return next((value for name in names if (value := attributes.get(name)) not in (None, "")), None)


def usage_of(attributes: Attributes, kind: str, provider: str) -> dict[str, int] | None:
    """The usage in our buckets, None where the span does not say. Raises CannotBill where it contradicts itself."""
    from_litellm = _litellm_usage(attributes)
    if from_litellm:
        return usage_fields(provider, from_litellm)
    counts = {
        name: count(first_of(attributes, names), names[0])
        for name, names in (("input", INPUT), ("output", OUTPUT), ("read", CACHE_READ), ("written", CACHE_WRITE))
    }
    if counts["input"] is None or (counts["output"] is None and kind != "embedding"):
        return None
    total = count(first_of(attributes, TOTAL), TOTAL[0])
    reasoning = count(first_of(attributes, REASONING), REASONING[0])
    if _is_beside_the_cache(counts, total):
        return usage_fields(
            provider,
            {
                "input_tokens": counts["input"],
                "cache_read_input_tokens": counts["read"],
                "cache_creation_input_tokens": counts["written"],
                "output_tokens": counts["output"],
                "output_tokens_details": {"thinking_tokens": reasoning},
            },
        )
    return usage_fields(
        provider,
        {
            "prompt_tokens": counts["input"],
            "completion_tokens": counts["output"],
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": counts["read"], "cache_write_tokens": counts["written"]},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        },
    )


def _is_beside_the_cache(counts: dict[str, int | None], total: int | None) -> bool:
    """The conventions count cached tokens as a part of the input; instruments of Anthropic's API did not always.

    Those show by a cache larger than the input, or by a total that only adds up with the cache beside it.
    """
    fresh, output = counts["input"] or 0, counts["output"] or 0
    cached = (counts["read"] or 0) + (counts["written"] or 0)
    return cached > 0 and (cached > fresh or total == fresh + cached + output)


def _litellm_usage(attributes: Attributes) -> dict[str, Any] | None:
    """LiteLLM's spans leave the cached tokens out, but carry the whole usage object as Python would print it."""
    printed = attributes.get("metadata.usage_object")
    if not isinstance(printed, str) or not printed.startswith("{") or len(printed) > _LONGEST_LITERAL:
        return None
    try:
        usage = ast.literal_eval(printed)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return usage if isinstance(usage, dict) else None


def usage_of_failure(span: Span) -> dict[str, int]:
    error = str(span.attributes.get("error.type") or span.exception or span.status_message.partition(":")[0])
    status = span.attributes.get("http.response.status_code")
    if not was_refused(error, status=status if isinstance(status, int) else None, message=span.status_message):
        raise CannotBill(
            f"usage: the call failed ({storable(error[:80]) or 'no reason given'}); what it used is not known"
        )
    return NO_USAGE
