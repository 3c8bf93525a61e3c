"""What was put right, waits to be put right, or came in by the file? Corrections, the quarantine, backfills.

Re-exported by `metering.models`.
"""

from typing import Any

from django.db import models
from django.db.models import Q

from api.ids import uuid7
from plans.models import Customer


def _shard_key() -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)


class Correction(models.Model):
    """History of a deliberate correction: what an event said before and after a void or an amendment."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    event_id = models.TextField(db_collation="C")
    action = models.TextField(choices=[("void", "void"), ("amend", "amend")])
    reason = models.TextField()
    before = models.JSONField()
    after = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["customer", "event_id"], name="correction_by_event")]

    def __str__(self) -> str:
        return f"{self.action} {self.event_id}"


class Backfill(models.Model):
    """One file of historical events on its way in: how far it was read, what became of its rows, whether it stands.

    Counters and rows are written in the transaction of the events they are about, so that a run that was killed goes on
    where it stopped. A dry run has counters and rejected rows, and nothing else.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.TextField(help_text="What the sender calls the file.")
    format = models.TextField(choices=[("csv", "CSV"), ("ndjson", "NDJSON")])
    content_sha256 = models.BinaryField(max_length=32)
    customer_key = models.TextField(db_collation="C", help_text="Whose the rows are that name no customer; or empty.")
    mapping = models.JSONField(help_text="Names of columns in the file, and ours for them.")
    columns = models.JSONField(help_text="The heads of a CSV file's columns.")
    dry_run = models.BooleanField()
    started_by = models.TextField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True, help_text="When an undo of it was last complete.")

    rows = models.IntegerField(default=0, help_text="Rows read so far.")
    accepted = models.IntegerField(default=0)
    duplicate = models.IntegerField(default=0)
    updated = models.IntegerField(default=0)
    conflict = models.IntegerField(default=0)
    quarantined = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)
    conversations = models.IntegerField(default=0, help_text="Conversation references with an event made or changed.")
    counted_before = models.IntegerField(default=0, help_text="Events of usage that had been counted for a bill.")

    removed = models.IntegerField(default=0, help_text="Events that an undo took away.")
    restored = models.IntegerField(default=0, help_text="Events that an undo put back as they were before.")
    kept = models.IntegerField(default=0, help_text="Events that the last undo had to leave.")

    def __str__(self) -> str:
        return self.name


class BackfilledEvent(models.Model):
    """What a backfill did to an event, for the undo: the state before (of one it changed), a digest of that after."""

    class Effect(models.TextChoices):
        CREATED = "created"
        GROWN = "grown"
        SAME = "same", "nothing: it was there"

    pk = models.CompositePrimaryKey("customer_id", "event_id", "backfill_id")
    customer = _shard_key()
    event_id = models.TextField(db_collation="C")
    backfill = models.ForeignKey(
        Backfill, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    effect = models.TextField(choices=Effect)
    before = models.JSONField(null=True)
    after_digest = models.BinaryField(max_length=16)
    shared = models.BooleanField(help_text="Somebody else changed the event between two rows of the file.")
    undone_at = models.DateTimeField(null=True)
    kept_because = models.TextField(default="", help_text="Why the last undo left it as it was.")

    class Meta:
        indexes = [models.Index(fields=["backfill", "customer", "event_id"], name="backfilled_by_file")]

    def __str__(self) -> str:
        return f"{self.effect} {self.event_id}"


class BackfillReject(models.Model):
    """A row of a file that needs a person: rejected, or in conflict with the event stored under its id."""

    pk = models.CompositePrimaryKey("backfill_id", "line")
    backfill = models.ForeignKey(Backfill, on_delete=models.CASCADE, related_name="+", db_index=False)
    line = models.IntegerField(help_text="Where the row begins in the file; the first line is 1.")
    event_id = models.TextField()
    status = models.TextField(choices=[("rejected", "rejected"), ("conflict", "conflict")])
    pointer = models.TextField()
    reason = models.TextField()
    row = models.BinaryField(help_text="A line of NDJSON as it was sent; the cells of a CSV row as a JSON array.")

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class QuarantinedEvent(models.Model):
    """What came in and can be billed to nobody as it is, kept as sent until somebody can use it.

    It waits for its customer (and comes in by itself then), or, once refused, for a person.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    door = models.TextField(default="events", help_text="Where it came in.")
    customer_key = models.TextField(db_collation="C", help_text="Empty where it names none.")
    event_id = models.TextField(db_collation="C", help_text="Empty where it has none.")
    reason = models.TextField()
    body = models.JSONField(null=True, help_text="As sent; NULL: erased.")
    event = models.JSONField(null=True, help_text="The event as far as its door could read it; NULL: the body is one.")
    body_sha256 = models.BinaryField(max_length=32)
    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, null=True, related_name="+")
    received_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    refused_at = models.DateTimeField(null=True, help_text="Found unusable as it is; see the reason.")
    discarded_at = models.DateTimeField(null=True)
    handled_by = models.TextField(default="", help_text="Who released or discarded it; empty: it came in by itself.")
    handled_note = models.TextField(default="", help_text="Why it was discarded, or what was said anew to release it.")

    class Meta:
        constraints = [
            # The body names customer and id; both beside it could be longer than an index entry may be.
            # What was released may wait again: the customer whose it became is gone, and another gets the key.
            models.UniqueConstraint(
                fields=["door", "body_sha256"], name="quarantined_once", condition=Q(released_at=None)
            ),
            models.CheckConstraint(
                name="quarantined_handled_once", condition=Q(released_at=None) | Q(discarded_at=None)
            ),
        ]
        indexes = [
            models.Index(
                fields=["customer_key"],
                name="quarantine_waiting",
                condition=Q(released_at=None, refused_at=None, discarded_at=None),
            ),
            models.Index(
                fields=["reason", "id"], name="quarantine_by_reason", condition=Q(released_at=None, discarded_at=None)
            ),
            models.Index(fields=["customer_key", "id"], name="quarantine_by_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.customer_key or '(no customer)'}/{self.event_id or '(no id)'}"
