"""Which tax is due where? Fixed rates of the seller, for deployments that do not leave tax to Stripe."""

from django.db import models
from django.db.models import Q

from api.ids import uuid7


class TaxRate(models.Model):
    """A percentage for customers of a country (blank: of all countries without a rate of their own).

    Append-only: the newest that has begun is in force, so that an invoice keeps the rate of its day.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    country = models.CharField(max_length=2, blank=True)
    name = models.CharField(max_length=50, help_text="As printed on the invoice, such as VAT.")
    percent = models.DecimalField(max_digits=7, decimal_places=4)
    inclusive = models.BooleanField(default=False, help_text="Prices contain it already.")
    starts_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["country", "starts_at"], name="tax_rate_once_an_instant"),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="tax_rate_is_a_percentage"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.percent.normalize():f} % {self.country}".rstrip()
