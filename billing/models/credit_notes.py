"""What was taken back of a finalized invoice? Credit notes, and where the money went."""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from billing.models.invoices import Invoice, InvoiceLine
from plans.models import Customer


class CreditNote(models.Model):
    """A correction of an invoice; `total` is `net` and `tax` (contained in it where the invoice's tax is).

    It goes off what is still due (`off_due`), back to the customer by Stripe (`refunded`), or to its credit balance
    (`credited`). Frozen but for the state of its work at Stripe.
    """

    class State(models.TextChoices):
        DUE = "due", "something is to be done at Stripe"
        SENT = "sent", "Stripe is refunding"
        PARKED = "parked", "Stripe says no; somebody has to look"
        DONE = "done"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    number = models.CharField(max_length=40, unique=True)
    reason = models.TextField()
    currency = models.CharField(max_length=3)
    net = models.BigIntegerField()
    tax = models.BigIntegerField()
    total = models.BigIntegerField()
    off_due = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    credited = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    state = models.CharField(max_length=6, choices=State, default=State.DONE)
    stripe_id = models.CharField(max_length=255, blank=True)
    refund_id = models.CharField(max_length=255, blank=True)
    refund_status = models.CharField(max_length=20, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    total__gt=0,
                    off_due__gte=0,
                    refunded__gte=0,
                    credited__gte=0,
                    total=F("off_due") + F("refunded") + F("credited"),
                ),
                name="credit_note_goes_somewhere",
            ),
        ]
        indexes = [
            models.Index(fields=["not_before"], name="credit_note_due", condition=Q(state__in=["due", "sent"])),
            models.Index(fields=["customer", "id"], name="credit_note_by_customer"),
        ]

    def __str__(self) -> str:
        return self.number


class CreditNoteLine(models.Model):
    """How much of one invoice line is taken back, net of tax, in minor units."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    credit_note = models.ForeignKey(CreditNote, on_delete=models.CASCADE, related_name="lines")
    invoice_line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="credit_note_lines")
    amount = models.BigIntegerField()
    tax = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["credit_note", "invoice_line"], name="credit_note_line_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="credit_note_line_takes_something"),
        ]

    def __str__(self) -> str:
        return f"{self.credit_note}: {self.invoice_line}"
