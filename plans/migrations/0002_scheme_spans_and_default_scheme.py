"""The default tier scheme, in force since ever, and the view that says which scheme rules whom and when."""

import datetime as dt

from django.db import migrations
from django.utils import timezone

ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TIERS = [("simple", 4, 5_000), ("standard", 10, 20_000), ("complex", 30, 80_000), ("enterprise", None, None)]

SCHEME_SPANS = """
CREATE VIEW plans_scheme_span AS
WITH version AS (
    SELECT id, scheme_id, effective_at AS starts_at,
           lead(effective_at) OVER (PARTITION BY scheme_id ORDER BY effective_at) AS ends_at
    FROM plans_tierschemeversion WHERE status = 'published'
)
SELECT phase.customer_id,
       greatest(phase.starts_at, version.starts_at) AS starts_at,
       least(phase.ends_at, version.ends_at) AS ends_at,
       version.id AS version_id
FROM plans_subscriptionphase phase
JOIN plans_planversion agreed ON agreed.id = phase.plan_version_id
JOIN version ON version.scheme_id = agreed.tier_scheme_id
WHERE version.starts_at < coalesce(phase.ends_at, 'infinity') AND coalesce(version.ends_at, 'infinity') > phase.starts_at
UNION ALL
SELECT NULL, version.starts_at, version.ends_at, version.id
FROM version JOIN plans_tierscheme scheme ON scheme.id = version.scheme_id AND scheme.code = 'default'
"""


def create_default_scheme(apps, schema_editor):
    scheme = apps.get_model("plans", "TierScheme").objects.create(code="default", created_at=timezone.now())
    version = apps.get_model("plans", "TierSchemeVersion").objects.create(
        scheme=scheme,
        version=1,
        status="published",
        effective_at=ALWAYS,
        idle_timeout=dt.timedelta(hours=24),
        max_age=dt.timedelta(hours=72),
        token_basis="processed",
        count_retries=False,
        created_at=timezone.now(),
    )
    Tier = apps.get_model("plans", "Tier")
    for position, (code, max_turns, max_tokens) in enumerate(TIERS):
        Tier.objects.create(
            scheme_version=version, position=position, code=code, max_turns=max_turns, max_tokens=max_tokens
        )


class Migration(migrations.Migration):
    dependencies = [("plans", "0001_customers_plans_subscriptions")]

    operations = [
        migrations.RunPython(create_default_scheme, migrations.RunPython.noop),
        migrations.RunSQL(SCHEME_SPANS, "DROP VIEW plans_scheme_span"),
    ]
