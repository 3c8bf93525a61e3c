"""What must a door for events refuse, and how? Requests as data, for every door that takes `POST /v1/events`.

`hostile_bodies` are refused whole: nothing of them is stored. `hostile_items` are events that are rejected with a
pointer when they come in a batch, beside others that are taken; sent alone they are refused like a hostile body.
"""

import datetime as dt
import functools
import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

MEBIBYTE = 1024 * 1024
JSON = {"content-type": "application/json"}
GZIP = JSON | {"content-encoding": "gzip"}


class HostileBody(NamedTuple):
    """A request to refuse: `pointer` is the place its problem names, None where there is none to name."""

    name: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    pointer: str | None = None


class HostileItem(NamedTuple):
    """An event to reject, as JSON text, and the place within it that is named."""

    name: str
    text: str
    pointer: str


def an_event(now: dt.datetime, **fields: Any) -> dict[str, Any]:
    """An event of Acme's that nothing is wrong with, but for `fields`."""
    return {
        "id": "hostile-1",
        "customer": "acme",
        "conversation": "chat-1",
        "occurred_at": now.isoformat(),
        "provider": "openai",
        "model": "gpt-5",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    } | fields


def hostile_bodies(now: dt.datetime) -> list[HostileBody]:
    """All of them; nothing in them depends on `now` but the times of events."""
    return [*_too_much(now), *_of_another_kind(now), *_unreadable(now)]


def _too_much(now: dt.datetime) -> list[HostileBody]:
    event = an_event(now)
    thousand_and_one = json.dumps({"events": [event | {"id": str(index)} for index in range(1001)]}).encode()
    padded = json.dumps(event).encode().ljust(MEBIBYTE + 1)
    return [
        HostileBody("a byte more than a mebibyte", JSON, padded, 413),
        HostileBody("1,001 events", GZIP, gzip.compress(thousand_and_one), 413),
        HostileBody("a bomb of zeros", GZIP, bomb(), 413),
        HostileBody("more than 100 times what was sent", GZIP, gzip.compress(b" " * 200_000), 413),
        HostileBody("a bomb in a bomb", GZIP, gzip.compress(bomb()), 413),
    ]


@functools.cache
def bomb() -> bytes:
    """A gibibyte of zeros in just under a mebibyte: as much as a body that may be sent can hold."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(MEBIBYTE)
    return b"".join([*(packer.compress(zeros) for _ in range(1_000)), packer.flush()])


def _of_another_kind(now: dt.datetime) -> list[HostileBody]:
    body = json.dumps(an_event(now)).encode()
    packed = gzip.compress(body, mtime=0)
    types = ["text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    types += ["application/json; charset=utf-16", "application/json5", "application/*", ""]
    encodings = [("br", body), ("deflate", zlib.compress(body)), ("zstd", body), ("gzip, gzip", gzip.compress(packed))]
    broken = [("half of it", packed[:-9]), ("twice", packed * 2), ("zlib", zlib.compress(body)), ("not packed", body)]
    wrong_sum = packed[:-8] + bytes(4) + packed[-4:]
    return [
        *(HostileBody(f"content type {kind!r}", {"content-type": kind}, body, 415) for kind in types),
        *(HostileBody(f"encoding {name}", JSON | {"content-encoding": name}, sent, 415) for name, sent in encodings),
        *(HostileBody(f"gzip, {name}", GZIP, sent, 400) for name, sent in broken),
        HostileBody("gzip, wrong checksum", GZIP, wrong_sum, 400),
        HostileBody("gzip, nothing", GZIP, b"", 400),
    ]


def _unreadable(now: dt.datetime) -> list[HostileBody]:
    """Not one JSON text, or one that two readers would read differently."""
    event = json.dumps(an_event(now))
    usage = '"usage": {"input_tokens": 1, "output_tokens": 2}'
    assert usage in event

    def with_usage(text: str) -> bytes:
        return event.replace(usage, text).encode()

    def provider_usage(value: str) -> bytes:
        return with_usage(f'"provider_usage": {{"prompt_tokens": 1, "completion_tokens": 1, "more": {value}}}')

    texts = [
        ("a byte order mark", b"\xef\xbb\xbf" + event.encode(), ""),
        ("UTF-16", event.encode("utf-16"), ""),
        ("no UTF-8", event.replace("gpt-5", "gpt-\N{LATIN SMALL LETTER E WITH ACUTE}").encode("latin-1"), ""),
        ("half a text", event.encode()[:-2], ""),
        ("two texts", event.encode() * 2, ""),
        ("a comma too many", event.encode()[:-1] + b",}", ""),
        ("a comment", b"/**/" + event.encode(), ""),
        ("single quotes", event.replace('"', "'").encode(), ""),
        ("NaN", with_usage('"usage": {"input_tokens": NaN, "output_tokens": 2}'), ""),
        ("Infinity", with_usage('"usage": {"input_tokens": -Infinity, "output_tokens": 2}'), ""),
        ("a number beyond all", with_usage('"usage": {"input_tokens": 1e400, "output_tokens": 2}'), ""),
        ("a number with a leading zero", with_usage('"usage": {"input_tokens": 01, "output_tokens": 2}'), ""),
        ("a hexadecimal number", with_usage('"usage": {"input_tokens": 0x1, "output_tokens": 2}'), ""),
        ("half a surrogate pair", event.replace("gpt-5", "\\ud800").encode(), ""),
        ("the other half", event.replace("gpt-5", "\\udc00").encode(), ""),
        ("a repeated key", event.replace('"id"', '"id": "other", "id"', 1).encode(), "/id"),
        ("a key repeated in disguise", event.replace('"id"', '"\\u0069d": "other", "id"', 1).encode(), "/id"),
        (
            "a repeated key further in",
            with_usage('"usage": {"input_tokens": 1, "input_tokens": 2}'),
            "/usage/input_tokens",
        ),
        ("NUL in a text", event.replace("gpt-5", "\\u0000").encode(), "/model"),
        ("a bare NUL", event.replace("gpt-5", "\0").encode(), ""),
        ("21 levels", provider_usage("[" * 19 + "]" * 19), "/provider_usage/more" + "/0" * 18),
        ("200,000 levels", b"[" * 200_000, ""),
        ("200,000 levels, complete", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ""),
        ("65 keys", provider_usage(json.dumps({str(number): number for number in range(65)})), "/provider_usage/more"),
        ("a number of 5,000 digits", provider_usage("9" * 5_000), None),
        ("a text", b'"event"', None),
        ("a list", f"[{event}]".encode(), None),
        ("null", b"null", None),
        ("no events", b'{"events": []}', "/events"),
        ("events that are none", b'{"events": {"0": 1}}', "/events"),
        ("events that are null", b'{"events": null}', "/events"),
        ("a field beside events", f'{{"events": [{event}], "customer": "acme"}}'.encode(), "/customer"),
    ]
    return [HostileBody(name, JSON, body, 400, pointer) for name, body, pointer in texts]


def hostile_items(now: dt.datetime) -> list[HostileItem]:
    """Events with one thing wrong."""
    late, ahead = now - dt.timedelta(days=35, seconds=1), now + dt.timedelta(minutes=5, seconds=1)
    naive = now.replace(tzinfo=None).isoformat()
    fields: list[tuple[str, str, Any]] = [
        ("an id that is empty", "id", ""),
        ("an id of 513 characters", "id", "x" * 513),
        ("an id that is a number", "id", 7),
        ("an id that is ours", "id", "parley:close:x"),
        ("a customer that is empty", "customer", ""),
        ("a customer that is null", "customer", None),
        ("a model of 201 characters", "model", "x" * 201),
        ("a time without an offset", "occurred_at", naive),
        ("a time that is a number", "occurred_at", 1_700_000_000),
        ("a time that is no time", "occurred_at", "2026-02-30T00:00:00Z"),
        ("a time in the year 10000", "occurred_at", "10000-01-01T00:00:00Z"),
        ("the beginning of time", "occurred_at", "0001-01-01T00:00:00+14:00"),
        ("a time too far ahead", "occurred_at", ahead.isoformat()),
        ("a time too far back", "occurred_at", late.isoformat()),
        ("a kind that is none", "kind", "close"),
        ("attempt zero", "attempt", 0),
        ("attempt 32768", "attempt", 32_768),
        ("turn zero", "turn", 0),
        ("a turn that is true", "turn", True),
        ("a turn of 2^63", "turn", 2**63),
        ("a feature of 65 characters", "feature", "x" * 65),
        ("byok that is a text", "byok", "false"),
        ("a field nobody knows", "is_staff", True),
        ("usage that is a list", "usage", []),
        ("usage that is null", "usage", None),
    ]
    changed = [
        HostileItem(name, json.dumps(an_event(now, **{field: value})), f"/{field}") for name, field, value in fields
    ]
    return [*changed, *_hostile_usage(now), *_not_even_events()]


def _hostile_usage(now: dt.datetime) -> list[HostileItem]:
    counts = [("negative", "-1"), ("beyond 10^9", "1000000001"), ("beyond 2^53", "9007199254740993")]
    counts += [("a float", "1.0"), ("an exponent", "1e3"), ("a text", '"7"'), ("true", "true")]
    counts += [("full-width digits", '"\N{FULLWIDTH DIGIT SEVEN}"'), ("null", "null"), ("beyond 2^64", str(2**64))]
    event = json.dumps(an_event(now))
    items = [
        HostileItem(
            f"tokens: {name}", event.replace('"input_tokens": 1', f'"input_tokens": {text}'), "/usage/input_tokens"
        )
        for name, text in counts
    ]
    both = an_event(now, provider_usage={"prompt_tokens": 1, "completion_tokens": 1})
    neither = {name: value for name, value in an_event(now).items() if name != "usage"}
    return [
        *items,
        HostileItem("two usages", json.dumps(both), "/provider_usage"),
        HostileItem("no usage", json.dumps(neither), "/usage"),
    ]


def _not_even_events() -> list[HostileItem]:
    return [HostileItem(f"an item that is {text}", text, "") for text in ("null", "[]", "7", '"event"', "true")]
