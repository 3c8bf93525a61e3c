"""What does an invoice look like on paper? A statement becomes an A4 PDF, the same bytes for the same statement.

The layout is `pdf/invoice.typ`. All that is printed reaches it as one JSON document of finished texts, never as
markup, so no name can become an instruction; nothing is fetched, and no font of the machine changes the picture.
"""

import datetime as dt
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import typst

from billing.invoice_page import page_of
from billing.invoice_statement import InvoiceStatement, check_sums

LAYOUT: Final = Path(__file__).with_name("pdf") / "invoice.typ"
ARCHIVAL: Final = "a-2b"


def invoice_pdf(statement: InvoiceStatement, *, fonts: Path | None = None) -> bytes:
    """The invoice as a PDF/A, or as a plain PDF where a text holds characters that no font at hand can draw.

    `fonts`: a folder with further ones, for scripts that the typesetter's own lack (Chinese, Japanese, Korean, emoji).
    Raises DoesNotAddUp, and UnknownCurrency.
    """
    check_sums(statement)
    try:
        return _typeset(statement, fonts, pdf_standards=[ARCHIVAL])
    except typst.TypstError as error:
        if "PDF/A" not in str(error):
            raise
        return _typeset(statement, fonts, pdf_standards=[])


def _typeset(statement: InvoiceStatement, fonts: Path | None, *, pdf_standards: list[Any]) -> bytes:
    return typst.compile(
        LAYOUT,
        root=LAYOUT.parent,
        font_paths=_fonts(fonts),
        sys_inputs={"statement": json.dumps(page_of(statement))},
        pdf_standards=pdf_standards,
        timestamp=_dated(statement),
    )


@lru_cache
def _fonts(folder: Path | None) -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, font_paths=[folder] if folder else [])


def _dated(statement: InvoiceStatement) -> dt.datetime:
    """The moment written into the file: never that of its making, or equal invoices would differ."""
    if statement.issued_on is not None:
        return dt.datetime.combine(statement.issued_on, dt.time(), dt.UTC)
    return statement.period.ends_at.astimezone(dt.UTC) if statement.period else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
