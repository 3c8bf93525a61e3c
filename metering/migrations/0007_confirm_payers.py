"""Intake remembers customers, and has the database confirm them; one index is enough for what waits to be folded."""

from django.db import migrations, models

# Each statement of a volatile function sees what is committed when it begins; so the locks come first, and then this.
CONFIRM = """
CREATE FUNCTION metering_confirm_payers(keys text[], ids uuid[], byoks bool[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM plans_customer customer
        JOIN unnest(keys, ids, byoks) remembered (key, id, byok) USING (key, id, byok)
        WHERE customer.erased_at IS NULL) <> cardinality(keys)
    THEN RAISE EXCEPTION 'a customer is not as remembered';
    END IF;
END $$"""
BY_CUSTOMER = """
ALTER TABLE metering_unfoldedevents DROP CONSTRAINT metering_unfoldedevents_pkey, ADD PRIMARY KEY (customer_id, id)"""
BY_ID = """
ALTER TABLE metering_unfoldedevents DROP CONSTRAINT metering_unfoldedevents_pkey, ADD PRIMARY KEY (id, customer_id)"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0006_tallies"), ("plans", "0006_service_ends")]

    operations = [
        migrations.RunSQL(CONFIRM, "DROP FUNCTION metering_confirm_payers"),
        migrations.RunSQL(
            BY_CUSTOMER,
            BY_ID,
            state_operations=[
                migrations.AlterField(
                    "unfoldedevents",
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                )
            ],
        ),
        migrations.RemoveIndex("unfoldedevents", "unfolded_of_customer"),
    ]
