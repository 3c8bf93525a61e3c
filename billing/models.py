"""What is owed: invoices, the ledger they are posted to, and the work of collecting them through Stripe.

Amounts are integers in the currency's minor units. Finalized invoices, their lines, and transfers are frozen by
triggers (migration 0002); accounts only ever grow on either side.
"""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from plans.models import Customer, PlanVersion, Subscription


class BillingSchedule(models.Model):
    """When a subscription is to be billed next: for its start (`next_period` -1) or once period `next_period` ended."""

    subscription = models.OneToOneField(Subscription, on_delete=models.PROTECT, primary_key=True, related_name="+")
    next_period = models.IntegerField()
    due_at = models.DateTimeField(null=True, help_text="NULL: the subscription has ended and is billed to its end.")
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, help_text="After a failure: when to try again.")
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="billing_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.subscription_id} period {self.next_period}"


class InvoiceKind(models.TextChoices):
    START = "start", "the first base fee, when a subscription begins"
    CYCLE = "cycle", "the usage of a period that is over, and the base fee of the next"
    ADJUSTMENT = "adjustment", "what changed after the last period of a subscription was invoiced"


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft"
    FINALIZED = "finalized"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Invoice(models.Model):
    """What a customer owes for a period.

    `total` is the sum of the lines and may be negative; `credit_applied` is taken from what we owe the customer;
    `amount_due` is what remains to be paid.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=InvoiceKind)
    status = models.CharField(max_length=13, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    number = models.CharField(max_length=32, unique=True, null=True)  # noqa: DJ001 - drafts have no number
    currency = models.CharField(max_length=3)
    period_index = models.IntegerField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    counted_at = models.DateTimeField(help_text="When the usage on it was counted.")
    total = models.BigIntegerField(default=0)
    credit_applied = models.BigIntegerField(default=0)
    amount_due = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    finalized_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subscription", "period_index", "kind"], name="invoice_once_a_period"),
            models.CheckConstraint(
                condition=Q(status="draft") | Q(number__isnull=False, finalized_at__isnull=False),
                name="invoice_finalized_with_number",
            ),
            models.CheckConstraint(
                condition=Q(credit_applied=0, amount_due=0, total__lte=0)
                | Q(credit_applied__gte=0, amount_due__gte=0, total=F("credit_applied") + F("amount_due"))
                | Q(status="draft"),
                name="invoice_adds_up",
            ),
        ]
        indexes = [models.Index(fields=["customer", "id"], name="invoice_by_customer")]

    def __str__(self) -> str:
        return self.number or f"draft {self.id}"


class LineKind(models.TextChoices):
    BASE_FEE = "base_fee"
    USAGE = "usage"
    ADJUSTMENT = "adjustment"
    PRORATION = "proration"
    MINIMUM = "minimum"
    DISCOUNT = "discount"
    ONE_OFF = "one_off"
    CREDIT = "credit"


class InvoiceLine(models.Model):
    """One amount on an invoice, rounded once; `details` lets a person redo the sum with a pencil."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=LineKind)
    tier = models.CharField(max_length=64, blank=True)
    description = models.TextField()
    quantity = models.BigIntegerField()
    unit_amount = models.DecimalField(max_digits=25, decimal_places=12, null=True)
    amount = models.BigIntegerField()
    period_index = models.IntegerField(help_text="The period of `subscription` that the amount is for.")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once")]

    def __str__(self) -> str:
        return self.description


class InvoiceSequence(models.Model):
    """The last invoice number given; its row is locked from the giving to the commit, so that no number is lost."""

    prefix = models.CharField(max_length=16, primary_key=True)
    last = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.prefix}{self.last}"


class AccountKind(models.TextChoices):
    RECEIVABLE = "receivable", "what the customer owes us"
    REVENUE = "revenue", "what we have earned from the customer"
    CASH = "cash", "what Stripe has collected from the customer"
    CREDIT = "credit", "what we owe the customer"
    CARRIED = "carried", "what Stripe has carried over to the customer's next invoice there"
    BAD_DEBT = "bad_debt", "what the customer will never pay"


class Account(models.Model):
    """One account of the ledger; its balance is the difference of everything ever debited and credited."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=AccountKind)
    currency = models.CharField(max_length=3)
    debits = models.BigIntegerField(default=0)
    credits = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["customer", "kind", "currency"], name="account_once"),
            models.CheckConstraint(
                condition=~Q(kind="credit") | Q(credits__gte=F("debits")), name="account_credit_never_overdrawn"
            ),
            models.CheckConstraint(
                condition=~Q(kind="receivable") | Q(debits__gte=F("credits")), name="account_never_overpaid"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.currency} of {self.customer_id}"


class Transfer(models.Model):
    """Money moved once from the credited to the debited account; `key` names the reason and makes a retry harmless."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=200, unique=True)
    debit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="debit_transfers")
    credit = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credit_transfers")
    amount = models.BigIntegerField()
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="transfers")
    posted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_moves_something"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="transfer_has_two_sides"),
        ]

    def __str__(self) -> str:
        return self.key


class StripeCustomer(models.Model):
    """Our customer's counterpart at Stripe."""

    customer = models.OneToOneField(Customer, on_delete=models.PROTECT, primary_key=True, related_name="+")
    stripe_id = models.CharField(max_length=255, unique=True)

    def __str__(self) -> str:
        return self.stripe_id


class Collection(models.Model):
    """The work of bringing a finalized invoice to Stripe and home again as paid (or void there)."""

    class Task(models.TextChoices):
        COLLECT = "collect"
        VOID = "void"

    class State(models.TextChoices):
        DUE = "due", "to be done by the next sweep after `not_before`"
        SENT = "sent", "Stripe has the invoice; its webhooks tell how it goes on"
        PARKED = "parked", "Stripe says something that cannot be; somebody has to look"
        DONE = "done"

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, primary_key=True, related_name="collection")
    task = models.CharField(max_length=7, choices=Task, default=Task.COLLECT)
    state = models.CharField(max_length=6, choices=State, default=State.DUE)
    stripe_invoice_id = models.CharField(max_length=255, unique=True, null=True)  # noqa: DJ001 - not there yet
    stripe_status = models.CharField(max_length=20, blank=True)
    hosted_url = models.TextField(blank=True)
    payment_error = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["not_before"], name="collection_due", condition=Q(state__in=["due", "sent"])),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.invoice_id}: {self.state}"


class StripeCall(models.Model):
    """One change asked of Stripe: committed as intent before it is sent, with its outcome after.

    The idempotency key is made from our object's identity and the step alone, so a second try is the same call.
    """

    class State(models.TextChoices):
        INTENT = "intent", "sent or about to be: the outcome is not known"
        DONE = "done"
        REFUSED = "refused", "Stripe said no, and nothing changed there"

    idempotency_key = models.CharField(max_length=255, primary_key=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="stripe_calls")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    step = models.CharField(max_length=20)
    state = models.CharField(max_length=7, choices=State, default=State.INTENT)
    attempts = models.PositiveIntegerField(default=0)
    stripe_id = models.CharField(max_length=255, blank=True)
    error = models.TextField(blank=True)
    intended_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.idempotency_key}: {self.state}"


class StripeEvent(models.Model):
    """A webhook of Stripe, stored once by Stripe's event id before it is answered; a hint to look at the object."""

    class State(models.TextChoices):
        NEW = "new"
        DONE = "done"
        PARKED = "parked", "cannot be applied; somebody has to look"

    id = models.CharField(max_length=255, primary_key=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255, blank=True)
    payload = models.JSONField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=6, choices=State, default=State.NEW)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["not_before"], name="stripe_event_new", condition=Q(state="new"))]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"
