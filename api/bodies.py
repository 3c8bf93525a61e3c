"""How is what a request carries read? Bodies within limits, unpacked; bodies and queries as strict structs.

`declared_length`, `inflate` and `require_json_type` know no framework, so that every door keeps the same limits.
"""

import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec
from rest_framework.request import Request

from api.json_faults import BadJson
from api.problems import bad_request, length_required, too_large, unsupported_media_type
from api.strict_json import convert, decode_tree

T = TypeVar("T")

BODY_LIMIT = 1024 * 1024
UNPACKED_LIMIT = 8 * 1024 * 1024
RATIO_LIMIT = 100
_PIECE = 2048
"""Bytes unpacked at a time. No more than 1,032 times as much comes of them, whatever they are."""
_QUERY_LIMIT = 64


def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, unpacked if it came with gzip. `limit` (bytes) is for what is sent; `inflate` tells the rest.

    Raises Problem 413 before anything beyond the limit is read or unpacked, 415 for other encodings, 411 and 400 for a
    body of unknown length and one that breaks off. Can be called once a request.
    """
    encoding = request.META.get("HTTP_CONTENT_ENCODING")
    chunked = "HTTP_TRANSFER_ENCODING" in request.META
    length = declared_length(request.META.get("CONTENT_LENGTH"), chunked=chunked, limit=limit)
    is_gzip(encoding)  # nothing is read for an encoding that nobody unpacks
    body: bytes = request._request.read(length)
    if len(body) < length:
        raise bad_request(f"The body ended after {len(body):,} of {length:,} bytes.")
    return inflate(body, encoding, limit)


def declared_length(content_length: str | None, *, chunked: bool, limit: int = BODY_LIMIT) -> int:
    """The bytes announced by the header Content-Length. Raises Problem 413, 411 (chunked) and 400 (no number)."""
    text = content_length or ""
    if not text and chunked:
        raise length_required("Chunked bodies are not read.")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request("The Content-Length is not a number.")
    length = int(text or 0)
    require_within(length, limit)
    return length


def is_gzip(content_encoding: str | None) -> bool:
    """Whether a body with this Content-Encoding has to be unpacked. Raises Problem 415 for all but gzip and none."""
    encoding = (content_encoding or "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise unsupported_media_type("The content encoding must be gzip or none.")
    return encoding == "gzip"


def inflate(raw: bytes, content_encoding: str | None, limit: int = BODY_LIMIT) -> bytes:
    """The body as it was before it was packed.

    Sent, it may have `limit` bytes; unpacked, 8 MiB (or `limit`, if that is more) and 100 times what was sent. Memory
    beyond that is never taken. Raises Problem 413, 415 for other encodings than gzip, 400 for what is no gzip.
    """
    require_within(len(raw), limit)
    return _unpack(raw, max(UNPACKED_LIMIT, limit)) if is_gzip(content_encoding) else raw


def require_within(length: int, limit: int) -> None:
    if length > limit:
        raise too_large(f"The body may have {limit:,} bytes; this one has {length:,}.")


def claimed_size(packed: bytes) -> int:
    """How many bytes come of what gzip has packed, as it says itself; `inflate` takes no more."""
    return int.from_bytes(packed[-4:], "little")


def _unpack(packed: bytes, most: int) -> bytes:
    """The last four bytes of gzip claim how much comes of it; no more than that is ever taken into memory."""
    limit = min(most, RATIO_LIMIT * len(packed))
    claimed = claimed_size(packed)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        if claimed > limit:
            _refuse_packed(packed, unpacker, limit)
        body = unpacker.decompress(packed, claimed + 1)
    except zlib.error as error:
        raise bad_request("The body is not valid gzip.") from error
    if not unpacker.eof or unpacker.unused_data:
        raise bad_request("The body is not one complete gzip member.")
    return body


def _refuse_packed(packed: bytes, unpacker: "zlib._Decompress", limit: int) -> NoReturn:
    """Raises Problem 413 if more than `limit` comes of it, which is looked at piece by piece and dropped, else 400."""
    size = 0
    for start in range(0, len(packed), _PIECE):
        size += len(unpacker.decompress(packed[start : start + _PIECE]))
        if size > limit:
            raise too_large(f"Unpacked, a body may have {limit:,} bytes at most; this one is larger.")
        if unpacker.eof:
            break
    raise bad_request("The body is not one complete gzip member.")


def require_json(request: Request) -> None:
    """Raises Problem 415 unless the content type is application/json (in UTF-8)."""
    require_json_type(request.META.get("CONTENT_TYPE"))


def require_json_type(content_type: str | None) -> None:
    """Raises Problem 415 unless this header is application/json (in UTF-8)."""
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise unsupported_media_type("The content type must be application/json.")


def read_struct(body: bytes, into: type[T] | None) -> T | None:
    """The body as `into`; for operations that take none (`into` is None), an empty body or {} is fine."""
    if into is None:
        if body and decode_tree(body) != {}:
            raise bad_request("This operation takes no body.")
        return None
    return convert(decode_tree(body), into)


def read_query(request: Request, into: type[T] | None) -> T | None:
    """The query as `into`; unknown, repeated and badly spelled parameters are 400 with a pointer like "?limit"."""
    query = request.META.get("QUERY_STRING", "")
    if into is None:
        refuse_query(query)
        return None
    try:
        return convert(_typed(_parameters(query), into), into)
    except BadJson as error:
        faults = [("?" + pointer.removeprefix("/"), detail) for pointer, detail in error.errors]
        raise bad_request("The query is not as it must be.", errors=faults) from error


def refuse_query(query: str) -> None:
    """Raises Problem 400 for a query string where none is expected."""
    if query and (given := _parameters(query)):
        raise bad_request("Unknown query parameter.", errors=[(f"?{name}", "unknown parameter") for name in given])


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_QUERY_LIMIT)
    except ValueError as error:
        raise bad_request("The query cannot be read: not UTF-8, or too many parameters.") from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise bad_request("A query parameter is repeated.", errors=[(f"?{name}", "given more than once")])
        if "\0" in name + value:
            raise bad_request("NUL in the query.", errors=[(f"?{name}".replace("\0", ""), "contains a NUL character")])
        given[name] = value
    return given


def _typed(given: Mapping[str, str], into: type[Any]) -> dict[str, object]:
    """Digits become integers and true/false booleans where the field wants one; everything else stays text."""
    wanted = _wanted(into)  # type: ignore[arg-type]
    return {name: _value(text, wanted.get(name, frozenset())) for name, text in given.items()}


@lru_cache(maxsize=256)
def _wanted(into: type[Any]) -> dict[str, frozenset[type]]:
    struct = msgspec.inspect.type_info(into)
    assert isinstance(struct, msgspec.inspect.StructType)
    return {field.encode_name: _kinds(field.type) for field in struct.fields}


def _kinds(info: msgspec.inspect.Type) -> frozenset[type]:
    if isinstance(info, msgspec.inspect.Metadata):
        return _kinds(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return frozenset[type]().union(*map(_kinds, info.types))
    return frozenset([type(info)])


def _value(text: str, kinds: frozenset[type]) -> object:
    if msgspec.inspect.IntType in kinds and text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20:
        return int(text)
    if msgspec.inspect.BoolType in kinds and text in ("true", "false"):
        return text == "true"
    return text
