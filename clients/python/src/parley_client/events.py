"""How is a call written down? As an event of Parley's REST contract, on one line of JSON.

Only what is named here is written: ids, names, the time and the provider's usage. What was said in a conversation has
no way in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple, Optional, TypedDict, Union

from parley_client.problems import UnreadableResponse
from parley_client.responses import Call, as_dict
from parley_client.uuid7 import uuid7

Name = Union[str, int]
"""A customer or a conversation as the product knows it; numbers are sent as text."""

# ASCII and no line breaks, so that any text stays one line; NaN would be no JSON. Usage may have objects within.
_encode = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=lambda thing: as_dict(thing) or str(thing)
).encode


class CommonDetails(TypedDict, total=False):
    """What may be said once for all calls of a conversation; `provider` and `model` replace what a response says."""

    provider: str
    model: str
    byok: bool
    feature: str


class Details(CommonDetails, total=False):
    """What a response does not say, or what is said in its place: `id`, `kind` and `provider_usage`.

    `usage` has Parley's own buckets: input_tokens, cache_read_tokens, cache_write_tokens, output_tokens and, as a part
    of the output, reasoning_tokens.
    """

    id: str
    usage: Mapping[str, int]
    provider_usage: Mapping[str, Any]
    occurred_at: datetime
    turn: int
    kind: str
    attempt: int
    status: str
    outcome: str


class Record(NamedTuple):
    """What is kept until it is sent: a line of JSON, and the id of the event in it."""

    id: str
    line: bytes


_COPIED = ("turn", "kind", "attempt", "status", "outcome", "byok", "feature")


def event_record(
    call: Optional[Call], details: Details, *, customer: Name, conversation: Name, now: datetime
) -> Record:
    """An event. Raises UnreadableResponse where the call or the details lack something."""
    provider = details.get("provider") or (call.provider if call else None)
    model = details.get("model") or (call.model if call else None)
    if not provider or not model:
        missing = "provider" if model else "model"
        raise UnreadableResponse(f"the response does not tell its {missing}: say {missing}=...")
    event_id = details.get("id") or (call.id if call else None) or uuid7()
    event: dict[str, Any] = {
        "id": event_id,
        "customer": _name(customer, "customer"),
        "conversation": _name(conversation, "conversation"),
        "occurred_at": _instant(details.get("occurred_at") or now),
        "provider": provider,
        "model": model,
        **_usage(call, details),
    }
    if call is not None and call.kind != "completion":
        event["kind"] = call.kind
    for name in _COPIED:
        value = details.get(name)
        if value is not None:
            event[name] = value
    return Record(event_id, _line(event))


def close_record(*, customer: Name, conversation: Name, at: datetime, outcome: Optional[str]) -> Record:
    """A close; it has no id of its own, being the same wherever customer, conversation and instant are."""
    close = {
        "customer": _name(customer, "customer"),
        "conversation": _name(conversation, "conversation"),
        "at": _instant(at),
    }
    return Record("", _line({"close": close if outcome is None else {**close, "outcome": outcome}}))


def _usage(call: Optional[Call], details: Details) -> dict[str, Mapping[str, Any]]:
    if "usage" in details:
        return {"usage": details["usage"]}
    usage = details.get("provider_usage") or (call.usage if call else None)
    if not usage:
        raise UnreadableResponse("there is no response and no usage: say usage=... or provider_usage=...")
    return {"provider_usage": usage}


def _name(value: Name, what: str) -> str:
    text = "" if value is None else str(value)
    if not text:
        raise UnreadableResponse(f"the {what} is missing")
    return text


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise UnreadableResponse(f"{at.isoformat()} has no time zone")
    return (at if at.tzinfo is timezone.utc else at.astimezone(timezone.utc)).isoformat()


def _line(content: Mapping[str, Any]) -> bytes:
    try:
        return _encode(content).encode()
    except (TypeError, ValueError) as error:
        raise UnreadableResponse(f"it is no JSON: {error}") from error
