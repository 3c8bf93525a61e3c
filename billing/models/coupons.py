"""Which discounts were promised? Coupons, and who redeemed them for which periods."""

from django.db import models
from django.db.models import F, Q

from api.ids import uuid7
from plans.models import Customer, Subscription


class Coupon(models.Model):
    """A discount that can be redeemed: a percentage, or a fixed amount (minor units) per period."""

    class Scope(models.TextChoices):
        ALL = "all", "everything of a period: base fee and usage"
        BASE_FEE = "base_fee"
        USAGE = "usage"

    class Duration(models.TextChoices):
        ONCE = "once", "one period"
        REPEATING = "repeating", "a number of periods"
        FOREVER = "forever"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=64, unique=True, db_collation="C")
    name = models.CharField(max_length=200)
    percent_off = models.DecimalField(max_digits=7, decimal_places=4, null=True)
    amount_off = models.BigIntegerField(null=True, help_text="Minor units of `currency`, per period.")
    currency = models.CharField(max_length=3, blank=True)
    applies_to = models.CharField(max_length=8, choices=Scope, default=Scope.ALL)
    tiers = models.JSONField(default=list, help_text="Codes of the tiers it is limited to; none: all.")
    duration = models.CharField(max_length=9, choices=Duration)
    periods = models.PositiveIntegerField(null=True, help_text="How many, where the duration is repeating.")
    max_redemptions = models.PositiveIntegerField(null=True)
    redeemed = models.PositiveIntegerField(default=0)
    redeem_by = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(percent_off__gt=0, percent_off__lte=100, amount_off__isnull=True)
                | Q(percent_off__isnull=True, amount_off__gt=0),
                name="coupon_takes_a_percentage_or_an_amount",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions__isnull=True) | Q(redeemed__lte=F("max_redemptions")),
                name="coupon_never_redeemed_too_often",
            ),
            models.CheckConstraint(
                condition=Q(duration="repeating", periods__gt=0) | ~Q(duration="repeating") & Q(periods__isnull=True),
                name="coupon_repeats_for_some_periods",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Redemption(models.Model):
    """A coupon that a subscription has: it discounts periods `first_period` up to, not including, `end_period`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="redemptions")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    first_period = models.IntegerField()
    end_period = models.IntegerField(null=True, help_text="NULL: for ever.")
    redeemed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["coupon", "subscription"], name="coupon_once_a_subscription"),
            models.CheckConstraint(
                condition=Q(end_period__isnull=True) | Q(end_period__gte=F("first_period")),
                name="redemption_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.coupon} of {self.customer}"
