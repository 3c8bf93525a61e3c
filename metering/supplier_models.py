"""What has each provider charged, and since when? Rows are appended, never edited.

Every price is in USD per million tokens. Twelve decimals, because the catalogue holds prices such as a twelfth of a
dollar: with them no call of up to a thousand million tokens is off by a nano-dollar.
"""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""The start of a price whose beginning nobody recorded."""


def _usd_per_million() -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=18, decimal_places=12)


class SupplierRate(models.Model):
    """One price step of one model from one instant on.

    The rows of one source, provider, model and start make up one price list. Within it a call is charged, whole, at the
    row with the greatest `min_context` not above its context (fresh + cache read + cache write tokens); of
    these, a row whose daily window (UTC, half-open, may wrap midnight) holds the call precedes the row without one.
    """

    class Source(models.TextChoices):
        CATALOGUE = "catalogue"
        OPERATOR = "operator"

    source = models.CharField(max_length=16, choices=Source)
    provider = models.CharField(max_length=128)
    model = models.CharField(max_length=512)
    starts_at = models.DateTimeField()
    min_context = models.PositiveIntegerField(default=0)
    daily_from = models.TimeField(null=True)
    daily_to = models.TimeField(null=True)
    input_usd_per_million = _usd_per_million()
    cache_read_usd_per_million = _usd_per_million()
    cache_write_usd_per_million = _usd_per_million()
    output_usd_per_million = _usd_per_million()
    usd_per_request = models.DecimalField(max_digits=18, decimal_places=12, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "provider", "model", "starts_at", "min_context", "daily_from"],
                nulls_distinct=False,
                name="supplier_rate_one_price_per_step",
            ),
            models.CheckConstraint(
                condition=Q(source__in=["catalogue", "operator"]), name="supplier_rate_known_source"
            ),
            models.CheckConstraint(
                condition=Q(daily_from__isnull=True, daily_to__isnull=True)
                | Q(daily_from__isnull=False, daily_to__isnull=False) & ~Q(daily_from=F("daily_to")),
                name="supplier_rate_whole_daily_window",
            ),
            models.CheckConstraint(
                condition=Q(
                    input_usd_per_million__gte=0,
                    cache_read_usd_per_million__gte=0,
                    cache_write_usd_per_million__gte=0,
                    output_usd_per_million__gte=0,
                )
                & (Q(usd_per_request__isnull=True) | Q(usd_per_request__gte=0)),
                name="supplier_rate_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.starts_at:%Y-%m-%d} above {self.min_context} tokens"
