"""How do invoices, drafts and credit notes read in a story, and which of them are news?

Whatever is new or has changed is shown, line by line, and what the wallet and the credit balance hold where that has
changed. A document of one line is a line; what is left out is a total that is that of the only line, and "due" where
nothing is, or all.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from billing import wallets
from billing.models import CreditNote, Invoice
from plans.models import Customer
from plans.money import format_amount
from tests.docs.page import matched

WIDTH = 88


class Documents:
    """Those of one customer, and what has been shown of them."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.shown = {"wallet": [self._row("wallet", 0)], "credit": [self._row("credit balance", 0)]}

    def news(self, now: dt.datetime) -> Iterator[str]:
        """What is new, or looks otherwise than before."""
        wallet = wallets.balance(self.customer, at=now)
        found: dict[str, list[str]] = {}
        for invoice in Invoice.objects.order_by("created_at", "number", "id"):
            found[str(invoice.pk)] = list(self._printed(invoice))
        for note in CreditNote.objects.order_by("id"):
            found[str(note.pk)] = list(self._note(note))
        found["wallet"] = [self._row("wallet", wallet.usable)]
        found["credit"] = [self._row("credit balance", wallet.credit)]
        before, self.shown = self.shown, found
        for key, rows in found.items():
            if before.get(key) != rows:
                yield from self._told(rows, before.get(key, []), list(before.values()))

    def _told(self, rows: list[str], earlier: list[str], others: list[list[str]]) -> list[str]:
        """Rows as they are shown: of a draft that was edited what is new; and nothing twice that stands above."""
        if rows[1:] and any(rows[1:] == other[1:] for other in others):
            return [f"{rows[0]}, as above"]
        if len(rows) == 2:
            return [self._join(*rows)]
        return [row for row in rows if row == rows[0] or row not in earlier] if "draft" in rows[0] else rows

    def _join(self, heading: str, row: str) -> str:
        """A document of one line is a line."""
        words, amount = matched(r" *(.+?)  +(\S+)", row)
        joined = f"{heading.strip()}: {words}"
        return f"  {joined}{amount:>{max(WIDTH - len(joined), len(amount) + 2)}}"

    def _printed(self, invoice: Invoice) -> Iterator[str]:
        number = int((invoice.number or "0").rpartition("-")[2])
        heading = f"invoice {number}, {invoice.kind}" if number else f"draft, {invoice.kind}"
        if invoice.status == "void":
            yield f"  {heading}, void"
            return
        yield f"  {heading}"
        for line in invoice.lines.all():
            yield self._row(f"  {line.description}", line.amount)
        if invoice.tax:
            yield self._row("  subtotal", invoice.subtotal)
            contained = "contained " if invoice.tax_inclusive else ""
            yield self._row(
                f"  {contained}{invoice.tax_name} {(invoice.tax_percent or Decimal(0)).normalize():f}%", invoice.tax
            )
        if invoice.tax or invoice.lines.count() > 1:
            yield self._row("  total", invoice.total)
        applied = {"from the wallet": invoice.prepaid_applied, "from the credit balance": invoice.credit_applied}
        for name, amount in applied.items():
            if amount:
                yield self._row(f"  {name}", amount)
        if number and invoice.amount_due not in (invoice.total, 0):
            yield self._row("  due", invoice.amount_due)

    def _note(self, note: CreditNote) -> Iterator[str]:
        of = int((note.invoice.number or "").rpartition("-")[2])
        yield f"  credit note {int(note.number.rpartition('-')[2])} to invoice {of}"
        for line in note.lines.select_related("invoice_line").order_by("invoice_line__position"):
            yield self._row(f"  {line.invoice_line.description}", line.amount)
        if note.tax:
            yield self._row("  tax", note.tax)
        ways = {"off what is due": note.off_due, "refunded": note.refunded, "to the credit balance": note.credited}
        for name, amount in ways.items():
            if amount:
                total = "total, " if amount == note.total else ""
                yield self._row(f"  {total}{name}", amount)

    def _row(self, words: str, amount: int) -> str:
        money = format_amount(amount, "USD")
        return f"  {words}{money:>{max(WIDTH - len(words), len(money) + 2)}}"
