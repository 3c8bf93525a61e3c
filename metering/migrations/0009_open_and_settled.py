"""Whether a conversation is open, and in which tier it settled, is said by rows of their own."""

import django.db.models.deletion
from django.db import migrations, models

import metering.row_or_none

# Nobody may settle or fold between the two halves.
MOVE = """
LOCK TABLE metering_conversation IN ACCESS EXCLUSIVE MODE;
INSERT INTO metering_openconversation (customer_id, id, settles_at)
SELECT customer_id, id, settles_at FROM metering_conversation WHERE settled_at IS NULL ORDER BY id;
INSERT INTO metering_settledconversation
    (customer_id, settled_at, id, scheme_version_id, tier, outcome, turns, counted_tokens)
SELECT customer_id, settled_at, id, scheme_version_id, tier, outcome, turns, counted_tokens
FROM metering_conversation WHERE settled_at IS NOT NULL ORDER BY customer_id, settled_at, id;
ANALYZE metering_openconversation, metering_settledconversation"""
MOVE_BACK = """
LOCK TABLE metering_conversation, metering_openconversation, metering_settledconversation IN ACCESS EXCLUSIVE MODE;
UPDATE metering_conversation c SET settled_at = s.settled_at, scheme_version_id = s.scheme_version_id, tier = s.tier,
    turns = s.turns, counted_tokens = s.counted_tokens
FROM metering_settledconversation s WHERE s.customer_id = c.customer_id AND s.id = c.id"""
# With the tier in it, a plain count reads nothing but the index. It is built when the rows are there.
UNCOVER = "ALTER TABLE metering_settledconversation DROP CONSTRAINT metering_settledconversation_pkey"
COVER = "ALTER TABLE metering_settledconversation ADD PRIMARY KEY (customer_id, settled_at, id) INCLUDE (tier)"
# Open rows come, are rewritten where they stand and go, all the time.
TEND = """
ALTER TABLE metering_openconversation SET (fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)"""


def pk(*names):
    return models.CompositePrimaryKey(*names, blank=True, editable=False, primary_key=True, serialize=False)


def key(to):
    return models.ForeignKey(
        to=to,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )


class Migration(migrations.Migration):
    dependencies = [("metering", "0008_quarantined_again"), ("plans", "0006_service_ends")]

    operations = [
        migrations.CreateModel(
            name="OpenConversation",
            fields=[
                ("pk", pk("customer_id", "id")),
                ("customer", key("plans.customer")),
                ("id", models.UUIDField()),
                ("settles_at", models.DateTimeField(help_text="As the conversation says.")),
            ],
        ),
        migrations.RunSQL(TEND, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="SettledConversation",
            fields=[
                ("pk", pk("customer_id", "settled_at", "id")),
                ("customer", key("plans.customer")),
                ("settled_at", models.DateTimeField(help_text="As the conversation says that it settles.")),
                ("id", models.UUIDField()),
                ("scheme_version", key("plans.tierschemeversion")),
                ("counted_tokens", models.BigIntegerField()),
                ("turns", models.IntegerField()),
                ("tier", models.TextField()),
                ("outcome", models.TextField(null=True)),
            ],
        ),
        migrations.RunSQL(UNCOVER, migrations.RunSQL.noop),
        migrations.RunSQL(MOVE, MOVE_BACK),
        migrations.RunSQL(COVER, migrations.RunSQL.noop),
        migrations.RemoveConstraint("conversation", "conversation_settled_whole"),
        migrations.RemoveIndex("conversation", "conversation_open"),
        migrations.RemoveIndex("conversation", "conversation_settled"),
        migrations.RemoveField("conversation", "settled_at"),
        migrations.RemoveField("conversation", "scheme_version"),
        migrations.RemoveField("conversation", "tier"),
        migrations.RemoveField("conversation", "turns"),
        migrations.RemoveField("conversation", "counted_tokens"),
        migrations.AddField(
            "conversation",
            "settled",
            metering.row_or_none.RowOrNone(
                from_fields=["customer", "settles_at", "id"],
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="metering.settledconversation",
                to_fields=["customer", "settled_at", "id"],
            ),
        ),
    ]
