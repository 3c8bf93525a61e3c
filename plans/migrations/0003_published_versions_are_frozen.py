"""What has been published stays as it is, against raw SQL too: a change is a new version."""

from django.db import migrations

FREEZE = """
CREATE FUNCTION plans_refuse_change_when_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'published' THEN
        RAISE EXCEPTION '% % is published and frozen; publish a new version', TG_TABLE_NAME, OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE FUNCTION plans_refuse_change_of_published_tier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM plans_tierschemeversion
        WHERE id IN (OLD.scheme_version_id, NEW.scheme_version_id) AND status = 'published'
    ) THEN
        RAISE EXCEPTION 'tiers of a published scheme version are frozen'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER published_is_frozen BEFORE UPDATE OR DELETE ON plans_planversion
    FOR EACH ROW EXECUTE FUNCTION plans_refuse_change_when_published();
CREATE TRIGGER published_is_frozen BEFORE UPDATE OR DELETE ON plans_tierschemeversion
    FOR EACH ROW EXECUTE FUNCTION plans_refuse_change_when_published();
CREATE TRIGGER published_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON plans_tier
    FOR EACH ROW EXECUTE FUNCTION plans_refuse_change_of_published_tier();
"""
THAW = """
DROP TRIGGER published_is_frozen ON plans_tier;
DROP TRIGGER published_is_frozen ON plans_tierschemeversion;
DROP TRIGGER published_is_frozen ON plans_planversion;
DROP FUNCTION plans_refuse_change_of_published_tier();
DROP FUNCTION plans_refuse_change_when_published();
"""


class Migration(migrations.Migration):
    dependencies = [("plans", "0002_scheme_spans_and_default_scheme")]

    operations = [migrations.RunSQL(FREEZE, THAW)]
