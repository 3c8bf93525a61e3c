"""Subscriptions that change, pause and begin with a trial: what a phase and a subscription say more."""

from django.db import migrations, models
from django.db.models import F, Q

PHASES_AS_BEFORE = """
UPDATE plans_subscriptionphase phase SET anchor_at = subscription.starts_at, created_at = subscription.created_at
FROM plans_subscription subscription WHERE subscription.id = phase.subscription_id
"""


class Migration(migrations.Migration):
    dependencies = [("plans", "0003_published_versions_are_frozen")]

    operations = [
        migrations.AddField(
            "customer",
            "tax_exempt",
            models.CharField(
                choices=[
                    ("none", "is taxed"),
                    ("exempt", "is not taxed"),
                    ("reverse", "accounts for the tax itself (reverse charge)"),
                ],
                default="none",
                max_length=7,
            ),
        ),
        migrations.AddField("subscription", "trial_ends_at", models.DateTimeField(blank=True, null=True)),
        migrations.RemoveConstraint("subscription", "subscription_ends_after_start"),
        migrations.AddConstraint(
            "subscription",
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("starts_at")),
                name="subscription_ends_after_start",
            ),
        ),
        migrations.AlterModelOptions("subscriptionphase", {"ordering": ["starts_at", "id"]}),
        migrations.AddField("subscriptionphase", "paused", models.BooleanField(default=False)),
        migrations.AddField("subscriptionphase", "anchor_at", models.DateTimeField(null=True)),
        migrations.AddField("subscriptionphase", "created_at", models.DateTimeField(null=True)),
        migrations.RunSQL(PHASES_AS_BEFORE, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "subscriptionphase",
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("starts_at")), name="phase_ends_after_start"
            ),
        ),
    ]
