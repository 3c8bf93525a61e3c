"""How many tokens, in our disjoint buckets, does a provider's own usage body report? Pure.

Providers disagree on what their numbers include: OpenAI's input holds the cached tokens and its output the reasoning,
Anthropic's input does not hold them, Gemini's output leaves the thoughts out. A body is read by its shape, not by
the name of its sender, because gateways pass on the shapes of others; only where two providers mean different
things by the same field names does the provider decide.

Nothing is clamped and nothing guessed: a count that is no integer, a part greater than its whole, or two
reports of one count that disagree, make the body unreadable. (The extractors of genai-prices take a count of
the wrong type for an absent one and need to be told the shape, hence rules of our own; a test holds the two equal.)
"""

from functools import cache
from typing import NamedTuple

MAX_TOKENS = 10**9

Pointers = tuple[str, ...]
Alternatives = tuple[Pointers, ...]
"""One count as a provider may report it: each alternative is a sum of fields, and those reported must agree."""


class UnreadableUsage(ValueError):
    """The usage body cannot be turned into counts; `pointer` (RFC 6901, within the body) says where."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or '/'}: {detail}")
        self.pointer = pointer
        self.detail = detail


class Usage(NamedTuple):
    """Tokens of one call. The first four buckets are disjoint; reasoning is a part of output."""

    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int


class _Shape(NamedTuple):
    input: Alternatives
    cache_read: Alternatives
    cache_write: Alternatives
    output: Alternatives
    reasoning: Alternatives
    total: Alternatives
    input_includes_cache: bool
    output_may_be_absent: bool


_CHAT = _Shape(
    input=(("/prompt_tokens",),),
    cache_read=(
        ("/prompt_tokens_details/cached_tokens",),
        ("/prompt_cache_hit_tokens",),  # DeepSeek
        ("/cached_tokens",),  # Moonshot, Hugging Face
        ("/num_cached_tokens",),  # Mistral
        ("/cached_prompt_text_tokens",),  # xAI
        ("/cache_read_input_tokens",),  # Databricks, LiteLLM
    ),
    cache_write=(
        ("/prompt_tokens_details/cache_write_tokens",),
        ("/prompt_tokens_details/cache_creation_tokens",),  # LiteLLM
        ("/cache_creation_input_tokens",),  # LiteLLM
    ),
    output=(("/completion_tokens",),),
    reasoning=(("/completion_tokens_details/reasoning_tokens",), ("/reasoning_tokens",)),
    total=(("/total_tokens",),),
    input_includes_cache=True,
    output_may_be_absent=True,  # embeddings
)
# Perplexity counts reasoning and citations beside the completion.
_PERPLEXITY_CHAT = _CHAT._replace(output=(("/completion_tokens", "/reasoning_tokens", "/citation_tokens"),))
_RESPONSES = _Shape(
    input=(("/input_tokens",),),
    cache_read=(
        ("/input_tokens_details/cached_tokens",),
        ("/input_token_details/cached_tokens",),  # realtime
        ("/input_tokens_details/cache_read_input_tokens",),  # Perplexity
    ),
    cache_write=(("/input_tokens_details/cache_write_tokens",),),
    output=(("/output_tokens",),),
    reasoning=(("/output_tokens_details/reasoning_tokens",),),
    total=(("/total_tokens",),),
    input_includes_cache=True,
    output_may_be_absent=False,
)
_MESSAGES = _Shape(
    input=(("/input_tokens",),),
    cache_read=(("/cache_read_input_tokens",),),
    cache_write=(
        ("/cache_creation_input_tokens",),
        ("/cache_creation/ephemeral_5m_input_tokens", "/cache_creation/ephemeral_1h_input_tokens"),
    ),
    output=(("/output_tokens",),),
    reasoning=(("/output_tokens_details/thinking_tokens",),),
    total=(),
    input_includes_cache=False,
    output_may_be_absent=False,
)
_CONVERSE = _Shape(
    input=(("/inputTokens",),),
    cache_read=(("/cacheReadInputTokens",), ("/cacheReadInputTokenCount",), ("/cacheReadTokens",)),
    cache_write=(("/cacheWriteInputTokens",), ("/cacheWriteInputTokenCount",), ("/cacheWriteTokens",)),
    output=(("/outputTokens",),),
    reasoning=(),
    total=(),
    input_includes_cache=False,
    output_may_be_absent=False,
)
_GEMINI = _Shape(
    input=(("/promptTokenCount", "/toolUsePromptTokenCount"),),
    cache_read=(("/cachedContentTokenCount",),),
    cache_write=(),
    output=(("/candidatesTokenCount", "/responseTokenCount", "/thoughtsTokenCount"),),
    reasoning=(("/thoughtsTokenCount",),),
    total=(("/totalTokenCount",),),
    input_includes_cache=True,
    output_may_be_absent=True,  # a blocked prompt
)
_GEMINI_SNAKE = _GEMINI._replace(
    input=(("/prompt_token_count", "/tool_use_prompt_token_count"),),
    cache_read=(("/cached_content_token_count",),),
    output=(
        ("/candidates_token_count", "/response_token_count", "/thoughts_token_count"),
        ("/generation_token_count",),  # Llama on Bedrock
    ),
    reasoning=(("/thoughts_token_count",),),
    total=(("/total_token_count",),),
)
# Cohere reports what it processed and what it bills; cost and tier follow what is paid for.
_COHERE = _Shape(
    input=(("/billed_units/input_tokens",),),
    cache_read=(),
    cache_write=(),
    output=(("/billed_units/output_tokens",),),
    reasoning=(),
    total=(),
    input_includes_cache=True,
    output_may_be_absent=True,  # embeddings
)

_SHAPE_BY_FIELD = (
    ("prompt_tokens", _CHAT),
    ("promptTokenCount", _GEMINI),
    ("prompt_token_count", _GEMINI_SNAKE),
    ("inputTokens", _CONVERSE),
    ("billed_units", _COHERE),
    ("input_tokens_details", _RESPONSES),
    ("input_token_details", _RESPONSES),
    ("input_tokens", _MESSAGES),
)
_PERPLEXITY = frozenset({"perplexity"})
_XAI = frozenset({"x-ai", "xai", "x_ai"})


def normalise(provider: str, body: dict[str, object]) -> Usage:
    """The counts of a provider's usage body, untouched as its API answered it. Raises UnreadableUsage."""
    sender = provider.strip().lower()
    shape = _shape_of(sender, body)
    usage = _read(shape, body)
    if shape is _MESSAGES and body.get("iterations") is not None:
        usage = _with_compactions(usage, body["iterations"])
    return usage


def _shape_of(sender: str, body: dict[str, object]) -> _Shape:
    shape = next((shape for field, shape in _SHAPE_BY_FIELD if field in body), None)
    if shape is None:
        raise UnreadableUsage("", "not a usage body that Parley knows; send `usage` instead")
    if shape is _RESPONSES:
        for pointer in ("/cache_read_input_tokens", "/cache_creation_input_tokens"):
            if _count(body, pointer):
                raise UnreadableUsage(
                    pointer, "beside input_tokens_details it is unclear whether input_tokens holds it"
                )
    if shape is _CHAT and sender in _PERPLEXITY:
        return _PERPLEXITY_CHAT
    if shape is _CHAT and sender in _XAI:
        return _xai_chat(body)
    return shape


def _xai_chat(body: dict[str, object]) -> _Shape:
    """xAI counts reasoning beside the completion; gateways fold it in, and then the total shows it."""
    parts = (_count(body, "/prompt_tokens") or 0) + (_count(body, "/completion_tokens") or 0)
    if _count(body, "/total_tokens") == parts:
        return _CHAT
    reasoning = "/reasoning_tokens"
    if _count(body, reasoning) is None:
        reasoning = "/completion_tokens_details/reasoning_tokens"
    return _CHAT._replace(output=(("/completion_tokens", reasoning),))


def _read(shape: _Shape, body: dict[str, object]) -> Usage:
    reported = _agreed(body, shape.input)
    if reported is None:
        raise UnreadableUsage(shape.input[0][0], "is missing")
    cache_read = _agreed(body, shape.cache_read) or 0
    cache_write = _agreed(body, shape.cache_write) or 0
    output = _agreed(body, shape.output)
    if output is None:
        output = _absent_output(shape, body, reported)
    reasoning = _agreed(body, shape.reasoning) or 0
    if reasoning > output:
        raise UnreadableUsage(shape.reasoning[0][0], f"{reasoning} is more than the output of {output}")
    if not shape.input_includes_cache:
        return Usage(reported, cache_read, cache_write, output, reasoning)
    fresh = reported - cache_read - cache_write
    if fresh < 0:
        raise UnreadableUsage(
            shape.cache_read[0][0], f"{cache_read} read + {cache_write} written exceed the input of {reported}"
        )
    return Usage(fresh, cache_read, cache_write, output, reasoning)


def _absent_output(shape: _Shape, body: dict[str, object], reported_input: int) -> int:
    """No output is no tokens only where the shape allows it and the total knows of none."""
    total = _agreed(body, shape.total)
    if not shape.output_may_be_absent or (total is not None and total > reported_input):
        raise UnreadableUsage(shape.output[0][0], "is missing")
    return 0


def _with_compactions(usage: Usage, iterations: object) -> Usage:
    """Anthropic bills the summaries it makes of a long context, but leaves them out of the top-level counts."""
    if not isinstance(iterations, list):
        raise UnreadableUsage("/iterations", "is not an array")
    for index, iteration in enumerate(iterations):
        if not isinstance(iteration, dict):
            raise UnreadableUsage(f"/iterations/{index}", "is not an object")
        if iteration.get("type") != "compaction":
            continue
        try:
            usage = Usage(*map(sum, zip(usage, _read(_MESSAGES, iteration), strict=True)))
        except UnreadableUsage as unreadable:
            raise UnreadableUsage(f"/iterations/{index}{unreadable.pointer}", unreadable.detail) from None
    return usage


def _agreed(body: dict[str, object], alternatives: Alternatives) -> int | None:
    """The one count that the reported alternatives agree on; a zero beside a count is a placeholder."""
    agreed: int | None = None
    for pointers in alternatives:
        counts = [count for pointer in pointers if (count := _count(body, pointer)) is not None]
        if not counts:
            continue
        reported = sum(counts)
        if agreed and reported and reported != agreed:
            raise UnreadableUsage(pointers[0], f"{reported} contradicts another report of {agreed}")
        agreed = agreed or reported
    return agreed


def _count(body: dict[str, object], pointer: str) -> int | None:
    value: object = body
    for name in _names(pointer):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise UnreadableUsage(pointer.rpartition("/")[0], "is not an object")
        value = value.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        raise UnreadableUsage(pointer, f"is not an integer from 0 to {MAX_TOKENS}")
    return value


@cache
def _names(pointer: str) -> Pointers:
    return tuple(pointer[1:].split("/"))
