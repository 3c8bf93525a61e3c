"""Conversations that were counted and are gone, for the adjustment that gives back what was billed for them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_events_and_conversations")]

    operations = [
        migrations.CreateModel(
            name="GoneConversation",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id",
                        "settled_at",
                        "reference",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("settled_at", models.DateTimeField()),
                ("reference", models.TextField(db_collation="C")),
                ("noted_at", models.DateTimeField(help_text="When it last went, by our clock.")),
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
