"""What does an invoice hold? Lines, the sum in its order, tax, and a number that is given once."""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from billing.models.coupons import Redemption
from plans.models import Customer, PlanVersion, Subscription, SubscriptionPhase


class InvoiceKind(models.TextChoices):
    START = "start", "the first base fee, when a subscription begins"
    CHANGE = "change", "what a change within a period does to its base fee"
    CYCLE = "cycle", "the usage of a period that is over, and the base fee of the next"
    ADJUSTMENT = "adjustment", "what changed after the last period of a subscription was invoiced"
    ONE_OFF = "one_off", "what an operator bills beside any subscription"
    TOP_UP = "top_up", "prepaid credit that the customer buys"


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft"
    FINALIZED = "finalized"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Invoice(models.Model):
    """What a customer owes, for a period or once.

    `subtotal` is the sum of the lines, `total` that with tax; both may be negative. Prepaid credit
    (`prepaid_applied`) and what we owe the customer (`credit_applied`) are taken off; `amount_due` remains to be paid.
    All in minor units.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, null=True, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, null=True, related_name="+")
    kind = models.CharField(max_length=10, choices=InvoiceKind)
    ordinal = models.PositiveIntegerField(default=0, help_text="Counts invoices of one kind for one period.")
    status = models.CharField(max_length=13, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    number = models.CharField(max_length=32, unique=True, null=True)  # noqa: DJ001 - drafts have no number
    currency = models.CharField(max_length=3)
    period_index = models.IntegerField(null=True)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    counted_at = models.DateTimeField(help_text="When the usage on it was counted.")
    subtotal = models.BigIntegerField(default=0)
    tax = models.BigIntegerField(null=True, help_text="NULL: not computed yet.")
    tax_name = models.CharField(max_length=50, blank=True)
    tax_percent = models.DecimalField(max_digits=7, decimal_places=4, null=True)
    tax_inclusive = models.BooleanField(default=False)
    tax_reference = models.CharField(max_length=255, blank=True, help_text="Stripe's calculation, where it taxes.")
    total = models.BigIntegerField(default=0)
    prepaid_applied = models.BigIntegerField(default=0)
    credit_applied = models.BigIntegerField(default=0)
    amount_due = models.BigIntegerField(default=0)
    reissue_of = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reissued_as")
    void_reason = models.TextField(blank=True)
    created_at = models.DateTimeField()
    finalize_at = models.DateTimeField(
        null=True, help_text="Of a draft that waits for Stripe to tax it: when to try (again) to finalize it."
    )
    finalized_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "period_index", "kind", "ordinal"], name="invoice_once_a_period"
            ),
            models.CheckConstraint(
                condition=Q(status="draft") | Q(number__isnull=False, finalized_at__isnull=False, tax__isnull=False),
                name="invoice_finalized_with_number_and_tax",
            ),
            models.CheckConstraint(
                condition=Q(status="draft")
                | Q(tax_inclusive=True, total=F("subtotal"))
                | Q(tax_inclusive=False, total=F("subtotal") + F("tax")),
                name="invoice_total_is_subtotal_and_tax",
            ),
            models.CheckConstraint(
                condition=Q(status="draft")
                | Q(prepaid_applied=0, credit_applied=0, amount_due=0, total__lte=0)
                | Q(
                    prepaid_applied__gte=0,
                    credit_applied__gte=0,
                    amount_due__gte=0,
                    total=F("prepaid_applied") + F("credit_applied") + F("amount_due"),
                ),
                name="invoice_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["one_off", "top_up"],
                    subscription__isnull=True,
                    plan_version__isnull=True,
                    period_index__isnull=True,
                )
                | ~Q(kind__in=["one_off", "top_up"])
                & Q(subscription__isnull=False, plan_version__isnull=False, period_index__isnull=False),
                name="invoice_of_a_subscription_or_none",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "id"], name="invoice_by_customer"),
            models.Index(fields=["finalize_at"], name="invoice_to_be_finalized", condition=Q(status="draft")),
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.id}"


class LineKind(models.TextChoices):
    BASE_FEE = "base_fee"
    PRORATION = "proration"
    USAGE = "usage"
    ADJUSTMENT = "adjustment"
    ONE_OFF = "one_off"
    DISCOUNT = "discount"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    CREDIT = "credit", "promotional credit"


PERIODIC_KINDS = (
    LineKind.BASE_FEE,
    LineKind.PRORATION,
    LineKind.USAGE,
    LineKind.ADJUSTMENT,
    LineKind.DISCOUNT,
    LineKind.MINIMUM,
    LineKind.MAXIMUM,
)
"""Lines with a period (`period_index`) bill what that period comes to; those without are an operator's own."""


class InvoiceLine(models.Model):
    """One amount on an invoice, rounded once; `details` lets a person redo the sum with a pencil.

    With a `period_index` it is part of what that period of `subscription` comes to, under the agreement of `phase`
    where it is about one; without, it was added by hand or is credit.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, null=True, related_name="+")
    phase = models.ForeignKey(SubscriptionPhase, on_delete=models.PROTECT, null=True, related_name="+")
    redemption = models.ForeignKey(Redemption, on_delete=models.PROTECT, null=True, related_name="+")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=LineKind)
    tier = models.CharField(max_length=64, blank=True)
    description = models.TextField()
    quantity = models.BigIntegerField()
    unit_amount = models.DecimalField(max_digits=25, decimal_places=12, null=True)
    amount = models.BigIntegerField()
    period_index = models.IntegerField(null=True, help_text="The period of `subscription` that the amount is for.")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once"),
            models.CheckConstraint(
                condition=Q(subscription__isnull=True, period_index__isnull=True)
                | Q(subscription__isnull=False, period_index__isnull=False),
                name="invoice_line_of_a_period_or_none",
            ),
        ]
        indexes = [models.Index(fields=["subscription", "period_index"], name="invoice_line_by_period")]

    def __str__(self) -> str:
        return self.description


class InvoiceSequence(models.Model):
    """The last number given under a prefix; its row is locked from the giving to the commit, so none is lost."""

    prefix = models.CharField(max_length=16, primary_key=True)
    last = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.prefix}{self.last}"
