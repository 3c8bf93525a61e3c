"""What does a span tell of a model call? Four dialects of attributes, one call. Pure.

OpenTelemetry's GenAI conventions (openai-v2 and others, new names and old), OpenInference, OpenLLMetry, and LiteLLM's
own spans. Only inference is a call: agents, workflows, tools and retrievers repeat the usage of the calls below them.
"""

import datetime as dt
from functools import partial
from typing import Any

import msgspec

from metering.doors.foreign_calls import (
    ASKING_FOR_TOOLS,
    EPOCH,
    NO_USAGE,
    CannotBill,
    ForeignCall,
    first_text,
    read_safely,
    text,
    without_content,
)
from metering.doors.otlp_reading import Attributes, Span
from metering.doors.span_usage import COUNTS, INPUT, OUTPUT, first_of, usage_of, usage_of_failure

CONVERSATIONS = (
    "gen_ai.conversation.id",
    "session.id",
    *(f"traceloop.association.properties.{name}" for name in ("conversation_id", "session_id", "thread_id", "chat_id")),
    "langfuse.session.id",
    *(f"ai.telemetry.metadata.{name}" for name in ("conversationId", "sessionId")),
)
CUSTOMERS = (
    "customer.id",
    "enduser.id",
    "user.id",
    *(f"traceloop.association.properties.{name}" for name in ("customer_id", "user_id")),
    "langfuse.user.id",
    "ai.telemetry.metadata.userId",
    *(f"metadata.{name}" for name in ("user_api_key_end_user_id", "user_api_key_user_id")),  # LiteLLM
)
RESPONSE_ID = "gen_ai.response.id"
PROVIDERS = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
MODELS = (
    *("gen_ai.response.model", "llm.response.model_name", "gen_ai.request.model"),
    *("llm.model_name", "embedding.model_name", "llm.request.model_name"),
)
PARAMETERS = ("llm.invocation_parameters", "embedding.invocation_parameters")

COMPLETIONS = frozenset(
    {"chat", "text_completion", "generate_content", "completion", "responses", "anthropic_messages", "message"}
)
EMBEDDINGS = frozenset({"embeddings", "embedding"})
KEPT = (
    *CONVERSATIONS,
    *CUSTOMERS,
    *PROVIDERS,
    *MODELS,
    *COUNTS,
    *(RESPONSE_ID, "gen_ai.operation.name", "openinference.span.kind", "llm.request.type", "error.type"),
)
"""The attributes kept of a span that cannot be used. Never what was said."""


class _Output(msgspec.Struct):
    """The part of a response's JSON that OpenInference's output.value is read for."""

    id: str | None = None


def kind_of_call(attributes: Attributes) -> str | None:
    """completion or embedding where the span is inference, else None."""
    open_inference = attributes.get("openinference.span.kind")
    if open_inference is not None:
        return {"LLM": "completion", "EMBEDDING": "embedding"}.get(str(open_inference).upper())
    if attributes.get("traceloop.span.kind"):
        return None  # a workflow, task, agent or tool
    operation = attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type")
    if operation is None:
        return "completion" if _looks_like_inference(attributes) else None
    # LiteLLM names the function that was called: acompletion, aembedding.
    names = {str(operation).lower(), str(operation).lower().removeprefix("a")}
    if names & EMBEDDINGS:
        return "embedding"
    return "completion" if names & COMPLETIONS else None


def _looks_like_inference(attributes: Attributes) -> bool:
    """Older instruments do not name the operation; agents that repeat usage at least name themselves."""
    return (
        first_of(attributes, PROVIDERS) is not None
        and first_of(attributes, MODELS) is not None
        and first_of(attributes, (*INPUT, *OUTPUT)) is not None
        and not any(name in attributes for name in ("gen_ai.agent.name", "gen_ai.agent.id", "agent_name"))
    )


def conversation_of(span: Span) -> str | None:
    """The conversation that the span itself names. Raises CannotBill for one that cannot be stored."""
    return first_text(span.attributes, CONVERSATIONS)


def customer_of(span: Span) -> str | None:
    """The customer that the span itself names. Raises CannotBill for one that cannot be stored."""
    return first_text(span.attributes, CUSTOMERS)


def read_call(span: Span) -> ForeignCall | None:
    """The call that a span tells of, or None where it is no inference.

    Its `id` is the response's, and missing where the span has none; so are conversation and customer.
    """
    kind = kind_of_call(span.attributes)
    if kind is None:
        return None
    return read_safely(span, partial(_read, kind), _without_content)


def _read(kind: str, span: Span, fields: dict[str, Any]) -> None:
    attributes = span.attributes
    fields["occurred_at"] = EPOCH + dt.timedelta(microseconds=span.started_nanos // 1000)
    fields["kind"] = "tool" if kind == "completion" and _asks_for_tools(attributes) else kind
    for name, value in (
        ("id", text(attributes.get(RESPONSE_ID), RESPONSE_ID) or _id_in_output(attributes)),
        ("conversation", conversation_of(span)),
        ("customer", customer_of(span)),
        ("provider", first_text(attributes, PROVIDERS)),
        ("model", first_text(attributes, MODELS) or _requested_model(attributes)),
    ):
        if value is not None:
            fields[name] = value.lower() if name == "provider" else value
    if failed := span.failed or bool(attributes.get("error.type")):
        fields["status"] = "error"
    usage = usage_of(attributes, kind, fields.get("provider", ""))
    if failed and usage in (None, NO_USAGE):
        usage = usage_of_failure(span)
    elif usage in (None, NO_USAGE):  # an answered call used at least its input
        raise CannotBill("usage: the span reports none")
    fields["usage"] = usage


def _id_in_output(attributes: Attributes) -> str | None:
    """OpenInference has no attribute for the response's id; it is in the response, which is a span's output."""
    output = attributes.get("output.value")
    if not isinstance(output, str) or not output.startswith("{"):
        return None
    try:
        return text(msgspec.json.decode(output, type=_Output).id, "output.value/id")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # cut off, or no response


def _requested_model(attributes: Attributes) -> str | None:
    """OpenInference does not name the model of a call that failed, but what it was called with does."""
    for name in PARAMETERS:
        try:
            asked = msgspec.json.decode(str(attributes.get(name, "null")))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(asked, dict) and (model := text(asked.get("model"), name)):
            return model
    return None


def _asks_for_tools(attributes: Attributes) -> bool:
    if "llm.output_messages.0.message.tool_calls.0.tool_call.function.name" in attributes:
        return True
    reasons = attributes.get("gen_ai.response.finish_reasons", attributes.get("llm.finish_reason"))
    if isinstance(reasons, str) and reasons.startswith("["):
        reasons = reasons.strip('[]"').replace('"', "").replace(" ", "").split(",")  # LiteLLM writes the list as text
    return not ASKING_FOR_TOOLS.isdisjoint(map(str, reasons if isinstance(reasons, list) else [reasons]))


def _without_content(span: Span) -> dict[str, Any]:
    kept: dict[str, Any] = without_content(
        {
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "scope": span.scope,
            "name": span.name,
            "attributes": {name: span.attributes[name] for name in KEPT if name in span.attributes},
            "exception": span.exception,
        }
    )
    return kept
