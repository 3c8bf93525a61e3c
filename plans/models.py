"""What was agreed, with whom: customers, tier schemes, plans and subscriptions.

Published versions are frozen by triggers (migration 0002); a change is a new version.
"""

import datetime as dt

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value

from api.ids import uuid7

ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The start of what has been in force from the beginning."""


class TaxExempt(models.TextChoices):
    NONE = "none", "is taxed"
    EXEMPT = "exempt", "is not taxed"
    REVERSE = "reverse", "accounts for the tax itself (reverse charge)"


class Customer(models.Model):
    """Who is billed. The operator addresses it by `key`; everything else refers to `id`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=512, unique=True, db_collation="C")
    name = models.CharField(max_length=200, blank=True)
    email = models.EmailField(blank=True)
    currency = models.CharField(max_length=3)
    timezone = models.CharField(max_length=64, default="UTC")
    byok = models.BooleanField(default=False, help_text="The customer pays the model provider itself.")
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166 code of the tax address.")
    tax_id = models.CharField(max_length=50, blank=True)
    tax_exempt = models.CharField(max_length=7, choices=TaxExempt, default=TaxExempt.NONE)
    created_at = models.DateTimeField()
    erased_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name or self.key


class TierScheme(models.Model):
    """A named way to put conversations into tiers; its rules live in dated versions."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.SlugField(max_length=64, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.code


class VersionStatus(models.TextChoices):
    DRAFT = "draft"
    PUBLISHED = "published"


class TokenBasis(models.TextChoices):
    PROCESSED = "processed", "every token of every call, re-read context included"
    FRESH = "fresh", "without tokens read from a cache"
    CONTEXT = "context", "the largest single context"


class TierSchemeVersion(models.Model):
    """The rules of a tier scheme from `effective_at` until the next version takes over."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    scheme = models.ForeignKey(TierScheme, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    status = models.CharField(max_length=9, choices=VersionStatus, default=VersionStatus.DRAFT)
    effective_at = models.DateTimeField(null=True, blank=True)
    idle_timeout = models.DurationField()
    max_age = models.DurationField()
    token_basis = models.CharField(max_length=9, choices=TokenBasis, default=TokenBasis.PROCESSED)
    count_retries = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scheme", "version"], name="tier_scheme_version_once"),
            models.UniqueConstraint(fields=["scheme", "effective_at"], name="tier_scheme_one_version_an_instant"),
            models.CheckConstraint(
                condition=Q(status="draft") | Q(effective_at__isnull=False), name="published_scheme_has_a_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scheme.code} v{self.version}"


class Tier(models.Model):
    """One tier of a scheme version; a conversation matches below both limits (NULL: no limit)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    scheme_version = models.ForeignKey(TierSchemeVersion, on_delete=models.CASCADE, related_name="tiers")
    position = models.PositiveSmallIntegerField()
    code = models.SlugField(max_length=64)
    max_turns = models.PositiveIntegerField(null=True, blank=True)
    max_tokens = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["scheme_version", "position"], name="tier_position_once"),
            models.UniqueConstraint(fields=["scheme_version", "code"], name="tier_code_once"),
        ]

    def __str__(self) -> str:
        return self.code


class Plan(models.Model):
    """A product on the price list, or, with `customer`, a deal negotiated with that customer alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.code


class PlanVersion(models.Model):
    """The terms of a plan, frozen once published.

    `terms` is the canonical JSON of plans.terms.Terms as text: jsonb would forget the order of the tiers.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    status = models.CharField(max_length=9, choices=VersionStatus, default=VersionStatus.DRAFT)
    tier_scheme = models.ForeignKey(TierScheme, on_delete=models.PROTECT, related_name="+")
    terms = models.TextField()
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "version"], name="plan_version_once")]

    def __str__(self) -> str:
        return f"{self.plan.code} v{self.version}"


class Subscription(models.Model):
    """A customer's life on plans from `starts_at` until `ends_at`; one at a time, held by a constraint.

    `timezone` is the customer's zone when it began: a customer that moves does not move past periods. One that ends
    when it starts was withdrawn before it began.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    timezone = models.CharField(max_length=64)
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("starts_at")), name="subscription_ends_after_start"
            ),
            # btree_gist is not in every PostgreSQL, so the customer is compared as a range of one (type in 0001).
            ExclusionConstraint(
                name="one_subscription_a_customer_at_a_time",
                expressions=[
                    (Func("customer", "customer", Value("[]"), function="uuidrange"), RangeOperators.OVERLAPS),
                    (Func("starts_at", "ends_at", function="tstzrange"), RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer} from {self.starts_at:%Y-%m-%d}"


class SubscriptionPhase(models.Model):
    """The plan version a subscription is on for a while; phases of a subscription tile its life.

    Its periods hang on `anchor_at`, which changes with the interval. While `paused`, no fee and no allowance accrue.
    One that ends when it starts was replaced before it began.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="phases")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    anchor_at = models.DateTimeField()
    paused = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("starts_at")), name="phase_ends_after_start"
            ),
            ExclusionConstraint(
                name="one_phase_a_subscription_at_a_time",
                expressions=[
                    (Func("subscription", "subscription", Value("[]"), function="uuidrange"), RangeOperators.OVERLAPS),
                    (Func("starts_at", "ends_at", function="tstzrange"), RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_version} from {self.starts_at:%Y-%m-%d}"


class SchemeChange(models.Model):
    """Work to be done: what is agreed about this customer's conversations from `since` on has changed.

    Another tier scheme rules them, or the subscription ends at another instant. Written in the transaction that changes
    the subscription; metering cuts the customer's references anew and deletes the row.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.customer_id} since {self.since:%Y-%m-%d}"
