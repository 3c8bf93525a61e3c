"""What is written on an invoice? A statement becomes finished texts, in the order and under the names of the layout."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any, Final

from billing.invoice_statement import InvoiceStatement, Party, Span, StatementLine
from plans.money import format_amount, format_price

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
BADGES: Final = {"draft": "#5d6878", "paid": "#1f7a4d", "void": "#a33a2c", "uncollectible": "#a33a2c"}
USAGE_COLUMNS: Final = {
    "tier": "Tier",
    "conversations": "Conversations",
    "turns": "Turns",
    "included": "Included",
    "overage": "Overage",
    "input_tokens": "Input tokens",
    "cache_read_tokens": "Cache read",
    "cache_write_tokens": "Cache write",
    "output_tokens": "Output tokens",
    "amount": "Amount",
}
UNKNOWN: Final = "\N{EN DASH}"
DIRECTIONS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the writing direction of what follows; a name must not turn an amount."""
UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff0-\ufffb\ufffe\uffff]")
LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def page_of(statement: InvoiceStatement) -> dict[str, Any]:
    """All texts, by the names under which `pdf/invoice.typ` looks for them. Raises UnknownCurrency."""
    heading = "Credit note" if statement.corrects else "Invoice"
    badges = BADGES.keys() & {"draft", "void"} if statement.corrects else BADGES.keys()
    name = _clean(statement.number) or f"Draft {heading.lower()}"
    owed = statement.amount_due > 0 and statement.status in ("finalized", "uncollectible")
    url = _clean(statement.payment_url) if owed else ""
    return {
        "heading": heading,
        "name": name,
        "title": f"{heading} {name}" if statement.number else name,
        "keywords": [_clean(text) for text in (statement.buyer.name, statement.currency) if text],
        "badge": statement.status if statement.status in badges else "",
        "badge_fill": BADGES.get(statement.status, ""),
        "watermark": statement.status.upper() if statement.status in ("draft", "void") else "",
        "seller": _party(statement.seller),
        "buyer": _party(statement.buyer),
        "imprint": " · ".join(_imprint(statement.seller)),
        "facts": [[label, value] for label, value in _facts(statement, heading) if value],
        "ask": _ask(statement),
        "payment_url": url,
        "payable": url.startswith(("https://", "http://")),
        "currency": statement.currency,
        "lines": [_line(line, statement.currency) for line in statement.lines],
        "totals": [{"name": n, "amount": a, "strong": s} for n, a, s in _totals(statement)],
        "tax_note": _tax_note(statement),
        "usage": _usage(statement),
        "notes": [_clean(note) for note in statement.notes],
    }


def _party(party: Party) -> dict[str, Any]:
    told = [*party.address, party.country, party.email, f"Tax ID {party.tax_id}" if party.tax_id else ""]
    return {"name": _clean(party.name), "lines": [_clean(line) for line in told]}


def _imprint(seller: Party) -> list[str]:
    told = (seller.name, *seller.address, seller.country, seller.tax_id and f"Tax ID {seller.tax_id}", seller.email)
    return [_clean(text) for text in told if text]


def _facts(statement: InvoiceStatement, heading: str) -> list[tuple[str, str]]:
    return [
        (f"{heading} number", _clean(statement.number)),
        ("Corrects invoice", _clean(statement.corrects)),
        ("Date of issue", _day(statement.issued_on)),
        ("Due date", _day(statement.due_on)),
        ("Date of payment", _day(statement.paid_on)),
        ("Billing period", _span(statement.period)),
        ("Customer", _clean(statement.buyer.key)),
    ]


def _ask(statement: InvoiceStatement) -> str:
    """The sentence that the reader looks for first."""
    if statement.status in ("draft", "void"):
        return ""
    if statement.corrects:
        return f"{statement.currency} {_money(statement.total, statement.currency)} credited"
    if not statement.amount_due:
        return "Nothing to pay"
    due = f"{statement.currency} {_money(statement.amount_due, statement.currency)}"
    if statement.status == "paid":
        return f"{due} paid" + (f" on {_day(statement.paid_on)}" if statement.paid_on else "")
    return f"{due} due" + (f" on {_day(statement.due_on)}" if statement.due_on else "")


def _line(line: StatementLine, currency: str) -> dict[str, str]:
    return {
        "description": _clean(line.description),
        "period": _span(line.period),
        "quantity": "" if line.quantity is None else _number(str(line.quantity)),
        "unit_amount": "" if line.unit_amount is None else _number(format_price(line.unit_amount, currency)),
        "amount": _money(line.amount, currency),
    }


def _totals(statement: InvoiceStatement) -> list[tuple[str, str, bool]]:
    """Name, amount, and whether it is one of the sums that matter."""
    tax, rate = statement.tax, _rate(statement)
    on_top = tax is not None and rate and not tax.inclusive
    rows = [("Subtotal without tax" if on_top else "Subtotal", statement.subtotal, False)]
    if tax is not None and on_top:
        rows.append((f"{rate} on {_money(statement.subtotal, statement.currency)}", tax.amount, False))
    rows.append(("Total with tax" if rate else "Total", statement.total, True))
    if tax is not None and rate and tax.inclusive:
        rows += [(f"of which {rate}", tax.amount, False), ("of which net", statement.total - tax.amount, False)]
    rows += _settlement(statement)
    return [(name, _money(amount, statement.currency), strong) for name, amount, strong in rows]


def _rate(statement: InvoiceStatement) -> str:
    """ "VAT 19 %", or nothing where nothing is to be said of tax."""
    tax = statement.tax
    if tax is None or not (tax.name or tax.amount):
        return ""
    percent = "" if tax.percent is None else f" {tax.percent.normalize():f} %"
    return (_clean(tax.name) or "Tax") + percent


def _settlement(statement: InvoiceStatement) -> list[tuple[str, int, bool]]:
    if statement.status == "draft":
        return []
    if statement.corrects:
        back = (
            ("Taken off what was due", statement.off_due),
            ("Refunded", statement.refunded),
            ("Added to your credit balance", statement.credited),
        )
        return [(name, amount, False) for name, amount in back if amount]
    if statement.total < 0:
        return [("Added to your credit balance", -statement.total, False), ("Amount due", 0, True)]
    used = (("Prepaid credit", -statement.prepaid_applied), ("Credit balance", -statement.credit_applied))
    rows = [(name, amount, False) for name, amount in used if amount]
    rows.append(("Amount due", statement.amount_due, True))
    if statement.status == "paid" and statement.amount_due:
        rows += [("Paid", -statement.amount_due, False), ("Left to pay", 0, True)]
    return rows


def _tax_note(statement: InvoiceStatement) -> str:
    if statement.tax is None:
        return "Tax is computed when the invoice is issued." if statement.status == "draft" else ""
    return _clean(statement.tax.note)


def _usage(statement: InvoiceStatement) -> dict[str, Any]:
    columns = [name for name in USAGE_COLUMNS if any(getattr(row, name) is not None for row in statement.usage)]
    return {
        "columns": [USAGE_COLUMNS[name] for name in columns],
        "tokens": [place for place, name in enumerate(columns) if name.endswith("_tokens")],
        "rows": [[_cell(name, getattr(row, name), statement.currency) for name in columns] for row in statement.usage],
    }


def _cell(name: str, value: str | int | None, currency: str) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return _clean(value)
    return _money(value, currency) if name == "amount" else _number(str(value))


# Numbers, days and names


def _money(minor: int, currency: str) -> str:
    return _number(format_amount(minor, currency))


def _number(plain: str) -> str:
    """Digits in groups of three, and a minus sign as wide as a digit: -1234.50 is −1,234.50."""
    return f"{Decimal(plain):,f}".replace("-", "\N{MINUS SIGN}")


def _day(day: dt.date | None) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}" if day else ""


def _span(span: Span | None) -> str:
    """Whole days from the first to the last, or moments with their zone."""
    if span is None:
        return ""
    moments = (span.starts_at, span.ends_at)
    if any(moment.time() != dt.time() for moment in moments):
        starts, ends = (f"{_short(moment)} {moment:%H:%M}" for moment in moments)
        return f"{starts} \N{EN DASH} {ends} ({span.starts_at.tzinfo})"
    last = span.ends_at.date() - dt.timedelta(days=1)
    first = _short(span.starts_at)
    if last <= span.starts_at.date():
        return first
    if last.year == span.starts_at.year:
        first = first.removesuffix(f" {last.year}")
    return f"{first} \N{EN DASH} {_short(last)}"


def _short(day: dt.date) -> str:
    return f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}"


def _clean(text: str) -> str:
    """The text on one line, without what cannot be printed or would turn what stands beside it."""
    text = LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", DIRECTIONS.sub("", text))
    return " ".join(UNPRINTABLE.sub(" ", text).split())
