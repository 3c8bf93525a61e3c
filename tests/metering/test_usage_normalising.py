"""Every provider's usage body becomes the same five counts, and a body that cannot be read is refused, never bent."""

import json
from pathlib import Path

import pytest
from genai_prices.data import providers as catalogue_providers
from genai_prices.types import UsageExtractor

from metering.usage_normalising import UnreadableUsage, Usage, normalise

REAL = Path(__file__).resolve().parents[3] / "shared" / "realdata"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real usage stands beside the repository only")

ANTHROPIC = {"input_tokens": 10, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20, "output_tokens": 5}
CHAT = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}


def test_openai_input_holds_the_cached_tokens_and_they_are_taken_out_once() -> None:
    body = CHAT | {
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    assert normalise("openai", body) == Usage(30, 60, 10, 30, 12)


def test_openai_responses_names_the_same_counts_differently() -> None:
    body = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 12},
    }
    assert normalise("openai", body) == Usage(40, 60, 0, 30, 12)


def test_openai_embeddings_have_no_output() -> None:
    assert normalise("openai", {"prompt_tokens": 8, "total_tokens": 8}) == Usage(8, 0, 0, 0, 0)


def test_anthropic_input_does_not_hold_the_cached_tokens() -> None:
    assert normalise("anthropic", ANTHROPIC) == Usage(10, 70, 20, 5, 0)


def test_anthropic_thinking_is_a_part_of_output() -> None:
    body = ANTHROPIC | {"output_tokens_details": {"thinking_tokens": 4}}
    assert normalise("anthropic", body) == Usage(10, 70, 20, 5, 4)


def test_anthropic_cache_creation_by_lifetime_is_the_same_count_once_more() -> None:
    lifetimes = {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}
    assert normalise("anthropic", ANTHROPIC | {"cache_creation": lifetimes}) == Usage(10, 70, 20, 5, 0)


def test_anthropic_compaction_is_billed_beside_the_top_level_counts() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
    ]
    body = {"input_tokens": 23_000, "output_tokens": 1_000, "iterations": iterations}
    assert normalise("anthropic", body) == Usage(203_000, 0, 0, 4_500, 0)


def test_gemini_output_leaves_the_thoughts_out() -> None:
    body = {
        "promptTokenCount": 332,
        "cachedContentTokenCount": 32,
        "toolUsePromptTokenCount": 643,
        "candidatesTokenCount": 53,
        "thoughtsTokenCount": 173,
        "totalTokenCount": 1201,
    }
    assert normalise("google", body) == Usage(943, 32, 0, 226, 173)


def test_gemini_of_the_python_client_is_written_in_snake_case() -> None:
    body = {"prompt_token_count": 50, "cached_content_token_count": 20, "candidates_token_count": 7}
    assert normalise("gcp.gemini", body | {"thoughts_token_count": None}) == Usage(30, 20, 0, 7, 0)


def test_deepseek_reports_hits_and_misses() -> None:
    body = CHAT | {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}
    assert normalise("deepseek", body) == Usage(36, 64, 0, 30, 0)


def test_mistral_has_its_own_name_for_cached_tokens() -> None:
    assert normalise("mistral", CHAT | {"num_cached_tokens": 64}) == Usage(36, 64, 0, 30, 0)


def test_bedrock_converse_counts_like_anthropic() -> None:
    body = {"inputTokens": 458, "cacheReadInputTokens": 2098, "cacheWriteInputTokens": 0, "outputTokens": 4}
    assert normalise("aws.bedrock", body) == Usage(458, 2098, 0, 4, 0)


def test_llama_on_bedrock_reports_what_it_generated() -> None:
    assert normalise("bedrock", {"prompt_token_count": 9, "generation_token_count": 4}) == Usage(9, 0, 0, 4, 0)


def test_xai_counts_reasoning_beside_the_completion() -> None:
    body = {"prompt_tokens": 10_120, "completion_tokens": 1_499, "total_tokens": 14_428}
    body |= {"completion_tokens_details": {"reasoning_tokens": 2_809}}
    assert normalise("xai", body) == Usage(10_120, 0, 0, 4_308, 2_809)


def test_xai_through_a_gateway_that_folded_reasoning_in_is_not_counted_twice() -> None:
    body = CHAT | {"completion_tokens_details": {"reasoning_tokens": 12}}
    assert normalise("xai", body) == Usage(100, 0, 0, 30, 12)


def test_perplexity_counts_reasoning_and_citations_beside_the_completion() -> None:
    body = {"prompt_tokens": 33, "completion_tokens": 7_163, "citation_tokens": 20_016, "reasoning_tokens": 58_196}
    assert normalise("perplexity", body) == Usage(33, 0, 0, 85_375, 58_196)


def test_cohere_is_read_by_what_it_bills() -> None:
    body = {"billed_units": {"input_tokens": 45, "output_tokens": 29}, "tokens": {"input_tokens": 1469}}
    assert normalise("cohere", body) == Usage(45, 0, 0, 29, 0)


def test_litellm_repeats_anthropics_names_beside_openais_and_they_count_once() -> None:
    body = {
        "prompt_tokens": 192_203,
        "completion_tokens": 393,
        "prompt_tokens_details": {"cached_tokens": 4_096, "cache_creation_tokens": 188_086},
        "cache_creation_input_tokens": 188_086,
        "cache_read_input_tokens": 4_096,
    }
    assert normalise("anthropic", body) == Usage(21, 4_096, 188_086, 393, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (CHAT | {"prompt_tokens_details": {"cached_tokens": 101}}, "/prompt_tokens_details/cached_tokens"),
        (CHAT | {"prompt_tokens_details": {"cached_tokens": "60"}}, "/prompt_tokens_details/cached_tokens"),
        (CHAT | {"prompt_tokens_details": [60]}, "/prompt_tokens_details"),
        (CHAT | {"completion_tokens_details": {"reasoning_tokens": 31}}, "/completion_tokens_details/reasoning_tokens"),
        (CHAT | {"prompt_tokens": -1}, "/prompt_tokens"),
        (CHAT | {"prompt_tokens": 100.0}, "/prompt_tokens"),
        (CHAT | {"prompt_tokens": True}, "/prompt_tokens"),
        (CHAT | {"prompt_tokens": 10**9 + 1}, "/prompt_tokens"),
        (CHAT | {"prompt_tokens": None}, "/prompt_tokens"),
        (CHAT | {"cached_tokens": 5, "num_cached_tokens": 6}, "/num_cached_tokens"),
        ({"prompt_tokens": 100, "total_tokens": 130}, "/completion_tokens"),
        ({"promptTokenCount": 100, "totalTokenCount": 130}, "/candidatesTokenCount"),
        ({"input_tokens": 5}, "/output_tokens"),
        (
            ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 21}},
            "/cache_creation/ephemeral_5m_input_tokens",
        ),
        (ANTHROPIC | {"input_tokens_details": {"cached_tokens": 70}}, "/cache_read_input_tokens"),
        (ANTHROPIC | {"iterations": [{"type": "compaction", "input_tokens": 1}]}, "/iterations/0/output_tokens"),
        ({}, ""),
        ({"tokens": 12}, ""),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place_named(body: dict[str, object], pointer: str) -> None:
    with pytest.raises(UnreadableUsage) as unreadable:
        normalise("openai", body)
    assert unreadable.value.pointer == pointer


# Bodies that carry no independent counts in the file, with what they say when read by hand.
READ_BY_HAND = {
    35: Usage(458, 2098, 0, 4, 0),
    48: Usage(21, 0, 0, 26, 0),
    275: Usage(431, 0, 0, 661, 0),
    340: Usage(45, 0, 0, 29, 0),
    298: Usage(16, 0, 0, 218, 0),
    1369: Usage(21, 0, 0, 142, 136),
    416: Usage(561, 0, 0, 81, 0),
}


@real_data
def test_real_bodies_give_the_independent_counts() -> None:
    compared = 0
    for line in (REAL / "extracts" / "provider_usage_bodies.ndjson").read_text().splitlines():
        row = json.loads(line)
        ours = normalise(row["provider_family"], row["usage"])
        if (theirs := row.get("normalised")) is None:
            assert ours == READ_BY_HAND.get(row["n"], ours)
            continue
        assert _with_total_input(ours) == {
            name: theirs.get(name, 0)
            for name in (
                "input_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "output_tokens",
                "output_reasoning_tokens",
            )
        }, row["n"]
        compared += 1
    assert compared == 129


# Where the catalogue's own extractor comes to other counts for a real body, and why ours stay as they are. Every other
# one of the 1,577 recorded bodies that its data set holds comes to the same counts.
DIFFERENCES: dict[str, tuple[str, dict[str, object], dict[str, int]]] = {
    "Mistral names its cached tokens num_cached_tokens, which the extractor does not look at": (
        "mistral",
        {"completion_tokens": 12, "num_cached_tokens": 69, "prompt_tokens": 70, "total_tokens": 82},
        {"cache_read_tokens": 69},
    ),
    "Anthropic bills the compactions of a long context, which stand in iterations only": (
        "anthropic",
        {
            "input_tokens": 180,
            "output_tokens": 8,
            "iterations": [{"type": "compaction", "input_tokens": 55_196, "output_tokens": 82}, {"type": "message"}],
        },
        {"input_tokens": 55_376, "output_tokens": 90},
    ),
}


@pytest.mark.parametrize("reason", DIFFERENCES)
def test_differences_from_the_catalogues_extractors_are_these(reason: str) -> None:
    provider_id, body, differing = DIFFERENCES[reason]
    extractor = next(provider for provider in catalogue_providers if provider.id == provider_id).extractors[0]  # type: ignore[index]
    _, theirs = extractor.extract(_wrapped(extractor, body))
    ours = _with_total_input(normalise(provider_id, body))
    assert {name: ours[name] for name in ours if ours[name] != (theirs.reported_value(name) or 0)} == differing


def _with_total_input(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }


@real_data
def test_every_documented_shape_says_what_its_numbers_include() -> None:
    shapes = json.loads((REAL / "payloads" / "usage_shapes.json").read_text())["shapes"]
    cached = {
        "openai.chat.completions": ("/prompt_tokens", "/completion_tokens", "/prompt_tokens_details/cached_tokens"),
        "openai.responses": ("/input_tokens", "/output_tokens", "/input_tokens_details/cached_tokens"),
        "anthropic.messages": ("/input_tokens", "/output_tokens", "/cache_read_input_tokens"),
        "google.generateContent": ("/promptTokenCount", "/candidatesTokenCount", "/cachedContentTokenCount"),
        "deepseek.chat": ("/prompt_tokens", "/completion_tokens", "/prompt_cache_hit_tokens"),
    }
    assert shapes.keys() == cached.keys()
    for name, (prompt, completion, read) in cached.items():
        usage = normalise(name.partition(".")[0], _body({prompt: 100, completion: 30, read: 60}))
        assert usage.input_tokens == (40 if shapes[name]["input_includes_cached"] else 100), name


COUNTS = {
    "input_tokens": 1000,
    "cache_read_tokens": 100,
    "cache_write_tokens": 50,
    "cache_write_5m_tokens": 30,
    "cache_write_1h_tokens": 20,
    "output_tokens": 200,
    "output_reasoning_tokens": 20,
}
# Bodies the catalogue reads and we refuse, by provider and flavour, with the reason.
REFUSED_ON_PURPOSE = {
    ("cohere", "tokens"): "what Cohere processed, without what it bills",
    ("mistral", "ocr"): "counts pages, no tokens",
    ("mistral", "ocr_annotated"): "counts pages, no tokens",
    ("openai", "live"): "counts seconds, no tokens",
}


def test_every_extractor_of_the_catalogue_reads_the_same_counts() -> None:
    refused = set()
    for provider in catalogue_providers:
        for extractor in provider.extractors or []:
            body = _body_for(extractor)
            try:
                ours = _with_total_input(normalise(provider.id, body))
            except UnreadableUsage:
                refused.add((provider.id, extractor.api_flavor))
                continue
            _, theirs = extractor.extract(_wrapped(extractor, body))
            assert ours == {name: theirs.reported_value(name) for name in ours}, (provider.id, extractor.api_flavor)
    assert refused == REFUSED_ON_PURPOSE.keys()


def _body_for(extractor: UsageExtractor) -> dict[str, object]:
    """A body that fills every text count the extractor looks for; a field read into two counts gets the part's."""
    counts: dict[str, int] = {}
    for mapping in extractor.mappings:
        path = [mapping.path] if isinstance(mapping.path, str) else list(mapping.path)
        if (mapping.dest in COUNTS or mapping.required) and all(isinstance(name, str) for name in path):
            pointer = "/" + "/".join(str(name) for name in path)
            counts[pointer] = min(COUNTS.get(mapping.dest, 0), counts.get(pointer, 10**9))
    body = _body(counts)
    return {"billed_units": body} if "billed_units" in extractor.root else body


def _wrapped(extractor: UsageExtractor, body: dict[str, object]) -> dict[str, object]:
    root = [extractor.root] if isinstance(extractor.root, str) else extractor.root
    for name in reversed([name for name in root if name != "billed_units"]):
        body = {str(name): body}
    return body


def _body(counts: dict[str, int]) -> dict[str, object]:
    body: dict[str, object] = {}
    for pointer, count in counts.items():
        *parents, last = pointer[1:].split("/")
        inner = body
        for name in parents:
            inner = inner.setdefault(name, {})  # type: ignore[assignment]
        inner[last] = count
    return body
