"""Every fenced block of docs/pricing.md, run through the functions that make real bills."""

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from plans.calendar import Anchor, Period, boundary
from plans.money import format_amount, to_minor
from plans.pricing import price_usage
from plans.proration import prorate
from plans.terms import Terms
from plans.terms_reading import parse_terms

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pricing.md"
BLOCK = re.compile(r"^```(?P<kind>\S*) ?(?P<name>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    return [(block["kind"], block["name"], block["body"]) for block in BLOCK.finditer(PAGE.read_text("utf-8"))]


TERMS = {name: parse_terms(json.loads(body)) for kind, name, body in blocks() if kind == "terms"}


@pytest.mark.parametrize(
    ("kind", "name", "body"),
    [pytest.param(*block, id=f"{number}-{block[0]}-{block[1]}") for number, block in enumerate(blocks())],
)
def test_an_example_of_the_page_is_true(kind: str, name: str, body: str) -> None:
    check = {
        "terms": check_terms,
        "bill": check_bill,
        "rounding": check_rounding,
        "periods": check_periods,
        "share": check_share,
        "adjustment": check_adjustment,
    }.get(kind)
    assert check is not None, f"nobody checks blocks of the kind {kind!r}"
    check(name, body.splitlines())


def test_the_page_has_an_example_of_every_kind_and_no_block_is_left_open() -> None:
    assert {kind for kind, _, _ in blocks()} == {
        "terms",
        "bill",
        "rounding",
        "periods",
        "share",
        "adjustment",
    }
    assert PAGE.read_text("utf-8").count("```") == 2 * len(blocks())


def test_the_example_of_the_field_bills_65_00() -> None:
    counts = {"simple": 1200, "standard": 300, "complex": 40, "enterprise": 2}
    lines = [priced.amount for priced in price_usage(TERMS["growth"], counts)]
    assert lines == [Decimal("4.00"), Decimal("5.00"), Decimal("6.00"), Decimal("1.00")]
    assert format_amount(billed(TERMS["growth"], counts), "USD") == "65.00"


def check_terms(name: str, lines: list[str]) -> None:
    assert name in TERMS and lines


def check_bill(name: str, lines: list[str]) -> None:
    terms = TERMS[name]
    counts = counted(lines[0], "counted")
    base_fee = format_amount(to_minor(terms.base_fee, terms.currency), terms.currency)
    total = format_amount(billed(terms, counts), terms.currency)
    assert lines[1:] == [
        f"base fee {base_fee} {terms.currency}",
        *(priced.explain(terms.currency) for priced in price_usage(terms, counts)),
        f"total {total} {terms.currency}",
    ]


def check_adjustment(name: str, lines: list[str]) -> None:
    terms = TERMS[name]
    before, now = counted(lines[0], "billed"), counted(lines[1], "counted now")
    adjustment = format_amount(billed(terms, now) - billed(terms, before), terms.currency)
    assert lines[2:] == [f"adjustment  {adjustment} {terms.currency}"]


def check_rounding(_name: str, lines: list[str]) -> None:
    for line in lines:
        exact, currency, rounded = matched(r"(\S+) ([A-Z]{3}) -> (\S+)", line)
        assert format_amount(to_minor(Decimal(exact), currency), currency) == rounded, line


def check_periods(_name: str, lines: list[str]) -> None:
    interval, start, zone = matched(r"every (\w+) from (\S+) in (\S+)", lines[0])
    anchor = Anchor(dt.datetime.fromisoformat(start), zone)
    for line in lines[1:]:
        index, instant = matched(r"(\d+) (\S+)", line)
        assert boundary(anchor, interval, int(index)) == dt.datetime.fromisoformat(instant), line


def check_share(_name: str, lines: list[str]) -> None:
    amount, currency, start, end = matched(r"(\S+) ([A-Z]{3}) for (\S+) to (\S+)", lines[0])
    whole = Period(0, dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(end))
    for line in lines[1:]:
        start, end, share = matched(r"(\S+) to (\S+) -> (\S+)", line)
        part = Period(0, dt.datetime.fromisoformat(start), dt.datetime.fromisoformat(end))
        assert format_amount(to_minor(prorate(Decimal(amount), part, whole), currency), currency) == share, line


def counted(line: str, label: str) -> dict[str, int]:
    (listed,) = matched(rf"{label} +(.+)", line)
    pairs = [matched(r"([\d,]+) (\w+)", part) for part in listed.split(", ")]
    return {tier: int(number.replace(",", "")) for number, tier in pairs}


def billed(terms: Terms, counts: dict[str, int]) -> int:
    usage = sum(to_minor(priced.amount, terms.currency) for priced in price_usage(terms, counts))
    return to_minor(terms.base_fee, terms.currency) + usage


def matched(form: str, line: str) -> tuple[str, ...]:
    match = re.fullmatch(form, line)
    assert match is not None, f"not understood: {line!r}"
    return match.groups()
