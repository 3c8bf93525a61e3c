"""How much of an invoice can be taken back: of each line, of what is due, and of what Stripe has collected?

What a line can give back is what was paid for it: its amount less its share of all that was taken off the invoice,
discounts and promotional credit alike. So the lines together give back what was taxed, and no more. Minor units.
"""

from collections.abc import Sequence

from django.db.models import Sum

from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, InvoiceStatus
from plans.money import smallest_charge
from plans.sharing import share_out

REFUND_FAILED = ("failed", "canceled")
"""How a refund at Stripe ends that does not reach the customer."""


def creditable(invoice: Invoice) -> dict[InvoiceLine, int]:
    """How much each line of an invoice can give back before any credit note; the sum is the subtotal, if positive."""
    lines = list(invoice.lines.all())
    paid_for = net_of_deductions([line.amount for line in lines], unit=smallest_charge(invoice.currency))
    return dict(zip(lines, paid_for, strict=True))


def net_of_deductions(amounts: Sequence[int], *, unit: int = 1) -> list[int]:
    """Positive amounts, lowered in proportion by the negative ones; nothing at all where those are more."""
    charges, deductions = [max(amount, 0) for amount in amounts], sum(min(amount, 0) for amount in amounts)
    if sum(charges) + deductions <= 0:
        return [0] * len(amounts)
    parts = share_out(deductions, charges, unit=unit)
    return [charge + part for charge, part in zip(charges, parts, strict=True)]


def left_to_credit(invoice: Invoice) -> dict[InvoiceLine, int]:
    """How much each line can still give back after the credit notes so far."""
    notes = CreditNoteLine.objects.filter(credit_note__invoice=invoice).values_list("invoice_line")
    credited = dict(notes.annotate(sum=Sum("amount")))
    return {line: amount - credited.get(line.pk, 0) for line, amount in creditable(invoice).items()}


def taken_off_due(invoice: Invoice) -> int:
    """How much credit notes have taken off what was due."""
    return CreditNote.objects.filter(invoice=invoice).aggregate(sum=Sum("off_due"))["sum"] or 0


def still_due(invoice: Invoice) -> int:
    """What is still to be paid of an invoice."""
    return invoice.amount_due - taken_off_due(invoice) if invoice.status == InvoiceStatus.FINALIZED else 0


def refundable(invoice: Invoice) -> int:
    """How much of what was collected for an invoice can still be sent back; what was paid from credit never is."""
    payments = invoice.transfers.filter(key=f"invoice:{invoice.pk}:payment")
    collected: int = payments.aggregate(sum=Sum("amount"))["sum"] or 0
    notes = CreditNote.objects.filter(invoice=invoice).exclude(refund_status__in=REFUND_FAILED)
    return collected - (notes.aggregate(sum=Sum("refunded"))["sum"] or 0)
