"""Invoices that were paid, credit notes on them, and where the money then is."""

from billing.credit_notes import To, credit_note
from billing.models import CreditNote, Invoice
from tests.billing.books import balance
from tests.billing.stripe_desk import Desk, status_of
from tests.cast import acme


def credited(desk: Desk, invoice: Invoice, amount: int | None = None, *, to: To = "credit") -> CreditNote:
    return credit_note(invoice, reason="was wrong", amount=amount, to=to, now=desk.now)


def paid(desk: Desk, *amounts: int, card: str = "pm_card_visa") -> Invoice:
    """An invoice that Stripe has charged, as we know."""
    invoice = desk.invoice(desk.acme_with_card(card), *amounts)
    desk.collect()
    desk.deliver()
    assert status_of(invoice) == "paid"
    return invoice


def again(note: CreditNote) -> CreditNote:
    return CreditNote.objects.get(pk=note.pk)


def money() -> dict[str, int]:
    """Debits less credits of Acme's accounts that are not even."""
    kinds = ("receivable", "revenue", "cash", "credit", "refund", "carried")
    return {kind: balance(acme(), kind) for kind in kinds if balance(acme(), kind)}
