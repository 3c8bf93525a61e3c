"""What is ambiguous in JSON is refused, with the place."""

import json
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from api.strict_json import Amount, BadJson, Body, Instant, LaxContract, Price, convert, decode, decode_tree


class Usage(Body):
    input_tokens: Annotated[int, Meta(ge=0, le=10**9)]


class Event(Body):
    id: str
    usage: Usage
    occurred_at: Instant | None = None
    byok: bool = False
    limits: dict[str, dict[str, int]] = {}


class Batch(Body):
    events: list[Event]


def faults(body: bytes, into: Any = object) -> list[tuple[str, str]]:
    with pytest.raises(BadJson) as refused:
        decode(body, into)
    return [tuple(fault) for fault in refused.value.errors]


def test_a_batch_is_read_into_its_structs():
    batch = decode(b'{"events": [{"id": "a", "usage": {"input_tokens": 7}}]}', Batch)
    assert batch.events[0].usage.input_tokens == 7


@pytest.mark.parametrize(
    ("body", "pointer", "part"),
    [
        (b'{"events":[{"id":"a","usage":{"input_tokens":1.0}}]}', "/events/0/usage/input_tokens", "float"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":"1"}}]}', "/events/0/usage/input_tokens", "str"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":true}}]}', "/events/0/usage/input_tokens", "bool"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":1e3}}]}', "/events/0/usage/input_tokens", "float"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":-1}}]}', "/events/0/usage/input_tokens", ">= 0"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":9007199254740993}}]}', "/events/0/usage/input_tokens", "<="),
        (b'{"events":[{"id":1,"usage":{"input_tokens":1}}]}', "/events/0/id", "int"),
        (b'{"events":[{"id":"a","usage":{}}]}', "/events/0/usage/input_tokens", "missing"),
        (b'{"events":[{"id":"a","usage":{"input_tokens":1,"x~/y":1}}]}', "/events/0/usage/x~0~1y", "unknown"),
        (b'{"events":[],"status":"paid"}', "/status", "unknown"),
        (b'{"events":{}}', "/events", "array"),
        (b"[]", "", "object"),
        (
            b'{"events":[{"id":"a","usage":{"input_tokens":1},"occurred_at":"2026-11-20T10:00:00"}]}',
            "/events/0/occurred_at",
            "timezone",
        ),
        (
            b'{"events":[{"id":"a","usage":{"input_tokens":1},"occurred_at":1763632800}]}',
            "/events/0/occurred_at",
            "int",
        ),
        (
            b'{"events":[{"id":"a","usage":{"input_tokens":1},"limits":{"a":{"x":1},"b/c":{"x":1,"y":"z"}}}]}',
            "/events/0/limits/b~1c/y",
            "str",
        ),
        (b'{"events":[{"id":"a","usage":{"input_tokens":1},"byok":1}]}', "/events/0/byok", "int"),
    ],
)
def test_another_type_or_field_is_refused_with_its_place(body, pointer, part):
    [(found, detail)] = faults(body, Batch)
    assert found == pointer
    assert part in detail


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "ends too early (byte 0)"),
        (b'{"a": 1', "ends too early (byte 7)"),
        (b'{"a": 1,}', "byte 8"),
        (b'{"a": 01}', "byte 7"),
        (b'{"a": NaN}', "byte 6"),
        (b"[Infinity]", "byte 1"),
        (b"[-Infinity]", "byte 2"),
        (b"[1e400]", "out of range"),
        (b"{} {}", "trailing characters"),
        (b"{'a': 1}", "byte 1"),
        (b"[1] // fine", "trailing characters"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'\xff\xfe{\x00"\x00', "byte 0"),
        (b'["caf\xe9"]', "UTF-8 (byte 5)"),
        (b'["\xed\xa0\x80"]', "UTF-8 (byte 2)"),
        (b'["\xc0\x80"]', "UTF-8 (byte 2)"),
        (b'["\x00"]', "byte 2"),
        (b'["a\nb"]', "byte 3"),
        (b'["\\ud800"]', "surrogate escape without its partner (byte 2)"),
        (b'["\\ud800\\ud800"]', "surrogate"),
        (b'["\\udc00 alone"]', "surrogate"),
        (b'["\\uD83D", "\\uDE00"]', "surrogate"),
    ],
)
def test_text_that_is_no_json_is_refused_with_its_byte(body, part):
    [(pointer, detail)] = faults(body)
    assert pointer == ""
    assert part in detail


def test_what_is_meant_to_exhaust_the_reader_is_refused():
    assert faults(b"[" * 100_000) == [("", "nested more than 20 levels deep")]
    assert faults(b'{"a":' * 30_000) == [("", "nested more than 20 levels deep")]
    assert faults(b"[" + b"9" * 5000 + b"]") == [("", "Integer value out of range")]


def test_twenty_levels_are_read_and_the_twenty_first_is_refused():
    assert decode_tree(b"[" * 20 + b"]" * 20)
    assert faults(b"[" * 21 + b"]" * 21) == [("/0" * 20, "nested more than 20 levels deep")]


def test_sixty_four_keys_are_read_and_the_next_is_refused():
    assert decode_tree(json.dumps({"a": {str(i): i for i in range(64)}}).encode())
    wide = json.dumps({"a": {str(i): i for i in range(65)}}).encode()
    assert faults(wide) == [("/a", "more than 64 keys")]
    assert decode_tree(wide, max_keys=100)


def test_nul_is_refused_in_values_and_keys_but_not_its_spelling():
    assert faults(b'{"a": ["x", "\\u0000"]}') == [("/a/1", "contains a NUL character")]
    assert faults(b'{"a": {"\\u0000": 1}}') == [("/a", "contains a NUL character")]
    assert decode_tree(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}


def test_an_emoji_escaped_as_a_pair_is_fine():
    assert decode_tree(b'["\\ud83d\\ude00"]') == ["\U0001f600"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a":1,"a":1}', "/a"),
        (b'{"a" :1,"a":2}', "/a"),
        (b'{"a"\n\t:1,"a" : 2}', "/a"),
        (b'{"a":1,"\\u0061":2}', "/a"),
        (b'{"b":"\\":","a":1,"a":2}', "/a"),
        (b'{"b":":","a":1,"a":2}', "/a"),
        (b'{"x":[{"k":":","k" :1}]}', "/x/0/k"),
        (b'{"a":{"b":1,"b":2},"a":3}', "/a"),
        (b'{"a":"\\"\\"","a":1}', "/a"),
        (b'{"":1,"":2}', "/"),
        (b'{"a/b":1,"a\\/b":2}', "/a~1b"),
        (b'{"a":["","",{"c":1,"c":"\\\\"}]}', "/a/2/c"),
    ],
)
def test_a_repeated_key_is_refused_however_it_is_spelled(body, pointer):
    assert faults(body) == [(pointer, "key given more than once")]


# --- held against an exact reader -----------------------------------------------------------------------------------


def has_repeated_key(text: str) -> bool:
    repeated = []

    def look(pairs):
        repeated.append(len({key for key, _ in pairs}) < len(pairs))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(repeated)


@st.composite
def odd_json(draw, depth=3):
    """JSON text with odd spacing, odd escapes and keys that repeat now and then."""
    space = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
    alphabet = st.sampled_from(["a", "b", '"', ":", "\\", "/", "{", "}", ",", "\u00e9", "\U0001f600", " "])

    def text():
        out = []
        for char in draw(st.lists(alphabet, max_size=4)):
            plain = json.dumps(char, ensure_ascii=False)[1:-1]
            out.append(draw(st.sampled_from([plain, plain, json.dumps(char)[1:-1], escaped(char)])))
        return '"' + "".join(out) + '"'

    def value(level):
        kind = draw(st.integers(0, 5 if level else 3))
        if kind == 0:
            return draw(st.sampled_from(["1", "-0", "2.5", "true", "null", "1e3"]))
        if kind <= 3:
            return text()
        parts = [value(level - 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == 4:
            return "[" + ",".join(draw(space) + part + draw(space) for part in parts) + "]"
        pairs = [draw(space) + text() + draw(space) + ":" + draw(space) + part + draw(space) for part in parts]
        return "{" + ",".join(pairs) + "}"

    return draw(space) + value(depth) + draw(space)


def escaped(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join("\\u" + units[i : i + 4] for i in range(0, len(units), 4))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(odd_json())
@example('{"a":1 ,"a" : "\\""}')
def test_repeated_keys_are_found_exactly_when_there_are_some(text):
    if has_repeated_key(text):
        assert faults(text.encode())[0][1] == "key given more than once"
    else:
        assert decode_tree(text.encode()) == json.loads(text)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(odd_json(), st.randoms(use_true_random=False))
def test_damaged_text_is_refused_or_read_as_the_exact_reader_reads_it(text, chance: random.Random):
    body = bytearray(text.encode())
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randint(0, 2)] = chance.choice(
            [b"", b'"', b":", b"\\", b" ", b"\\u0061", b"{", b"}", b"a"]
        )
    try:
        tree = decode_tree(bytes(body))
    except BadJson:
        return
    assert tree == json.loads(body.decode())
    assert not has_repeated_key(body.decode())


@given(st.binary(max_size=60))
def test_no_bytes_at_all_bring_the_reader_down(body):
    try:
        decode(body, Batch)
    except BadJson as refused:
        assert refused.errors


# --- types ----------------------------------------------------------------------------------------------------------


class Priced(Body):
    unit: Price
    fee: Amount = "0"


@pytest.mark.parametrize("unit", ["0", "0.02", "12.000000000001", "999999999999"])
def test_a_price_is_a_plain_decimal_string(unit):
    assert convert({"unit": unit}, Priced).unit == unit


@pytest.mark.parametrize(
    "unit", [0.02, 1, True, "", "1.", ".5", "-1", "+1", "1e3", "NaN", "1\n", " 1", "\uff11", "0." + "1" * 13]
)
def test_whatever_else_decimals_can_be_made_of_is_no_price(unit):
    with pytest.raises(BadJson) as refused:
        convert({"unit": unit}, Priced)
    assert refused.value.errors[0].pointer == "/unit"


class Open(msgspec.Struct):
    a: int


class Nested(Body):
    parts: list[Open | None]


class Dear(Body):
    price: Decimal


class Vague(Body):
    at: Annotated[dict[str, Annotated[datetime, Meta(description="any time")]], Meta(description="times")]


@pytest.mark.parametrize("lax", [Open, Nested, Dear, Vague, list[Vague]])
def test_a_type_that_is_not_strict_itself_cannot_be_used(lax):
    with pytest.raises(LaxContract):
        convert({}, lax)


class Span(Body):
    lasts: timedelta
    inner: "Span | None" = None


def test_durations_and_types_that_hold_themselves_are_strict():
    assert convert({"lasts": "PT24H", "inner": {"lasts": "PT1H"}}, Span).lasts == timedelta(hours=24)
    with pytest.raises(BadJson):
        convert({"lasts": 86400}, Span)
