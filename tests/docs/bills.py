"""What do the blocks about bills say? Each function takes a block as it stands and returns it as it should read.

Unless a block says otherwise it is about November 2026 in UTC, which has 30 days.
"""

import datetime as dt
import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from plans.charges import Charge, PeriodBill, PeriodDiscount, Segment
from plans.money import format_amount
from plans.period_bill import NOTHING_ROLLED, Layers, bill_period
from plans.proration import Span
from plans.terms import Terms
from plans.terms_reading import InvalidTerms, parse_terms
from tests.docs.page import MONEY, Block, agreed, counted, matched, minor, terms

DAY = dt.timedelta(days=1)
NOVEMBER = (dt.datetime(2026, 11, 1, tzinfo=dt.UTC), dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
GIVEN = ("counted ", "from ", "discount ")
"""What the lines begin with that say what happened; the others say what it comes to."""


class _Whole:
    def __init__(self, start: dt.datetime, end: dt.datetime) -> None:
        self.start, self.end = start, end


MONTH: Span = _Whole(*NOVEMBER)


def the_terms(block: Block) -> list[str]:
    """Terms can be agreed to, and are nothing but that."""
    raw, length = agreed(block)
    assert parse_terms(raw).currency and length == len(block.lines)
    return block.lines


def refused(block: Block) -> list[str]:
    """Members that cannot be agreed to, added to known terms, and every mistake."""
    raw, length = agreed(block)
    with pytest.raises(InvalidTerms) as found:
        parse_terms(raw)
    return [*block.lines[:length], *(f"{pointer}: {detail}" for pointer, detail in found.value.errors)]


def bill(block: Block) -> list[str]:
    """What happened in a month, and every charge of its bill; then, maybe, another month instead."""
    raw, length = agreed(block) if block.name or block.lines[0].startswith("{") else ({}, 0)
    told = block.lines[:length]
    for said, lines in itertools.groupby(block.lines[length:], key=lambda line: line.startswith(GIVEN)):
        if said:
            given = list(lines)
            segments = list(_segments(raw, given))
            owed = bill_period(segments, MONTH, discounts=list(_discounts(given)))
            told += [*given, *_charges(owed, segments[0].terms.currency)]
    return told


def adjustment(block: Block) -> list[str]:
    """A month that was billed, and what is counted today."""
    before, now = (
        whole_month(terms(block.name), counted(matched(rf"{label}  (.+)", line)[0])).total
        for label, line in zip(("billed", "counted now"), block.lines, strict=False)
    )
    currency = terms(block.name).currency
    return [*block.lines[:2], f"adjustment  {format_amount(now - before, currency)} {currency}"]


def months(block: Block) -> list[str]:
    """Months that follow each other, each with what the one before hands on to it."""
    raw, length = agreed(block)
    terms, rolled, told = parse_terms(raw), NOTHING_ROLLED, block.lines[:length]
    for line in block.lines[length:]:
        (listed,) = matched(r"(.+?): .+", line)
        owed = whole_month(terms, counted(listed), rolled)
        rolled = owed.rolled
        layers = " + ".join(f"{layer.quantity:,}" for layer in rolled.get("simple", ())) or "nothing"
        told.append(f"{listed}: {format_amount(owed.total, terms.currency)} {terms.currency}, hands on {layers}")
    return told


def whole_month(terms: Terms, counts: dict[str, int], rolled: Layers = NOTHING_ROLLED) -> PeriodBill:
    return bill_period([Segment(start=MONTH.start, end=MONTH.end, terms=terms, counts=counts)], MONTH, rolled=rolled)


def _segments(raw: dict[str, Any], given: list[str]) -> Iterator[Segment]:
    """ "counted  12 simple" is the whole month by the terms of the block; or one stretch after the other."""
    if given[0].startswith("counted "):
        (listed,) = matched(r"counted  (.+)", given[0])
        yield Segment(start=MONTH.start, end=MONTH.end, terms=parse_terms(raw), counts=counted(listed))
        return
    form = r"from (\d+) November(?: on (\w+))?(, paused|, in trial)?: (.+)"
    said = [matched(form, line) for line in given if line.startswith("from ")]
    starts = [MONTH.start + (int(day) - 1) * DAY for day, *_ in said]
    for (_, plan, state, listed), start, end in zip(said, starts, [*starts[1:], MONTH.end], strict=True):
        how = {"paused": state == ", paused", "trial": state == ", in trial"}
        by = terms(plan) if plan else parse_terms(raw)
        yield Segment(start=start, end=end, terms=by, counts=counted(listed), **how)


def _discounts(given: list[str]) -> Iterator[PeriodDiscount]:
    for line in given:
        if line.startswith("discount "):
            name, much, percent, what = matched(
                rf"discount  (.+?): ({MONEY})(%)? off (everything|the base fee|usage.*)", line
            )
            tiers = tuple(re.split(" and ", what.removeprefix("usage of "))) if what.startswith("usage of ") else None
            yield PeriodDiscount(
                id=name,
                name=name,
                percent=Decimal(much) if percent else None,
                amount=None if percent else minor(much),
                on={"everything": "all", "the base fee": "base_fee"}.get(what, "usage"),  # type: ignore[arg-type]
                tiers=tiers,
            )


def _charges(owed: PeriodBill, currency: str) -> Iterator[str]:
    for charge in owed.charges:
        yield charge.explanation
        if charge.kind == "discount":
            yield f"of which {_allocated(charge)}"
    if len(owed.charges) > 1:
        yield f"total {format_amount(owed.total, currency)} {currency}"


def _allocated(discount: Charge) -> str:
    parts = discount.details["allocation"]
    return ", ".join(f"{part['meter'] or 'base fee'} {part['amount']}" for part in parts)
