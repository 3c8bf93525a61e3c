"""Every phase has an anchor by now; in a migration of its own, for PostgreSQL alters no table with changes pending."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("plans", "0004_subscription_life")]

    operations = [
        migrations.AlterField("subscriptionphase", "anchor_at", models.DateTimeField()),
        migrations.AlterField("subscriptionphase", "created_at", models.DateTimeField()),
    ]
