"""Stand-ins for the packages `openai` and `anthropic`, as far as the client's README uses them.

Their answers have the shapes of the APIs, as objects, each with an id of its own. The real packages are not installed
for the tests; what is read off their objects is what is read off these.
"""

import uuid
from collections.abc import AsyncIterator, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.clients.shapes import CHAT, CHAT_CHUNKS, MESSAGE, RESPONSE, RESPONSE_EVENTS, as_object


def packages() -> dict[str, ModuleType]:
    """The modules by name, to be put where imports find them."""
    openai, anthropic = ModuleType("openai"), ModuleType("anthropic")
    openai.__dict__.update(OpenAI=_openai, AsyncOpenAI=_async_openai)
    anthropic.__dict__.update(Anthropic=_anthropic)
    return {"openai": openai, "anthropic": anthropic}


def _openai(**settings: Any) -> Any:
    def chat(*, stream: bool = False, model: str, **arguments: Any) -> Any:
        return _anew(CHAT_CHUNKS, CHAT["id"]) if stream else _anew({**CHAT, "model": model}, CHAT["id"])

    def respond(**arguments: Any) -> Any:
        return _anew(RESPONSE, RESPONSE["id"])

    completions = SimpleNamespace(create=chat)
    return SimpleNamespace(
        chat=SimpleNamespace(completions=completions), responses=SimpleNamespace(create=respond), **settings
    )


def _async_openai(**settings: Any) -> Any:
    async def respond(**arguments: Any) -> AsyncIterator[Any]:
        async def events() -> AsyncIterator[Any]:
            for event in _anew(RESPONSE_EVENTS, RESPONSE["id"]):
                yield event

        return events()

    return SimpleNamespace(responses=SimpleNamespace(create=respond))


def _anthropic(**settings: Any) -> Any:
    def create(**arguments: Any) -> Any:
        return _anew(MESSAGE, MESSAGE["id"])

    return SimpleNamespace(messages=SimpleNamespace(create=create, stream=lambda **arguments: _MessageStreamManager()))


class _MessageStreamManager:
    """What `messages.stream()` gives: something to enter."""

    def __enter__(self) -> Any:
        message = _anew(MESSAGE, MESSAGE["id"])
        texts: Iterator[str] = iter(["Hel", "lo"])
        return SimpleNamespace(text_stream=texts, current_message_snapshot=message)

    def __exit__(self, *exc: object) -> None:
        pass


def _anew(shape: Any, known_id: Any) -> Any:
    """The shape as an object, with a new id in place of the known one."""
    new_id = f"{known_id[:5]}{uuid.uuid4().hex}"

    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: renamed(value) for name, value in part.items()}
        return [renamed(value) for value in part] if isinstance(part, list) else new_id if part == known_id else part

    return as_object(renamed(shape))
