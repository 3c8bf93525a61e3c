"""What is a call as another product tells of it? Our own event, as far as it can be read, and why no further.

A translator fills the fields of `reports.EventIn` one by one. What it cannot use it says as a fault, and what it had
read by then goes into quarantine with it. Fields that a payload leaves empty count as absent. Pure, but that a
translator which breaks is logged.
"""

import datetime as dt
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from msgspec import Struct, field

from metering.usage_normalising import UnreadableUsage, Usage, normalise

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

UNFORESEEN = "the item could not be read, for a reason that the log tells"
MAX_REFERENCE = 512
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
CONTENT = frozenset(
    {
        "arguments",
        "body",
        "choices",
        "completion",
        "content",
        "input",
        "instructions",
        "message",
        "messages",
        "output",
        "parts",
        "prompt",
        "query",
        "response",
        "text",
        "tools",
    }
)
"""Names under which products send what was said, in lower case."""
LONGEST_KEPT = 200
DEEPEST_KEPT = 8
ASKING_FOR_TOOLS = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
"""Why a completion ended that is not an answer yet: it makes no turn."""


class CannotBill(Exception):
    """A call that makes no event as it is told; the message says why."""


class ForeignCall(Struct):
    """`fields` are those of EventIn that the payload states; `fault` says why they make no event, "" if they do.

    `sent` is the piece as it came, without what was said in it; it is kept where the call cannot be used.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    sent: Any = None

    @property
    def id(self) -> str:
        """The event id, or "" where none could be read."""
        return str(self.fields.get("id", ""))


def call_of(
    item: object,
    read: Callable[[Mapping[str, Any], dict[str, Any]], None],
    keep: Callable[[Mapping[str, Any]], Any] | None = None,
) -> ForeignCall:
    """`read_safely` for an item of JSON, of which all that was not said is kept, unless `keep` chooses."""
    if not isinstance(item, Mapping):
        return ForeignCall(fault="the item is not an object", sent=type(item).__name__)
    return read_safely(item, read, keep or without_content)


def read_safely(item: Item, read: Callable[[Item, dict[str, Any]], None], keep: Callable[[Item], Any]) -> ForeignCall:
    """The call that `read` finds in an item by filling in its fields; what it cannot use is the call's fault.

    So is what nobody foresaw: whoever sends these payloads gives up all of one that is refused.
    """
    call = ForeignCall()
    try:
        call.sent = keep(item)
        read(item, call.fields)
    except CannotBill as cannot:
        call.fault = str(cannot)
    except Exception:
        logger.exception("an item that a front door cannot read")
        call.fault = UNFORESEEN
    return call


def text(value: object, name: str) -> str | None:
    """A name or id; None where it is absent or empty. Raises CannotBill for what is no text or cannot be stored."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise CannotBill(f"{name}: is not a text")
    if len(value) > MAX_REFERENCE:
        raise CannotBill(f"{name}: longer than {MAX_REFERENCE} characters")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise CannotBill(f"{name}: holds characters that cannot be stored")
    return value


def first_text(values: Mapping[str, object], names: Iterable[str]) -> str | None:
    """The first of these names that states a text."""
    for name in names:
        found = text(values.get(name), name)
        if found is not None:
            return found
    return None


def instant(value: object, name: str) -> dt.datetime:
    """Seconds since 1970, or RFC 3339 with an offset. Raises CannotBill."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return EPOCH + dt.timedelta(seconds=value)
        if isinstance(value, str):
            at = dt.datetime.fromisoformat(value)
            if at.tzinfo is not None:
                return at.astimezone(dt.UTC)
    except (OverflowError, ValueError):
        pass
    raise CannotBill(f"{name}: is not an instant with an offset")


def count(value: object, name: str) -> int | None:
    """A number of tokens, which some send as text or as 12.0; None where it is absent. Raises CannotBill."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise CannotBill(f"{name}: is not a number of tokens")
    return value


def usage_fields(provider: str, body: object) -> dict[str, int]:
    """A provider's usage body in our buckets, as the usage of EventIn. Raises CannotBill."""
    if not isinstance(body, dict):
        raise CannotBill("usage: the call reports none")
    try:
        return as_fields(normalise(provider, body))
    except UnreadableUsage as unreadable:
        raise CannotBill(f"usage{unreadable.pointer}: {unreadable.detail}") from unreadable


def as_fields(usage: Usage) -> dict[str, int]:
    """Our buckets under the names of UsageIn."""
    return usage._asdict()


NO_USAGE = as_fields(Usage(0, 0, 0, 0, 0))
"""Of a call that reached no model: refused by the provider, or answered from a cache."""


def without_content(value: object, levels: int = DEEPEST_KEPT) -> Any:
    """A copy to keep: without what names itself as something said, without long texts, not deep."""
    if isinstance(value, Mapping):
        if levels == 0:
            return {}
        return {
            storable(str(name)): without_content(part, levels - 1)
            for name, part in value.items()
            if str(name).lower() not in CONTENT
        }
    if isinstance(value, list):
        return [] if levels == 0 else [without_content(part, levels - 1) for part in value[:100]]
    if isinstance(value, str):
        return storable(value) if len(value) <= LONGEST_KEPT else f"({len(value)} characters left out)"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def storable(value: str) -> str:
    """A text without the characters that no database holds."""
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()
