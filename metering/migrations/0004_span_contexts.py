"""Spans are remembered for a day, so that a call finds the conversation that a span above it names later."""

import api.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0003_unfolded_events"),
    ]

    operations = [
        migrations.CreateModel(
            name="SpanContext",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "trace_id", "span_id", "sender", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("trace_id", models.TextField(db_collation="C")),
                ("span_id", models.TextField(db_collation="C")),
                ("sender", models.TextField(db_collation="C")),
                ("parent_id", models.TextField(db_collation="C", help_text="Empty for the root of the trace.")),
                ("conversation", models.TextField(help_text="What the span itself names.", null=True)),
                ("customer", models.TextField(help_text="Likewise.", null=True)),
                (
                    "event_id",
                    models.TextField(help_text="Of the call that the span reports; empty where it reports none."),
                ),
                ("failed", models.BooleanField()),
                ("received_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["received_at"], name="span_context_age")],
            },
        ),
        migrations.CreateModel(
            name="WaitingCall",
            fields=[
                ("id", models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("trace_id", models.TextField(db_collation="C")),
                ("span_id", models.TextField(db_collation="C")),
                ("sender", models.TextField(db_collation="C")),
                ("default_customer", models.TextField(help_text="Whose it is where no span says.", null=True)),
                ("fields", models.JSONField(help_text="Those of EventIn that are known.")),
                ("fault", models.TextField(help_text="Why it makes no event whatever is still to come; or empty.")),
                ("sent", models.JSONField(help_text="The span, without what was said in it.")),
                ("received_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["received_at"], name="waiting_call_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("trace_id", "span_id", "sender"), name="waiting_call_once")
                ],
            },
        ),
    ]
