"""What happened: events, the conversations folded from them, and the work still to be done on both.

The high-volume tables carry the customer in every key, so that they can be sharded by it; they have no triggers
and no database-level foreign keys, because either would cost every event a look-up (ingest resolves the customer
itself, under a lock).
"""

from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.lookups import Exact

from api.ids import uuid7
from metering.correction_models import Backfill, BackfilledEvent, BackfillReject, Correction, QuarantinedEvent
from metering.row_or_none import RowOrNone
from metering.span_models import SpanContext, WaitingCall
from metering.supplier_models import SupplierRate
from metering.usage_models import Tally, WatchedUsage
from plans.models import Customer, TierSchemeVersion

__all__ = [
    "Backfill",
    "BackfillReject",
    "BackfilledEvent",
    "Conversation",
    "Correction",
    "Event",
    "GoneConversation",
    "LateChange",
    "MeterReading",
    "OpenConversation",
    "QuarantinedEvent",
    "SettledConversation",
    "SpanContext",
    "SupplierRate",
    "Tally",
    "UnfoldedEvents",
    "WaitingCall",
    "WatchedUsage",
]


def _key(to: type[models.Model], *, null: bool = False) -> "models.ForeignKey[Any, Any]":
    """Of what is looked up when it is written, and that nobody looks for by it."""
    return models.ForeignKey(
        to, on_delete=models.PROTECT, null=null, related_name="+", db_constraint=False, db_index=False
    )


def _shard_key() -> "models.ForeignKey[Any, Any]":
    return _key(Customer)


class Kind(models.TextChoices):
    COMPLETION = "completion"
    TOOL = "tool"
    EMBEDDING = "embedding"
    OTHER = "other"
    CLOSE = "close", "not a call: somebody ended the conversation"


class Event(models.Model):
    """One model call (or a close), identified by the customer and the caller's event id for ever."""

    pk = models.CompositePrimaryKey("customer_id", "event_id")
    customer = _shard_key()
    event_id = models.TextField(db_collation="C")
    conversation = models.TextField(db_collation="C", help_text="The caller's conversation reference.")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    provider = models.TextField()
    model = models.TextField()
    kind = models.TextField(choices=Kind)
    status = models.TextField(choices=[("ok", "ok"), ("error", "error")])
    attempt = models.SmallIntegerField()
    turn = models.IntegerField(null=True)
    input_tokens = models.IntegerField()
    cache_read_tokens = models.IntegerField()
    cache_write_tokens = models.IntegerField()
    output_tokens = models.IntegerField()
    reasoning_tokens = models.IntegerField()
    outcome = models.TextField(null=True)  # noqa: DJ001 - no outcome is not an empty one
    feature = models.TextField(null=True)  # noqa: DJ001 - likewise
    byok = models.BooleanField()
    rate = _key(SupplierRate, null=True)
    cost_nanos = models.BigIntegerField(null=True, help_text="Supplier cost in nano-dollars; NULL: unpriced.")
    corrected = models.BooleanField(help_text="Voided or amended: reports of the same id no longer change it.")
    voided = models.BooleanField()

    class Meta:
        indexes = [
            models.Index(fields=["customer", "conversation", "occurred_at"], name="event_by_conversation"),
            # To know of a conversation whether anybody ever closed it; no other event is in it.
            models.Index(fields=["customer", "conversation"], name="event_closes", condition=Q(kind="close")),
        ]

    def __str__(self) -> str:
        return self.event_id


class UnfoldedEvents(models.Model):
    """Events of one customer, stored together, that are not in their conversations yet; see metering.unfolded."""

    pk = models.CompositePrimaryKey("customer_id", "id")
    id = models.UUIDField(default=uuid7)
    customer = _shard_key()
    received_at = models.DateTimeField()
    entries = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.customer_id} at {self.received_at}"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations by whether their tier is fixed, and which it is, whosever they are.

    Of one customer one may as well ask for columns of `settled`. Of all, PostgreSQL takes a join by three columns for
    one that finds next to nothing, and reads everything before it knows the newest.
    """

    def still_open(self) -> "ConversationQuerySet":
        return self.filter(self._is_open())

    def settled_ones(self) -> "ConversationQuerySet":
        return self.filter(~self._is_open())

    def in_tier(self, tier: str) -> "ConversationQuerySet":
        """Those that have settled in it."""
        own = SettledConversation.objects.filter(
            customer=OuterRef("customer"), settled_at=OuterRef("settles_at"), id=OuterRef("id")
        )
        return self.filter(Exact(Subquery(own.values("tier")), tier))

    @staticmethod
    def _is_open() -> Exists:
        return Exists(OpenConversation.objects.filter(customer=OuterRef("customer"), id=OuterRef("id")))


class Conversation(models.Model):
    """One sitting of a conversation reference: a fold over its events.

    `revision` counts the folds. The unprefixed sums hold every call; `retry_` the part of retries and errors. Nothing
    that moves is in an index, so that folding stays a cheap (heap-only) update. Beside each row there is either an
    OpenConversation or a SettledConversation.
    """

    pk = models.CompositePrimaryKey("id", "customer_id")
    id = models.UUIDField(default=uuid7)
    customer = _shard_key()
    reference = models.TextField(db_collation="C")
    ordinal = models.IntegerField()
    boundary = _key(TierSchemeVersion)
    opened_at = models.DateTimeField()
    last_event_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    settles_at = models.DateTimeField()
    revision = models.IntegerField()
    folded_at = models.DateTimeField(help_text="When it last changed, by our clock.")

    calls = models.IntegerField()
    retry_calls = models.IntegerField()
    first_completions = models.IntegerField(help_text="Successful completions at the first attempt.")
    min_turn = models.IntegerField(null=True)
    max_turn = models.IntegerField(null=True)
    input_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    retry_input_tokens = models.BigIntegerField()
    retry_cache_read_tokens = models.BigIntegerField()
    retry_cache_write_tokens = models.BigIntegerField()
    retry_output_tokens = models.BigIntegerField()
    peak_context = models.BigIntegerField()
    peak_context_first = models.BigIntegerField(help_text="The largest context of a call that is no retry.")
    cost_nanos = models.BigIntegerField()
    retry_cost_nanos = models.BigIntegerField()
    byok_cost_nanos = models.BigIntegerField(help_text="What the customer paid the provider itself.")
    unpriced_calls = models.IntegerField()
    outcome = models.TextField(null=True)  # noqa: DJ001 - no outcome is not an empty one
    outcome_at = models.DateTimeField(null=True)

    settled = RowOrNone(
        "SettledConversation",
        on_delete=models.DO_NOTHING,
        from_fields=["customer", "settles_at", "id"],
        to_fields=["customer", "settled_at", "id"],
        null=True,
        related_name="+",
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["customer", "reference", "ordinal"], name="conversation_sitting_once"),
        ]

    def __str__(self) -> str:
        return f"{self.reference} #{self.ordinal}"


class OpenConversation(models.Model):
    """A conversation whose tier is not fixed yet.

    Every fold writes this row together with the conversation, and settling deletes it; so whoever of the two comes
    second knows of the other.
    """

    pk = models.CompositePrimaryKey("customer_id", "id")
    customer = _shard_key()
    id = models.UUIDField()
    settles_at = models.DateTimeField(help_text="As the conversation says.")

    def __str__(self) -> str:
        return f"{self.id} until {self.settles_at}"


class SettledConversation(models.Model):
    """The tier of a conversation, fixed at its settling instant, and what decided that: all that is counted of it.

    Apart from the conversation, and narrow, because settling a month writes each of them once, with one index entry.
    """

    pk = models.CompositePrimaryKey("customer_id", "settled_at", "id")
    customer = _shard_key()
    settled_at = models.DateTimeField(help_text="As the conversation says that it settles.")
    id = models.UUIDField()
    scheme_version = _key(TierSchemeVersion)
    counted_tokens = models.BigIntegerField()
    turns = models.IntegerField()
    tier = models.TextField()
    outcome = models.TextField(null=True)  # noqa: DJ001 - as the conversation says

    def __str__(self) -> str:
        return f"{self.id} {self.tier} at {self.settled_at}"


class MeterReading(models.Model):
    """Up to which settling instant a customer's usage has been counted by somebody who relies on it."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True, related_name="+")
    read_to = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.customer_id} to {self.read_to}"


class LateChange(models.Model):
    """A day (UTC) whose settled usage changed after it was counted; billing recounts and deletes the row."""

    pk = models.CompositePrimaryKey("customer_id", "day")
    customer = _shard_key()
    day = models.DateField()
    noted_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.customer_id} {self.day}"


class GoneConversation(models.Model):
    """A conversation that had been counted as settling at an instant, and does so no longer.

    It was voided, or settles at another instant by now. Whoever corrects the count names it.
    """

    pk = models.CompositePrimaryKey("customer_id", "settled_at", "reference")
    customer = _shard_key()
    settled_at = models.DateTimeField()
    reference = models.TextField(db_collation="C")
    noted_at = models.DateTimeField(help_text="When it last went, by our clock.")

    def __str__(self) -> str:
        return f"{self.reference} from {self.settled_at}"
