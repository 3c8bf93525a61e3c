"""What does a provider's response say of the call: its id, provider, model and usage?

Read by shape, from the objects of the SDKs or from plain dicts. The usage is passed on as the provider sent it: Parley
knows what each provider's numbers include. Nothing else of a response is touched, so no content can leave.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, Optional

from parley_client.problems import UnreadableResponse

LONGEST_ID = 512
SHORTEST_ID = 16
"""Below this an id is no identity: Ollama answers `chatcmpl-` and a number under 1,000."""

USAGES = ("usage", "usageMetadata", "usage_metadata")
WRAPPERS = ("response", "message", "chunk")
"""Where events of streams have it: response.completed of OpenAI, message_start of Anthropic, OpenAI's chat helper."""
_IDS = ("id", "responseId", "response_id")
_MODELS = ("model", "modelVersion", "model_version")
# SDKs of their own, whose answers look like those of others.
_PROVIDER_BY_PACKAGE = {"anthropic": "anthropic", "cohere": "cohere", "groq": "groq", "mistralai": "mistral"}
_OPENAI_OBJECTS = frozenset({"chat.completion", "chat.completion.chunk", "text_completion", "response", "list"})


class Call(NamedTuple):
    """What a response says; None where it says nothing."""

    id: Optional[str]
    provider: Optional[str]
    model: Optional[str]
    usage: dict[str, Any]
    kind: str = "completion"


def read(response: Any) -> Call:
    """The call behind a response, or behind the chunk of a stream that carries usage. Raises UnreadableResponse."""
    name, found = _first(response, USAGES)
    if found is None:
        inner = _first(response, WRAPPERS)[1]
        if inner is None or isinstance(inner, str):
            raise UnreadableResponse(
                f"no usage in a response of type {type(response).__name__}; a stream of OpenAI's chat completions "
                "carries it only with stream_options={'include_usage': True}"
            )
        return read(inner)
    usage = as_dict(found)
    if not usage:
        raise UnreadableResponse(f"the usage in a response of type {type(response).__name__} is empty or no object")
    model = _first(response, _MODELS)[1]
    return Call(
        identity(_id_of(response)),
        _provider_of(response, name, usage),
        model if isinstance(model, str) else None,
        usage,
        _kind_of(response, usage),
    )


def field(thing: Any, name: str) -> Any:
    """A field of an SDK's object or of a dict; None where there is none."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def as_dict(thing: Any) -> dict[str, Any]:
    """A usage object as JSON would have it, with the names and only the fields that the provider sent; {} if none."""
    if isinstance(thing, dict):
        return dict(thing)
    if hasattr(thing, "model_dump"):  # pydantic: the SDKs of OpenAI, Anthropic, Google, Mistral, Groq
        dumped: Any = thing.model_dump(mode="json", by_alias=True, exclude_unset=True)
    elif hasattr(thing, "to_dict"):
        dumped = thing.to_dict()
    else:
        dumped = getattr(thing, "__dict__", {})
    return {name: value for name, value in dumped.items() if value is not None} if isinstance(dumped, dict) else {}


def identity(said: Optional[str]) -> Optional[str]:
    """The provider's id as the id of the event; None if it does not tell calls apart."""
    if said is None or len(said) < SHORTEST_ID:
        return None
    return said if len(said) <= LONGEST_ID else hashlib.sha256(said.encode(errors="replace")).hexdigest()


def _id_of(response: Any) -> Optional[str]:
    said = _first(response, _IDS)[1]
    if said is None and isinstance(metadata := field(response, "ResponseMetadata"), dict):
        said = metadata.get("RequestId")  # Bedrock
    return said if isinstance(said, str) else None


def _provider_of(response: Any, usage_name: str, usage: dict[str, Any]) -> Optional[str]:
    """A guess that is right for the provider's own API; who serves another's shape must be named by the caller."""
    if usage_name != "usage":
        return "google"
    if known := _PROVIDER_BY_PACKAGE.get(type(response).__module__.partition(".")[0]):
        return known
    if field(response, "type") == "message":
        return "anthropic"
    if "prompt_cache_hit_tokens" in usage:
        return "deepseek"
    if "inputTokens" in usage:
        return "aws"
    return "openai" if field(response, "object") in _OPENAI_OBJECTS else None


def _kind_of(response: Any, usage: dict[str, Any]) -> str:
    """Embeddings are lists without any output."""
    return "embedding" if field(response, "object") == "list" and "completion_tokens" not in usage else "completion"


def _first(thing: Any, names: tuple[str, ...]) -> tuple[str, Any]:
    """The first of these fields that is there, with its name."""
    for name in names:
        value = field(thing, name)
        if value is not None:
            return name, value
    return "", None
