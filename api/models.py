"""Who may call, and what was already answered?"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from api.ids import uuid7

SCOPES = ("ingest", "read", "manage", "backfill")


class ApiKey(models.Model):
    """A caller's key: only the SHA-256 of its secret is kept, so that the database holds no usable key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    lookup_id = models.CharField(max_length=16, unique=True)
    secret_sha256 = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=16))
    # The operator's own key of the only customer this API key may see; None sees all.
    customer_key = models.CharField(max_length=512, null=True, blank=True)  # noqa: DJ001 - "" could be a customer
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    events_per_s = models.PositiveIntegerField(
        null=True, blank=True, verbose_name="events per second", help_text="Empty: as configured for all keys."
    )
    events_burst = models.PositiveIntegerField(
        null=True, blank=True, verbose_name="events at once", help_text="Empty: ten seconds of that rate."
    )
    requests_per_s = models.PositiveIntegerField(
        null=True, blank=True, verbose_name="requests per second", help_text="Empty: as configured for all keys."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(name="api_key_scopes_known", condition=Q(scopes__contained_by=list(SCOPES))),
            models.CheckConstraint(
                name="api_key_limits_above_nothing",
                condition=~Q(events_per_s=0) & ~Q(events_burst=0) & ~Q(requests_per_s=0),
                violation_error_message="A rate of nothing would be no key at all: revoke it instead.",
            ),
            models.CheckConstraint(
                name="api_key_burst_of_a_rate",
                condition=Q(events_burst=None) | Q(events_per_s__isnull=False),
                violation_error_message="Events at once need a rate of events to go with them.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.lookup_id})"


class IdempotentAnswer(models.Model):
    """The answer to a POST with an Idempotency-Key, given again when the same request comes again.

    Inserted empty before the work and filled after it, in the one transaction of the work itself: a second request
    with the same key waits at the unique constraint until the first is committed (or gone without a trace).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    method_and_path = models.TextField()
    request_sha256 = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(default=b"")
    location = models.TextField(default="")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="idempotent_answer_once", fields=["api_key", "key"]),
        ]

    def __str__(self) -> str:
        return f"{self.method_and_path} {self.key}"
