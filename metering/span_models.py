"""What is remembered of traces: whose conversation each span belongs to, and the calls that wait to hear of it."""

from django.db import models

from api.ids import uuid7


class SpanContext(models.Model):
    """A span that may be above or below a call in its trace. Kept for a day.

    `sender` is the customer that the sender's key is bound to, or "": one customer's trace says nothing of another's.
    """

    pk = models.CompositePrimaryKey("trace_id", "span_id", "sender")
    trace_id = models.TextField(db_collation="C")
    span_id = models.TextField(db_collation="C")
    sender = models.TextField(db_collation="C")
    parent_id = models.TextField(db_collation="C", help_text="Empty for the root of the trace.")
    conversation = models.TextField(null=True, help_text="What the span itself names.")  # noqa: DJ001 - may name none
    customer = models.TextField(null=True, help_text="Likewise.")  # noqa: DJ001
    event_id = models.TextField(help_text="Of the call that the span reports; empty where it reports none.")
    failed = models.BooleanField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["received_at"], name="span_context_age")]

    def __str__(self) -> str:
        return f"{self.trace_id}/{self.span_id}"


class WaitingCall(models.Model):
    """A call whose conversation or customer a span further up, not exported yet, may name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    trace_id = models.TextField(db_collation="C")
    span_id = models.TextField(db_collation="C")
    sender = models.TextField(db_collation="C")
    default_customer = models.TextField(null=True, help_text="Whose it is where no span says.")  # noqa: DJ001
    fields = models.JSONField(help_text="Those of EventIn that are known.")
    fault = models.TextField(help_text="Why it makes no event whatever is still to come; or empty.")
    sent = models.JSONField(help_text="The span, without what was said in it.")
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trace_id", "span_id", "sender"], name="waiting_call_once"),
        ]
        indexes = [models.Index(fields=["received_at"], name="waiting_call_age")]

    def __str__(self) -> str:
        return f"{self.trace_id}/{self.span_id}"
