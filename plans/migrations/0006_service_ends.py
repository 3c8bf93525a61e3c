"""The scheme spans say when the service ends, for the conversations that are open then end with it."""

from django.db import migrations

# A left join, so that it costs nothing where the end is not asked for. Phases that were replaced before they began
# are empty, and span nothing.
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
       version.id AS version_id,
       subscription.ends_at AS service_ends_at
FROM plans_subscriptionphase phase
LEFT JOIN plans_subscription subscription ON subscription.id = phase.subscription_id
JOIN plans_planversion agreed ON agreed.id = phase.plan_version_id
JOIN version ON version.scheme_id = agreed.tier_scheme_id
WHERE greatest(phase.starts_at, version.starts_at) < coalesce(least(phase.ends_at, version.ends_at), 'infinity')
UNION ALL
SELECT NULL, version.starts_at, version.ends_at, version.id, NULL
FROM version JOIN plans_tierscheme scheme ON scheme.id = version.scheme_id AND scheme.code = 'default'
"""
SCHEME_SPANS_BEFORE = """
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
# Conversations that outlive a subscription were cut without this rule.
CUT_ANEW = """
INSERT INTO plans_schemechange (id, customer_id, since)
SELECT gen_random_uuid(), customer_id, ends_at - interval '1 microsecond'
FROM plans_subscription WHERE ends_at IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [("plans", "0005_phases_are_anchored")]

    operations = [
        migrations.RunSQL(
            ["DROP VIEW plans_scheme_span", SCHEME_SPANS], ["DROP VIEW plans_scheme_span", SCHEME_SPANS_BEFORE]
        ),
        migrations.RunSQL(CUT_ANEW, migrations.RunSQL.noop),
    ]
