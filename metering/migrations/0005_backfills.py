"""Backfills with what each did to every event, and a quarantine that people review."""

import api.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0004_span_contexts"),
        ("plans", "0006_service_ends"),
    ]

    operations = [
        migrations.CreateModel(
            name="Backfill",
            fields=[
                ("id", models.UUIDField(default=api.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.TextField(help_text="What the sender calls the file.")),
                ("format", models.TextField(choices=[("csv", "CSV"), ("ndjson", "NDJSON")])),
                ("content_sha256", models.BinaryField(max_length=32)),
                (
                    "customer_key",
                    models.TextField(db_collation="C", help_text="Whose the rows are that name no customer; or empty."),
                ),
                ("mapping", models.JSONField(help_text="Names of columns in the file, and ours for them.")),
                ("columns", models.JSONField(help_text="The heads of a CSV file's columns.")),
                ("dry_run", models.BooleanField()),
                ("started_by", models.TextField()),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("undone_at", models.DateTimeField(help_text="When an undo of it was last complete.", null=True)),
                ("rows", models.IntegerField(default=0, help_text="Rows read so far.")),
                ("accepted", models.IntegerField(default=0)),
                ("duplicate", models.IntegerField(default=0)),
                ("updated", models.IntegerField(default=0)),
                ("conflict", models.IntegerField(default=0)),
                ("quarantined", models.IntegerField(default=0)),
                ("rejected", models.IntegerField(default=0)),
                (
                    "conversations",
                    models.IntegerField(default=0, help_text="Conversation references with an event made or changed."),
                ),
                (
                    "counted_before",
                    models.IntegerField(default=0, help_text="Events of usage that had been counted for a bill."),
                ),
                ("removed", models.IntegerField(default=0, help_text="Events that an undo took away.")),
                (
                    "restored",
                    models.IntegerField(default=0, help_text="Events that an undo put back as they were before."),
                ),
                ("kept", models.IntegerField(default=0, help_text="Events that the last undo had to leave.")),
            ],
        ),
        migrations.CreateModel(
            name="BackfilledEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id",
                        "event_id",
                        "backfill_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="plans.customer",
                    ),
                ),
                (
                    "backfill",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="metering.backfill",
                    ),
                ),
                ("event_id", models.TextField(db_collation="C")),
                (
                    "effect",
                    models.TextField(
                        choices=[("created", "Created"), ("grown", "Grown"), ("same", "nothing: it was there")]
                    ),
                ),
                ("before", models.JSONField(null=True)),
                ("after_digest", models.BinaryField(max_length=16)),
                (
                    "shared",
                    models.BooleanField(help_text="Somebody else changed the event between two rows of the file."),
                ),
                ("undone_at", models.DateTimeField(null=True)),
                ("kept_because", models.TextField(default="", help_text="Why the last undo left it as it was.")),
            ],
        ),
        migrations.CreateModel(
            name="BackfillReject",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "backfill_id", "line", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "backfill",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="metering.backfill",
                    ),
                ),
                ("line", models.IntegerField(help_text="Where the row begins in the file; the first line is 1.")),
                ("event_id", models.TextField()),
                ("status", models.TextField(choices=[("rejected", "rejected"), ("conflict", "conflict")])),
                ("pointer", models.TextField()),
                ("reason", models.TextField()),
                (
                    "row",
                    models.BinaryField(
                        help_text="A line of NDJSON as it was sent; the cells of a CSV row as a JSON array."
                    ),
                ),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="quarantinedevent",
            name="quarantined_once",
        ),
        migrations.RemoveIndex(
            model_name="quarantinedevent",
            name="quarantine_waiting",
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="discarded_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="door",
            field=models.TextField(default="events", help_text="Where it came in."),
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="event",
            field=models.JSONField(
                help_text="The event as far as its door could read it; NULL: the body is one.", null=True
            ),
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="handled_by",
            field=models.TextField(default="", help_text="Who released or discarded it; empty: it came in by itself."),
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="handled_note",
            field=models.TextField(default="", help_text="Why it was discarded, or what was said anew to release it."),
        ),
        migrations.AlterField(
            model_name="quarantinedevent",
            name="body",
            field=models.JSONField(help_text="As sent; NULL: erased.", null=True),
        ),
        migrations.AlterField(
            model_name="quarantinedevent",
            name="customer_key",
            field=models.TextField(db_collation="C", help_text="Empty where it names none."),
        ),
        migrations.AlterField(
            model_name="quarantinedevent",
            name="event_id",
            field=models.TextField(db_collation="C", help_text="Empty where it has none."),
        ),
        migrations.AlterField(
            model_name="quarantinedevent",
            name="refused_at",
            field=models.DateTimeField(help_text="Found unusable as it is; see the reason.", null=True),
        ),
        migrations.AddField(
            model_name="quarantinedevent",
            name="backfill",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="metering.backfill"
            ),
        ),
        migrations.AddIndex(
            model_name="quarantinedevent",
            index=models.Index(
                condition=models.Q(("discarded_at", None), ("refused_at", None), ("released_at", None)),
                fields=["customer_key"],
                name="quarantine_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="quarantinedevent",
            index=models.Index(
                condition=models.Q(("discarded_at", None), ("released_at", None)),
                fields=["reason", "id"],
                name="quarantine_by_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="quarantinedevent",
            index=models.Index(fields=["customer_key", "id"], name="quarantine_by_customer"),
        ),
        migrations.AddConstraint(
            model_name="quarantinedevent",
            constraint=models.UniqueConstraint(fields=("door", "body_sha256"), name="quarantined_once"),
        ),
        migrations.AddConstraint(
            model_name="quarantinedevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("released_at", None), ("discarded_at", None), _connector="OR"),
                name="quarantined_handled_once",
            ),
        ),
        migrations.AddIndex(
            model_name="backfilledevent",
            index=models.Index(fields=["backfill", "customer", "event_id"], name="backfilled_by_file"),
        ),
    ]
