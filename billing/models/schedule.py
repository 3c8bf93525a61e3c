"""When is a subscription to be billed next?"""

from django.db import models
from django.db.models import Q

from plans.models import Subscription


class BillingSchedule(models.Model):
    """When a subscription is to be billed next: for its start (`next_period` -1) or once period `next_period` ended."""

    subscription = models.OneToOneField(Subscription, on_delete=models.PROTECT, primary_key=True, related_name="+")
    next_period = models.IntegerField()
    changes_to = models.DateTimeField(
        null=True, help_text="Changes within a period are billed up to this instant; NULL: not begun."
    )
    due_at = models.DateTimeField(null=True, help_text="NULL: the subscription has ended and is billed to its end.")
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, help_text="After a failure: when to try again.")
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="billing_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.subscription_id} period {self.next_period}"
