"""Customers whose usage is counted ahead, and their hours."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0005_backfills"), ("plans", "0006_service_ends")]

    operations = [
        migrations.CreateModel(
            name="WatchedUsage",
            fields=[
                (
                    "customer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="plans.customer",
                    ),
                ),
                (
                    "asked_at",
                    models.DateTimeField(help_text="When its usage was last read, give or take some minutes."),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("meters", models.TextField()),
                ("going_on", models.JSONField()),
                ("taken_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "hours", "start", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hours", models.SmallIntegerField(choices=[(1, "an hour"), (24, "a day")])),
                ("start", models.DateTimeField(help_text="Of the hour or day, UTC.")),
                ("tiers", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                (
                    "outcomes",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(null=True), size=None),
                ),
                ("counts", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
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
            ],
        ),
    ]
