"""How do a thousand rows get into one statement cheaply? As binary arrays for unnest(), a column each.

The driver's own arrays are made value by value, as text; on the path of every event that costs more than the database
does. These are PostgreSQL's binary array format, written a column at a time. `raw_cursor` sends them, and reads answers
in binary, on Django's connection and in its transaction.
"""

import datetime as dt
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from django.db import connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_ABSENT = struct.pack(">i", -1)
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class PackedArray(bytes):
    """An array in PostgreSQL's binary format; each element type has a subclass, which says what the array is."""


def raw_cursor() -> "psycopg.Cursor[Any]":
    """A cursor of the driver itself; in autocommit mode, as in a transaction, it is Django's connection."""
    connection.ensure_connection()
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(connection.connection)
    cursor.format = Format.BINARY
    return cursor


def _array_type(name: str, array_oid: int) -> type[PackedArray]:
    kind = type(f"Packed{name}", (PackedArray,), {})
    dumper = type(f"Packed{name}Dumper", (_AsItIs,), {"oid": array_oid})
    psycopg.adapters.register_dumper(kind, dumper)
    return kind


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        return bytes(obj)


_Int4 = _array_type("Int4", 1007)
_Int8 = _array_type("Int8", 1016)
_Instant = _array_type("Instant", 1185)
_Uuid = _array_type("Uuid", 2951)
_Text = _array_type("Text", 1009)
_Bool = _array_type("Bool", 1000)
_Bytea = _array_type("Bytea", 1001)


def int4s(values: Sequence[int | None]) -> PackedArray:
    return _numbers(_Int4, 23, 4, "i", values)


def int8s(values: Sequence[int | None]) -> PackedArray:
    return _numbers(_Int8, 20, 8, "q", values)


def instants(values: Iterable[dt.datetime | None]) -> PackedArray:
    """Aware times, as microseconds since 2000."""
    return _numbers(_Instant, 1184, 8, "q", [None if v is None else (v - _EPOCH) // _MICROSECOND for v in values])


def uuids(values: Iterable[uuid.UUID]) -> PackedArray:
    length = struct.pack(">i", 16)
    return _joined(_Uuid, 2950, [length + value.bytes for value in values])


def texts(values: Iterable[str | None]) -> PackedArray:
    return _joined(_Text, 25, [_ABSENT if value is None else _text(value) for value in values])


def words(values: Iterable[str | None]) -> PackedArray:
    """As `texts`, where the same few come again and again."""
    return _joined(_Text, 25, [_word(value) for value in values])


def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(4) + encoded


@lru_cache(maxsize=4096)
def _word(value: str | None) -> bytes:
    return _ABSENT if value is None else _text(value)


def bytestrings(values: Sequence[bytes]) -> PackedArray:
    return _joined(_Bytea, 17, [len(value).to_bytes(4) + value for value in values])


def bools(values: Iterable[bool]) -> PackedArray:
    yes, no = struct.pack(">i?", 1, True), struct.pack(">i?", 1, False)
    return _joined(_Bool, 16, [yes if value else no for value in values])


PACKERS: dict[str, Callable[[Any], PackedArray]] = {
    "int2": int4s,  # to be cast
    "int4": int4s,
    "int8": int8s,
    "timestamptz": instants,
    "uuid": uuids,
    "text": texts,
    "bool": bools,
}
"""The packer of each column type."""


def _numbers(kind: type[PackedArray], oid: int, size: int, code: str, values: Sequence[int | None]) -> PackedArray:
    if None in values:
        one = struct.Struct(f">i{code}").pack
        return _joined(kind, oid, [_ABSENT if value is None else one(size, value) for value in values])
    interleaved: list[Any] = [size] * (2 * len(values))
    interleaved[1::2] = values
    return kind(_header(oid, len(values)) + _run(code, len(values)).pack(*interleaved))


def _joined(kind: type[PackedArray], oid: int, elements: list[bytes]) -> PackedArray:
    return kind(_header(oid, len(elements)) + b"".join(elements))


def _header(oid: int, length: int) -> bytes:
    """One dimension, absent elements allowed, counted from 1."""
    return _HEADER.pack(1, 1, oid, length, 1)


@lru_cache(maxsize=512)
def _run(code: str, length: int) -> struct.Struct:
    return struct.Struct(f">{('i' + code) * length}")
