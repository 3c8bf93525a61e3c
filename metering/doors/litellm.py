"""What does an item of LiteLLM's generic_api callback (its StandardLoggingPayload) tell? Pure.

The conversation is `trace_id` (`session_id` where that is empty), the event id the response's id. Usage is read from
the provider's usage object in the response; costs that LiteLLM works out are not looked at.
"""

from collections.abc import Mapping
from typing import Any

from metering.doors.foreign_calls import (
    ASKING_FOR_TOOLS,
    NO_USAGE,
    CannotBill,
    ForeignCall,
    call_of,
    first_text,
    instant,
    storable,
    text,
    usage_fields,
    without_content,
)
from metering.doors.refusals import was_refused

CUSTOMERS = ("user_api_key_end_user_id", "user_api_key_user_id")
COMPLETIONS = frozenset(
    {"completion", "text_completion", "responses", "anthropic_messages", "generate_content", "generate_content_stream"}
)
KEPT = (
    *("id", "litellm_call_id", "trace_id", "session_id", "call_type", "cache_hit", "stream", "status", "model"),
    *("custom_llm_provider", "startTime", "endTime", "end_user", "total_tokens", "prompt_tokens", "completion_tokens"),
)
"""What is kept of an item that cannot be used, beside its error and its usage. Never what was said."""


def read_call(item: object) -> ForeignCall:
    """One item of the payload as a call."""
    return call_of(item, _read, keep=_without_content)


def _read(item: Mapping[str, Any], fields: dict[str, Any]) -> None:
    fields |= _named(
        id=first_text(item, ("id", "litellm_call_id")),
        conversation=first_text(item, ("trace_id", "session_id")),
        customer=_customer(item),
        provider=text(item.get("custom_llm_provider"), "custom_llm_provider"),
        model=text(item.get("model"), "model"),
    )
    fields["occurred_at"] = instant(item.get("startTime"), "startTime")
    fields["kind"] = _kind(item)
    if item.get("cache_hit") is True:
        # No model was called: nothing was used, and an answer from the cache is no turn of a model.
        fields |= {"kind": "other", "usage": NO_USAGE}
    elif item.get("status") == "failure":
        fields |= {"status": "error", "usage": _usage_of_failure(item, fields.get("provider", ""))}
    else:
        fields["usage"] = _usage_of_success(item, fields.get("provider", ""))


def _named(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _customer(item: Mapping[str, Any]) -> str | None:
    return text(item.get("end_user"), "end_user") or first_text(_part(item, "metadata"), CUSTOMERS)


def _kind(item: Mapping[str, Any]) -> str:
    call_type = item.get("call_type")
    called = call_type if isinstance(call_type, str) else "completion"
    if "embedding" in called:
        return "embedding"
    if not {called, called.removeprefix("a")} & COMPLETIONS:
        return "other"
    return "tool" if _asks_for_tools(_part(item, "response")) else "completion"


def _asks_for_tools(response: Mapping[str, Any]) -> bool:
    """Whether the response, of whichever provider's shape, hands over to a tool."""
    choices = [choice.get("finish_reason") for choice in _parts(response, "choices")]
    made = [part.get("type") for part in (*_parts(response, "output"), *_parts(response, "content"))]
    return any(isinstance(why, str) and why in ASKING_FOR_TOOLS for why in (*choices, *made))


def _usage(item: Mapping[str, Any]) -> Any:
    """The provider's usage object: of the response, or as LiteLLM keeps it where responses are not to be logged."""
    return _part(item, "response").get("usage") or _part(item, "metadata").get("usage_object")


def _usage_of_success(item: Mapping[str, Any], provider: str) -> dict[str, int]:
    usage = usage_fields(provider, _usage(item))
    if usage == NO_USAGE:
        # A stream that ended without usage is reported with zeros; an answered call used at least its input.
        raise CannotBill("usage: the call reports none")
    return usage


def _usage_of_failure(item: Mapping[str, Any], provider: str) -> dict[str, int]:
    reported = _usage(item)
    if reported and (usage := usage_fields(provider, reported)) != NO_USAGE:
        return usage
    error = _part(item, "error_information")
    name, code = str(error.get("error_class") or ""), str(error.get("error_code") or "")
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else None
    if not was_refused(name, status=status):
        raise CannotBill(
            f"usage: the call failed ({storable(name[:80]) or 'no reason given'}); what it used is not known"
        )
    return NO_USAGE


def _part(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = item.get(name)
    return part if isinstance(part, Mapping) else {}


def _parts(item: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    parts = item.get(name)
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _without_content(item: Mapping[str, Any]) -> Any:
    error = _part(item, "error_information")
    kept = {name: item[name] for name in KEPT if name in item}
    kept["metadata"] = {name: value for name, value in _part(item, "metadata").items() if name in CUSTOMERS}
    kept["error"] = {name: error.get(name) for name in ("error_class", "error_code")}
    kept["usage"] = _usage(item)
    return without_content(kept)
