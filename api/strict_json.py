"""How is JSON from outside read? Strictly: what is ambiguous or of another type is refused, with a place.

`decode_tree` refuses what no type is needed for: malformed text, byte order marks, invalid UTF-8, lone surrogates,
NaN and Infinity, NUL characters, repeated keys, more than 20 levels, more than `max_keys` keys in an object.
`convert` checks a tree against a type: missing and unknown fields, "1", 1.0 or true for an integer, times without an
offset. `decode` does both. All raise `BadJson`, whose faults carry a JSON pointer (RFC 6901); "" is the whole text.

A type must itself be strict, which is checked once, when it is first used (`LaxContract`): structs derive from `Body`,
times are `Instant`, and decimals are strings (`Price`, `Amount`), for msgspec would accept a JSON number, which has
been a float in most clients, for a Decimal field.
"""

import functools
import json
import re
from collections.abc import Callable, Hashable, Iterator
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from api.json_faults import BadJson, Fault, locate, to_pointer, walk

T = TypeVar("T")

__all__ = ["Amount", "BadJson", "Body", "Fault", "Instant", "LaxContract", "Price", "convert", "decode", "decode_tree"]

MAX_DEPTH = 20
MAX_KEYS = 64
YEARS = range(1900, 9000)
"""So that no time zone or grace takes an instant beyond what a calendar can hold."""

# `$` also matches before a final line break in Python; the look-ahead closes that gap (and is harmless in ECMAScript).
Price = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$(?!\n)", description="decimal, at most 12 places")]
Amount = Annotated[str, Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$(?!\n)", description="decimal major units")]
Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What requests are made of: derive bodies, their parts and query filters from this."""


class LaxContract(TypeError):
    """A type offered to `convert` would let through what strict JSON refuses; a mistake of ours, not the sender's."""


def decode(body: bytes, into: type[T]) -> T:
    """`body` as an instance of `into`; raises BadJson."""
    return convert(decode_tree(body), into)


def decode_tree(body: bytes, *, max_keys: int = MAX_KEYS) -> Any:
    """`body` as dicts, lists, strings, ints, floats, bools and None; raises BadJson."""
    try:
        tree = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJson([Fault("", _why_unreadable(body, error))]) from error
    quotes = _count_quotes(tree, max_keys)
    # A text without a backslash holds two quotes per string and none else; a repeated key drops strings from the tree
    # and so leaves quotes over. Other texts are read a second time, slowly, by a parser that shows every pair.
    if b"\\" in body or quotes != body.count(b'"'):
        _refuse_repeated_keys(body)
        if b"\\u0000" in body:
            _refuse_at(tree, _holds_nul, "contains a NUL character")
    return tree


def convert(tree: object, into: type[T]) -> T:
    """`tree` (from `decode_tree`) as an instance of `into`; raises BadJson, or LaxContract for an unsafe type."""
    _require_strict(into)  # type: ignore[arg-type]
    try:
        found = msgspec.convert(tree, into)
    except msgspec.ValidationError as error:
        raise BadJson([locate(str(error), tree, into)]) from error
    for name, encoded in _instants_of(into):  # type: ignore[arg-type]
        instant = getattr(found, name)
        if isinstance(instant, datetime) and instant.year not in YEARS:
            raise BadJson([Fault(to_pointer((encoded,)), f"lies out of reach: years {YEARS[0]} to {YEARS[-1]}")])
    return found


_decoder = msgspec.json.Decoder()


# --- the tree ---------------------------------------------------------------------------------------------------


def _count_quotes(tree: object, max_keys: int) -> int:
    """The quotes a text of this tree holds: two per key and string. Refuses too deep and too wide trees on the way.

    One loop over all values of all levels, written out because it is run for every event.
    """
    strings = int(type(tree) is str)
    level: list[Any] = [tree] if type(tree) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if type(container) is dict:
                if len(container) > max_keys:
                    _refuse_at(tree, lambda value: _is_wide(value, max_keys), f"more than {max_keys} keys")
                strings += len(container)
                container = container.values()
            for value in container:
                kind = type(value)
                if kind is str:
                    strings += 1
                elif kind is dict or kind is list:
                    below.append(value)
        level = below
        if not level:
            return 2 * strings
    pointer = next(to_pointer(steps) for steps, value in walk(tree) if value is level[0])
    raise BadJson([Fault(pointer, f"nested more than {MAX_DEPTH} levels deep")])


def _is_wide(value: object, max_keys: int) -> bool:
    return isinstance(value, dict) and len(value) > max_keys


def _holds_nul(value: object) -> bool:
    return (isinstance(value, str) and "\0" in value) or (isinstance(value, dict) and any("\0" in key for key in value))


def _refuse_at(tree: object, is_bad: Callable[[object], bool], detail: str) -> None:
    faults = [Fault(to_pointer(steps), detail) for steps, value in walk(tree) if is_bad(value)]
    if faults:
        raise BadJson(faults[:20])


# --- the text ---------------------------------------------------------------------------------------------------


def _refuse_repeated_keys(body: bytes) -> None:
    """Reads `body` pair by pair; exact for every spelling of a key, since keys are compared after decoding."""
    repeated: list[tuple[dict[str, Any], str]] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            repeated.append((value, twice))
        return value

    try:
        tree = json.loads(body.decode(), object_pairs_hook=collect)
    except (ValueError, RecursionError) as error:
        raise BadJson([Fault("", "cannot be read: a number too long or a nesting too deep")]) from error
    if repeated:
        # A repeating object can itself have been dropped by a repetition further out, which is then the one to name.
        keys = {id(value): key for value, key in repeated}
        steps, value = next((steps, value) for steps, value in walk(tree) if id(value) in keys)
        raise BadJson([Fault(to_pointer((*steps, keys[id(value)])), "key given more than once")])


_LONE_SURROGATE = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F])")


def _why_unreadable(body: bytes, error: Exception) -> str:
    """One sentence with the byte offset where one is known; msgspec's own words otherwise."""
    if isinstance(error, UnicodeDecodeError):
        return f"not valid UTF-8 (byte {_offset_of_bad_utf8(body)})"
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    if body.startswith(b"\xef\xbb\xbf"):
        return "starts with a byte order mark (byte 0)"
    if "surrogate" in str(error) or "truncated" in str(error):
        surrogate = _LONE_SURROGATE.search(body)
        if surrogate:
            return f"a surrogate escape without its partner (byte {surrogate.start()})"
        return f"ends too early (byte {len(body)})"
    message, _, _ = str(error).partition(" - at ")
    return message


def _offset_of_bad_utf8(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


# --- types that are not strict ----------------------------------------------------------------------------------


@functools.cache
def _require_strict(into: Hashable) -> None:
    waiting, seen = [msgspec.inspect.type_info(into)], set[Any]()
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
        _refuse_lax(info)
        waiting += _parts(info)


@functools.cache
def _instants_of(into: Hashable) -> tuple[tuple[str, str], ...]:
    """The names of a struct's own instants, in Python and in JSON."""
    info = msgspec.inspect.type_info(into)
    if not isinstance(info, msgspec.inspect.StructType):
        return ()
    return tuple((field.name, field.encode_name) for field in info.fields if _is_instant(field.type))


def _is_instant(info: msgspec.inspect.Type) -> bool:
    if isinstance(info, msgspec.inspect.StructType):
        return False
    return isinstance(info, msgspec.inspect.DateTimeType) or any(_is_instant(part) for part in _parts(info))


def _refuse_lax(info: msgspec.inspect.Type) -> None:
    if isinstance(info, msgspec.inspect.StructType) and not info.forbid_unknown_fields:
        raise LaxContract(f"{info.cls.__qualname__} ignores unknown fields: derive it from strict_json.Body")
    if isinstance(info, msgspec.inspect.DecimalType):
        raise LaxContract("a Decimal field accepts JSON numbers: use strict_json.Price or strict_json.Amount")
    if isinstance(info, msgspec.inspect.DateTimeType) and info.tz is not True:
        raise LaxContract("a datetime field accepts times without an offset: use strict_json.Instant")


def _parts(info: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    if isinstance(info, msgspec.inspect.StructType):
        yield from (field.type for field in info.fields)
    for name in ("type", "item_type", "key_type", "value_type"):
        part = getattr(info, name, None)
        if isinstance(part, msgspec.inspect.Type):
            yield part
    for name in ("types", "item_types"):
        yield from getattr(info, name, ())
