"""Spans for the tests of the OTLP door: those recorded from real instruments, and small ones made by hand.

The recorded ones are what openai-v2, OpenInference, OpenLLMetry and LiteLLM sent of the same calls to a stand-in
provider under a span `invoke_agent`: an answer, a call for a tool, a stream with usage and one without, a response, an
embedding, a message of Anthropic's API, a refusal (429), a failure (500) and a timeout. Stack traces are taken out.
"""

from pathlib import Path
from typing import Any

from metering.doors.otlp_reading import PROTOBUF, Span, read_spans
from tests.metering.doors.captured import NOW

RECORDED = Path(__file__).parent / "recorded"
STARTED_NANOS = int(NOW.timestamp()) * 10**9 - 60 * 10**9
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 30,
}


def recorded(name: str) -> list[Span]:
    """The spans that an instrument sent."""
    return read_spans((RECORDED / f"{name}.pb").read_bytes(), PROTOBUF)


def span(span_id: str = "b", parent_id: str = "a", *, trace_id: str = "t1", **fields: Any) -> Span:
    """A span without attributes of a trace."""
    plain = {
        "scope": "tests",
        "name": span_id,
        "started_nanos": STARTED_NANOS,
        "attributes": {},
        "resource": {},
        "failed": False,
        "status_message": "",
        "exception": "",
    }
    return Span(trace_id=trace_id, span_id=span_id, parent_id=parent_id, **plain | fields)


def chat(
    span_id: str = "b", parent_id: str = "a", *, response: str = "", more: dict[str, Any] | None = None, **fields: Any
) -> Span:
    """An inference span of 130 tokens; `more` attributes win."""
    told = CHAT | ({"gen_ai.response.id": response} if response else {}) | (more or {})
    return span(span_id, parent_id, attributes=told, **fields)


def agent(span_id: str = "a", parent_id: str = "", *, trace_id: str = "t1", **named: str) -> Span:
    """A span that repeats its calls' usage and may name the conversation and the customer."""
    names = {"conversation": "gen_ai.conversation.id", "customer": "user.id"}
    repeated = CHAT | {"gen_ai.operation.name": "invoke_agent"} | {names[key]: value for key, value in named.items()}
    return span(span_id, parent_id, trace_id=trace_id, attributes=repeated)
