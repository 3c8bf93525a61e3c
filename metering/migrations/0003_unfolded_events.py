"""Events are folded after their request: what waits is a row, and references need no row of their own any more.

The queue is written and emptied all the time. Its rows are not compressed (they are read once, at once), and it is
vacuumed by their number, not by their share.
"""

import api.ids
import django.db.models.deletion
from django.db import migrations, models

QUEUE = """
ALTER TABLE metering_unfoldedevents ALTER COLUMN entries SET STORAGE EXTERNAL;
ALTER TABLE metering_unfoldedevents SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_gone_conversations")]

    operations = [
        migrations.CreateModel(
            name="UnfoldedEvents",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "id", "customer_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField(default=api.ids.uuid7)),
                ("received_at", models.DateTimeField()),
                ("entries", models.BinaryField()),
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
            options={"indexes": [models.Index(fields=["customer"], name="unfolded_of_customer")]},
        ),
        migrations.RunSQL(QUEUE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("kind", "close")), fields=["customer", "conversation"], name="event_closes"
            ),
        ),
        migrations.DeleteModel(name="ConversationReference"),
    ]
