"""How is the JSON of another product read? Leniently: whatever can be read is; what cannot is told apart. Pure.

These clients give up a whole batch when it is refused, and they do send what strict JSON has no place for: halves of
characters in truncated texts, NaN, several texts one after another. So the strict reader of our own contract is not
for them.
"""

import hashlib
import json
from typing import Any

import msgspec

from metering.doors.foreign_calls import ForeignCall

_decode = msgspec.json.Decoder().decode


class UnreadablePayload(Exception):
    """Nothing in the body can be read as JSON."""


class UnreadableLine(msgspec.Struct, frozen=True):
    """A line that is no JSON; what it holds is unknown, so only its size and digest are kept."""

    line: int
    size: int
    sha256: str

    def as_call(self) -> ForeignCall:
        """The line as a call that cannot be billed."""
        return ForeignCall(fault=f"line {self.line}: is not JSON", sent=msgspec.to_builtins(self))


def read_json(body: bytes) -> Any:
    """One JSON text. Raises UnreadablePayload."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(body)  # takes lone surrogates and NaN
    except (ValueError, RecursionError) as error:
        raise UnreadablePayload("The body is not JSON.") from error


def read_items(body: bytes) -> list[Any]:
    """The items of a JSON array, of NDJSON, or the single object. Raises UnreadablePayload where there is none.

    A line that cannot be read is an UnreadableLine among the others.
    """
    try:
        tree = read_json(body)
    except UnreadablePayload:
        items = _read_lines(body)
        if all(isinstance(item, UnreadableLine) for item in items):
            raise
        return items
    return tree if isinstance(tree, list) else [tree]


def _read_lines(body: bytes) -> list[Any]:
    items: list[Any] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            items.append(read_json(line))
        except UnreadablePayload:
            items.append(UnreadableLine(number, len(line), hashlib.sha256(line).hexdigest()))
    return items
