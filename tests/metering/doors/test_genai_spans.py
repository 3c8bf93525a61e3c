"""Four dialects of attributes tell of the same calls; what only repeats a call is none."""

from typing import Any

import pytest

from metering.doors.foreign_calls import NO_USAGE, ForeignCall
from metering.doors.genai_spans import read_call
from metering.doors.otlp_reading import Span
from tests.metering.doors.spans import CHAT, agent, chat, recorded, span

OPENAI = {"cache_read_tokens": 1920, "output_tokens": 300, "reasoning_tokens": 128, "input_tokens": 86}
WITHOUT_DETAILS = {"cache_read_tokens": 0, "output_tokens": 300, "reasoning_tokens": 0, "input_tokens": 2006}
ANTHROPIC = {"input_tokens": 21, "cache_read_tokens": 4096, "cache_write_tokens": 188_086, "output_tokens": 393}
UNKNOWN = "usage: the span reports none"


def usage(call: ForeignCall | None) -> Any:
    assert call is not None
    return call.fields.get("usage", call.fault)


def calls(name: str) -> list[ForeignCall]:
    return [call for call in map(read_call, recorded(name)) if call is not None]


@pytest.mark.parametrize(
    ("instrument", "first"),
    [("openai_v2", WITHOUT_DETAILS), ("openinference", OPENAI), ("openllmetry", OPENAI), ("litellm", OPENAI)],
)
def test_each_instrument_tells_provider_model_response_and_usage(instrument: str, first: dict[str, int]) -> None:
    call = calls(instrument)[0]
    assert usage(call) == NO_USAGE | first
    assert (call.fields["provider"], call.fields["model"]) == ("openai", "gpt-5-2025-08-07")
    assert call.id.startswith("chatcmpl-")


@pytest.mark.parametrize("instrument", ["openai_v2", "openinference", "openllmetry"])
def test_each_instrument_tells_what_kind_of_call_it_was(instrument: str) -> None:
    kinds = [call.fields["kind"] for call in calls(instrument)]
    assert (kinds.count("tool"), kinds.count("embedding")) == (1, 1)


@pytest.mark.parametrize("instrument", ["openai_v2", "openinference", "openllmetry"])
def test_of_a_stream_without_usage_and_a_timeout_it_is_not_known_what_they_used(instrument: str) -> None:
    stream, timeout = [call.fault for call in calls(instrument) if call.fault]
    assert stream == UNKNOWN
    assert "Timeout" in timeout


@pytest.mark.parametrize("instrument", ["openai_v2", "openinference", "openllmetry"])
def test_what_the_provider_refused_used_nothing(instrument: str) -> None:
    failed = [call for call in calls(instrument) if call.fields.get("status") == "error" and not call.fault]
    assert [(usage(call), call.fields["model"]) for call in failed] == [(NO_USAGE, "gpt-5")] * 2


@pytest.mark.parametrize("instrument", ["openai_v2", "openinference", "openllmetry"])
def test_both_instruments_of_anthropics_api_agree(instrument: str) -> None:
    told = [usage(call) for call in calls(instrument) if call.fields["provider"] == "anthropic"]
    assert set(map(str, told)) == {str(NO_USAGE | ANTHROPIC)}


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "execute_tool"},
        {"traceloop.span.kind": "workflow"},
        {"openinference.span.kind": "AGENT"},
        {"openinference.span.kind": "CHAIN"},
        {"gen_ai.operation.name": "", "gen_ai.agent.name": "shop-bot"},
    ],
)
def test_agents_workflows_and_tools_are_no_calls(attributes: dict[str, str]) -> None:
    assert read_call(span(attributes=CHAT | attributes)) is None


def test_an_older_instrument_that_names_no_operation_is_known_by_what_it_tells() -> None:
    told = {
        "gen_ai.system": "OpenAI",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 30,
    }
    call = read_call(span(attributes=told))
    assert call is not None
    assert (usage(call), call.fields["provider"]) == (NO_USAGE | {"input_tokens": 100, "output_tokens": 30}, "openai")


def test_input_that_leaves_the_cache_out_is_told_by_the_total() -> None:
    cached = {"gen_ai.usage.cache_read_input_tokens": 60, "gen_ai.usage.cache_creation_input_tokens": 20}
    beside = read_call(chat(more=cached | {"gen_ai.usage.total_tokens": 210}))
    within = read_call(chat(more=cached | {"gen_ai.usage.total_tokens": 130}))
    assert [usage(call)["input_tokens"] for call in (beside, within)] == [100, 20]


def test_input_smaller_than_its_cache_leaves_it_out() -> None:
    call = read_call(chat(more={"gen_ai.usage.cache_read.input_tokens": 5_000}))
    assert usage(call) == NO_USAGE | {"input_tokens": 100, "cache_read_tokens": 5_000, "output_tokens": 30}


@pytest.mark.parametrize("output", [None, ""])
def test_an_answer_without_its_output_counted_is_not_known(output: object) -> None:
    assert usage(read_call(chat(more={"gen_ai.usage.output_tokens": output}))) == UNKNOWN


def test_zeros_of_an_answered_call_are_not_known_either() -> None:
    assert usage(read_call(chat(more={"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}))) == UNKNOWN


@pytest.mark.parametrize(
    ("attribute", "fault"),
    [
        ({"gen_ai.usage.input_tokens": "many"}, "gen_ai.usage.input_tokens: is not a number of tokens"),
        ({"gen_ai.usage.input_tokens": -1}, "usage/prompt_tokens: is not an integer from 0 to 1000000000"),
        ({"gen_ai.response.id": "x" * 513}, "gen_ai.response.id: longer than 512 characters"),
        ({"session.id": "a\0b"}, "session.id: holds characters that cannot be stored"),
        ({"user.id": ["acme"]}, "user.id: is not a text"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(attribute: dict[str, Any], fault: str) -> None:
    call = read_call(chat(more=attribute))
    assert call is not None
    assert call.fault == fault


def test_what_was_said_is_kept_of_no_span() -> None:
    spans: list[Span] = [*recorded("openinference"), *recorded("openllmetry"), *recorded("litellm")]
    kept = [str(call.sent) for call in map(read_call, spans) if call is not None]
    assert not [text for text in kept if "Hello" in text or "force_" in text]


def test_the_conversation_nearest_to_the_convention_wins() -> None:
    call = read_call(chat(more={"session.id": "session", "gen_ai.conversation.id": "conversation"}))
    assert call is not None
    assert call.fields["conversation"] == "conversation"


def test_an_agent_with_usage_of_its_own_is_still_none() -> None:
    assert read_call(agent(conversation="chat")) is None
