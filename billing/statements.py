"""Which conversations are behind an invoice? As rows for a spreadsheet, streamed, however many they are."""

from collections.abc import Iterator
from typing import Any

from billing.models import Invoice, InvoiceKind
from metering.models import Conversation

CHUNK = 2_000
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def conversations_on(invoice: Invoice) -> Iterator[list[Any]]:
    """Each conversation counted for the invoice's period as it stands today, in settling order."""
    if invoice.kind != InvoiceKind.CYCLE:
        return
    rows = Conversation.objects.filter(
        customer=invoice.customer_id, settled_at__gte=invoice.period_start, settled_at__lt=invoice.period_end
    )
    for row in rows.order_by("settled_at", "id").iterator(chunk_size=CHUNK):
        assert row.settled_at is not None
        yield [
            row.reference,
            row.ordinal,
            row.tier,
            row.turns,
            row.counted_tokens,
            row.opened_at.isoformat(),
            row.settled_at.isoformat(),
            row.id,
        ]


def spreadsheet_safe(cell: Any) -> Any:
    """Text that a spreadsheet would run as a formula, disarmed with an apostrophe; numbers stay numbers."""
    if isinstance(cell, str) and cell.lstrip(" '\"").startswith(DANGEROUS) and not _is_number(cell):
        return f"'{cell}"
    return cell


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
