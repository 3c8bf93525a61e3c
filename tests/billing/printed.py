"""Acme's invoice on paper: a statement to change for a case, and the text that can be read off a PDF."""

import datetime as dt
import io
from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pypdf

from billing.invoice_pdf import invoice_pdf
from billing.invoice_statement import InvoiceStatement, Party, Span, StatementLine, StatementTax, TierUsage

BERLIN = ZoneInfo("Europe/Berlin")
NOVEMBER = Span(dt.datetime(2026, 11, 1, tzinfo=BERLIN), dt.datetime(2026, 12, 1, tzinfo=BERLIN))
DECEMBER = Span(dt.datetime(2026, 12, 1, tzinfo=BERLIN), dt.datetime(2027, 1, 1, tzinfo=BERLIN))
SELLER = Party(
    name="Parley Systems GmbH",
    address=("Ritterstraße 12", "10969 Berlin"),
    country="Germany",
    tax_id="DE123456789",
    email="billing@parley.example",
)
ACME = Party(
    name="Acme Inc.",
    address=("1 Market Street", "75002 Paris"),
    country="France",
    tax_id="FR12345678901",
    email="ap@acme.example",
    key="acme",
)
FEE = StatementLine(
    kind="base_fee", description="Growth, base fee", amount=4900, quantity=1, unit_amount=Decimal("49"), period=DECEMBER
)
USAGE = StatementLine(
    kind="usage",
    description="simple conversations: 1,000 included",
    amount=1600,
    quantity=1800,
    unit_amount=Decimal("0.02"),
    period=NOVEMBER,
)
SIMPLE = TierUsage(
    tier="simple",
    conversations=1800,
    turns=3122,
    included=1000,
    overage=800,
    input_tokens=1_843_221,
    cache_read_tokens=612_000,
    output_tokens=401_222,
    amount=1600,
)
INVOICE = InvoiceStatement(
    seller=SELLER,
    buyer=ACME,
    number="INV-000002",
    status="finalized",
    currency="EUR",
    lines=(FEE, USAGE),
    subtotal=6500,
    tax=StatementTax(name="VAT", percent=Decimal("19.0000"), amount=1235),
    total=7735,
    prepaid_applied=1000,
    amount_due=6735,
    issued_on=dt.date(2026, 12, 1),
    due_on=dt.date(2026, 12, 15),
    period=NOVEMBER,
    usage=(SIMPLE,),
    payment_url="https://pay.parley.example/i/INV-000002",
    notes=("Thank you for your business.",),
)


def with_lines(*lines: StatementLine, **changes: Any) -> InvoiceStatement:
    """Acme's invoice with other lines, untaxed, all of it due."""
    total = sum(line.amount for line in lines)
    usual = {"total": total, "tax": None, "prepaid_applied": 0, "amount_due": max(total, 0)}
    return replace(INVOICE, lines=lines, subtotal=total, **{**usual, **changes})


def read(statement: InvoiceStatement) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(invoice_pdf(statement)))


def printed(statement: InvoiceStatement) -> str:
    """Everything that can be read off the paper, page after page."""
    return "\n".join(page.extract_text() for page in read(statement).pages)


def laid_out(statement: InvoiceStatement) -> list[str]:
    """The printed lines, with columns under each other."""
    text = "\n".join(page.extract_text(extraction_mode="layout") for page in read(statement).pages)
    return [line for line in text.split("\n") if line.strip()]
