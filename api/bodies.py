"""How is what a request carries read? Bodies within limits, unpacked; bodies and queries as strict structs."""

import zlib
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from rest_framework.request import Request

from api.json_faults import BadJson
from api.problems import Problem, bad_request, too_large, unsupported_media_type
from api.strict_json import convert, decode_tree

T = TypeVar("T")

BODY_LIMIT = 1024 * 1024
UNPACKED_LIMIT = 8 * 1024 * 1024
RATIO_LIMIT = 100
_QUERY_LIMIT = 64


def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, unpacked if it came with gzip. `limit` (bytes) is for what is sent; unpacked it may be 8 MiB.

    Raises Problem 413 before anything beyond the limit is read or unpacked, 415 for other encodings, 411 and 400 for a
    body of unknown length and one that breaks off. Can be called once a request.
    """
    length = _length(request)
    if length > limit:
        raise too_large(f"The body may have {limit:,} bytes; this one has {length:,}.")
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise unsupported_media_type("The content encoding must be gzip or none.")
    body: bytes = request._request.read(length)
    if len(body) < length:
        raise bad_request(f"The body ended after {len(body):,} of {length:,} bytes.")
    return _unpack(body) if encoding == "gzip" else body


def _length(request: Request) -> int:
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text and "HTTP_TRANSFER_ENCODING" in request.META:
        raise Problem(411, "length-required", "Send a Content-Length", "Chunked bodies are not read.")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request("The Content-Length is not a number.")
    return int(text or 0)


def _unpack(packed: bytes) -> bytes:
    limit = min(UNPACKED_LIMIT, RATIO_LIMIT * len(packed))
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise bad_request("The body is not valid gzip.") from error
    if len(body) > limit:
        raise too_large(
            f"Unpacked, the body may have {UNPACKED_LIMIT:,} bytes and {RATIO_LIMIT} times its packed size."
        )
    if not unpacker.eof or unpacker.unused_data:
        raise bad_request("The body is not one complete gzip member.")
    return body


def require_json(request: Request) -> None:
    """Raises Problem 415 unless the content type is application/json (in UTF-8)."""
    media_type, _, parameters = request.META.get("CONTENT_TYPE", "").partition(";")
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
    given = _parameters(request.META.get("QUERY_STRING", ""))
    if into is None:
        if given:
            raise bad_request("Unknown query parameter.", errors=[(f"?{name}", "unknown parameter") for name in given])
        return None
    try:
        return convert(_typed(given, into), into)
    except BadJson as error:
        faults = [("?" + pointer.removeprefix("/"), detail) for pointer, detail in error.errors]
        raise bad_request("The query is not as it must be.", errors=faults) from error


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
    struct = msgspec.inspect.type_info(into)
    assert isinstance(struct, msgspec.inspect.StructType)
    wanted = {field.encode_name: _kinds(field.type) for field in struct.fields}
    return {name: _value(text, wanted.get(name, frozenset())) for name, text in given.items()}


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
