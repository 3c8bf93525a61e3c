"""What is done at Stripe, and what does Stripe tell us?"""

from django.db import models
from django.db.models import Q

from billing.models.credit_notes import CreditNote
from billing.models.invoices import Invoice
from plans.models import Customer


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
    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, null=True, related_name="stripe_calls")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    step = models.CharField(max_length=20)
    state = models.CharField(max_length=7, choices=State, default=State.INTENT)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, help_text="NULL: it is made by whoever takes its object on.")
    stripe_id = models.CharField(max_length=255, blank=True)
    error = models.TextField(blank=True)
    intended_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["not_before"], name="stripe_call_due", condition=Q(state="intent"))]

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
