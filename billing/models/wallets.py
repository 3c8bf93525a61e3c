"""Which credit has a customer in its wallet? Grants, prepaid or promotional, and the rule that tops them up.

How much is left of a grant is the balance of its ledger account.
"""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from billing.models.invoices import Invoice
from plans.models import Customer


class GrantKind(models.TextChoices):
    PAID = "paid", "the customer has paid for it; taken off after tax"
    PROMOTIONAL = "promotional", "a present; taken off before tax"


class Grant(models.Model):
    """Credit given once: `amount` (minor units), usable from `effective_at` until `expires_at`.

    One bought with an invoice is usable once that is paid (`usable_at`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=11, choices=GrantKind)
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    priority = models.PositiveSmallIntegerField(default=50, help_text="0 to 100; lower is used first.")
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, null=True, related_name="grant")
    automatic = models.BooleanField(default=False, help_text="Bought by the customer's top-up rule.")
    usable_at = models.DateTimeField(null=True, help_text="NULL: its invoice is not paid yet.")
    expired_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="grant_gives_something"),
            models.CheckConstraint(condition=Q(priority__lte=100), name="grant_priority_up_to_100"),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("effective_at")),
                name="grant_expires_after_it_begins",
            ),
            models.CheckConstraint(
                condition=Q(kind="paid") | Q(invoice__isnull=True), name="promotional_grant_is_not_sold"
            ),
        ]
        indexes = [models.Index(fields=["customer", "id"], name="grant_by_customer")]

    def __str__(self) -> str:
        return self.name


class TopUpRule(models.Model):
    """When what is available falls below `below`, buy so much that it is `up_to` again (minor units)."""

    customer = models.OneToOneField(Customer, on_delete=models.PROTECT, primary_key=True, related_name="+")
    below = models.BigIntegerField()
    up_to = models.BigIntegerField()
    cool_off = models.DurationField(help_text="The least time between two purchases.")
    last_tried_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(below__gt=0, up_to__gt=F("below")), name="top_up_reaches_above_below")
        ]

    def __str__(self) -> str:
        return f"top-up of {self.customer}"
