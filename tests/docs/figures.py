"""What do the blocks about single rules say? Each function takes a block and returns it as it should read."""

import ast
import datetime as dt
import itertools
import operator
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from functools import partial

from plans.burning import Purse, draw
from plans.calendar import Anchor, Period, boundary, time_zone
from plans.meters import meter_of, meters_of
from plans.money import format_amount, round_half_away, smallest_charge, to_minor
from plans.proration import prorate
from plans.sharing import share_out
from plans.taxing import Tax, gross_of, refund_tax, tax_on
from plans.terms_reading import parse_terms
from tests.docs.page import MONEY, Block, agreed, arrows, instant, matched, minor

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def rounding(block: Block) -> list[str]:
    def rounded(question: str) -> str:
        exact, currency = matched(r"(\S+) ([A-Z]{3})", question)
        return format_amount(to_minor(Decimal(exact), currency), currency)

    return list(arrows(block.lines, rounded))


def periods(block: Block) -> list[str]:
    """Anchors, each followed by some of the periods that hang on it: their indexes, and when they begin."""
    told: list[str] = []
    for line in block.lines:
        if line.startswith("every "):
            interval, start, zone = matched(r"every (\w+) from (\S+) in (\S+)", line)
            anchor = Anchor(dt.datetime.fromisoformat(start), zone)
            told.append(line)
        else:
            index, _ = matched(r"(\d+) (\S+)", line)
            begun = boundary(anchor, interval, int(index)).astimezone(time_zone(zone))
            told.append(f"{index} {begun.isoformat(timespec='minutes').replace('+00:00', 'Z')}")
    return told


def share(block: Block) -> list[str]:
    amount, currency, start, end = matched(r"(\S+) ([A-Z]{3}) for (\S+) to (\S+)", block.lines[0])

    def falls_on(question: str) -> str:
        begin, until = matched(r"(\S+) to (\S+)", question)
        part = prorate(Decimal(amount), _span(begin, until), _span(start, end))
        return format_amount(to_minor(part, currency), currency)

    return [block.lines[0], *arrows(block.lines[1:], falls_on)]


def counting(block: Block) -> list[str]:
    """By which meter a conversation of a tier counts that settles at an instant, with an outcome."""
    raw, length = agreed(block)
    (zone,) = matched(r"in (\S+)", block.lines[length])
    meters = meters_of(parse_terms(raw), zone)

    def counts_as(question: str) -> str:
        at, tier, outcome = matched(r"(\S+) (\w+)(?:, (\w+))?", question)
        return meter_of(meters, tier, outcome, instant(at)) or "not counted"

    return [*block.lines[: length + 1], *arrows(block.lines[length + 1 :], counts_as)]


def tax(block: Block) -> list[str]:
    def taxed(question: str) -> str:
        amount, currency, percent, how = matched(rf"({MONEY}) ([A-Z]{{3}}), ({MONEY})% (added|contained)", question)
        rule, net = Tax("VAT", Decimal(percent), how == "contained"), minor(amount, currency)
        on, to_pay = tax_on(rule, net, currency), gross_of(rule, net, currency)
        return f"tax {format_amount(on, currency)}, to pay {format_amount(to_pay, currency)}"

    return list(arrows(block.lines, taxed))


def tax_back(block: Block) -> list[str]:
    """The tax that credit notes of these amounts give back, one after the other."""

    def given_back(question: str) -> str:
        whole, net, listed = matched(rf"({MONEY}) of tax on ({MONEY}) USD, notes of (.+)", question)
        notes, taxes = [minor(note) for note in listed.split(" and ")], list[int]()
        for already, note in zip(itertools.accumulate(notes, initial=0), notes, strict=False):
            rest = {"refunded_net": note, "already_net": already, "already_tax": sum(taxes), "currency": "USD"}
            taxes.append(refund_tax(total_tax=minor(whole), total_net=minor(net), **rest))  # type: ignore[arg-type]
        return " and ".join(format_amount(each, "USD") for each in taxes)

    return list(arrows(block.lines, given_back))


def division(block: Block) -> list[str]:
    def divided(question: str) -> str:
        amount, currency, listed = matched(rf"({MONEY}) ([A-Z]{{3}}) over (.+)", question)
        weights = [minor(weight, currency) for weight in listed.split(", ")]
        parts = share_out(minor(amount, currency), weights, unit=smallest_charge(currency))
        return ", ".join(format_amount(part, currency) for part in parts)

    return list(arrows(block.lines, divided))


def burning(block: Block) -> list[str]:
    """Grants in any order, each with what it gives to the invoice of the first line."""
    amount, percent = matched(rf"invoice of ({MONEY}) USD, ({MONEY})% tax added", block.lines[0])
    gross = partial(gross_of, Tax("VAT", Decimal(percent)), currency="USD")
    grants = [line.rpartition(" -> ")[0] for line in block.lines[1:-1]]
    purses = [_purse(age, grant) for age, grant in enumerate(grants)]
    draws = draw(purses, minor(amount), lambda net: gross(amount=net))
    given = {drawn.purse.id.int: (place + 1, drawn.amount) for place, drawn in enumerate(draws)}
    told = [
        f"{grant} -> " + ("nothing" if age not in given else f"{given[age][0]}. {format_amount(given[age][1], 'USD')}")
        for age, grant in enumerate(grants)
    ]
    lowered = minor(amount) - sum(each.amount for each in draws if each.purse.promotional)
    due = gross(amount=lowered) - sum(each.amount for each in draws if not each.purse.promotional)
    return [block.lines[0], *told, f"due {format_amount(due, 'USD')}"]


def _purse(age: int, grant: str) -> Purse:
    kind, balance, priority, expiry = matched(
        rf"(promotional|prepaid) ({MONEY}), priority (\d+), (?:until (\S+)|for ever)", grant
    )
    return Purse(
        id=uuid.UUID(int=age),
        balance=minor(balance),
        priority=int(priority),
        expires_at=instant(expiry) if expiry else None,
        promotional=kind == "promotional",
        created_at=instant("2026-11-01") + dt.timedelta(seconds=age),
    )


def equation(line: str) -> str:
    """ "49.00 x 15 / 30 = 24.50": the right side worked out anew; it may be "rounded", or "rounded up" or "down"."""
    left, right, rounded = matched(rf"(.+) = ({MONEY})( rounded(?: up| down)?)?", line)
    exact = _value(ast.parse(re.sub(r"(?<=\d),(?=\d{3})", "", left).replace(" x ", " * "), mode="eval").body)
    decimals = len(right.partition(".")[2])
    if rounded in (" rounded up", " rounded down"):
        result = Decimal(-(-exact.numerator // exact.denominator) if rounded.endswith("up") else int(exact))
    else:
        result = round_half_away(Decimal(exact.numerator) / exact.denominator, decimals)
        assert rounded or result == exact, f"{line!r} is rounded, and does not say so"
    return f"{left} = {result:,.{decimals}f}{rounded or ''}"


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return Fraction(ast.unparse(node))
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.BinOp() if type(node.op) in OPERATORS:
            return Fraction(OPERATORS[type(node.op)](_value(node.left), _value(node.right)))
    raise AssertionError(f"not understood: {ast.unparse(node)!r}")


def _span(start: str, end: str) -> Period:
    return Period(0, instant(start), instant(end))
