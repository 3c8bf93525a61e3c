"""What is in docs/pricing.md? Its fenced blocks, how figures are written in them, and the terms that they agree.

A block's first line is its kind and its name: "terms growth", "bill growth". A block that begins with terms agrees
these; "like growth" agrees what growth does, but for the members and the rates that are written out.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from plans.money import format_amount, to_minor
from plans.terms import Terms
from plans.terms_reading import parse_terms

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pricing.md"
BLOCK = re.compile(r"^```(?P<kind>\S*) ?(?P<name>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
COUNT = r"[\d,]+"
MONEY = r"-?[\d,]+(?:\.\d+)?"


class Block(NamedTuple):
    """One example: its kind, its name, and its lines, of which runs of spaces count as two."""

    kind: str
    name: str
    lines: list[str]


def blocks() -> list[Block]:
    """The examples of the page, in its order."""
    return [Block(block["kind"], block["name"], _lines(block["body"])) for block in BLOCK.finditer(text())]


def text() -> str:
    return PAGE.read_text("utf-8")


def normal(line: str) -> str:
    """A line as it is compared: figures may be aligned."""
    return re.sub(" {2,}", "  ", line.strip())


def _lines(body: str) -> list[str]:
    return [normal(line) for line in body.splitlines()]


@cache
def raw_terms(name: str) -> dict[str, Any]:
    """The terms of this name, as the page writes them."""
    (block,) = (block for block in blocks() if block.kind == "terms" and block.name.split(" like ")[0] == name)
    return agreed(block)[0]


def agreed(block: Block) -> tuple[dict[str, Any], int]:
    """The terms of a block as JSON, and how many of its lines they take: its own ones, those of its name, or both."""
    other = block.name.rpartition("like ")[2]
    if not block.lines[0].startswith("{"):
        return raw_terms(block.name), 0
    for length in range(1, len(block.lines) + 1):
        try:
            written = json.loads("".join(block.lines[:length]))
        except json.JSONDecodeError:
            continue
        return (like(other, written) if "like " in block.name else written), length
    raise AssertionError(f"not understood: {block.lines[0]!r}")


def like(name: str, written: dict[str, Any]) -> dict[str, Any]:
    """What is agreed under a name, but for the members and the rates that are written out."""
    known = raw_terms(name)
    return known | written | {"rates": known["rates"] | written.get("rates", {})}


@cache
def terms(name: str) -> Terms:
    """The terms of this name, read as every plan's are."""
    return parse_terms(raw_terms(name))


def matched(form: str, line: str) -> tuple[Any, ...]:
    """The groups of a line that has this form; an example that is not understood fails."""
    match = re.fullmatch(form, line)
    assert match is not None, f"not understood: {line!r}"
    return match.groups()


def counted(listed: str) -> dict[str, int]:
    """ "1,200 simple, 40 complex@peak", or "nothing"."""
    if listed == "nothing":
        return {}
    pairs = [matched(rf"({COUNT}) ([\w@]+)", part) for part in listed.split(", ")]
    return {meter: whole(number) for number, meter in pairs}


def whole(number: str) -> int:
    return int(number.replace(",", ""))


def minor(amount: str, currency: str = "USD") -> int:
    """Minor units of an amount that can be paid; one that would be rounded is a mistake in the example."""
    exact = Decimal(amount.replace(",", ""))
    assert format_amount(to_minor(exact, currency), currency) == format(exact, "f"), f"{amount} {currency}"
    return to_minor(exact, currency)


def instant(written: str) -> dt.datetime:
    """ "2026-11-16" or "2026-11-16 12:00", in UTC unless an offset follows."""
    read = dt.datetime.fromisoformat(written)
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def arrows(lines: list[str], answer: Any) -> Iterator[str]:
    """Lines "question -> answer", answered anew."""
    for line in lines:
        question, _ = matched(r"(.+?) -> (.+)", line)
        yield f"{question} -> {answer(question)}"
