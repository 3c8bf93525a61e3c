"""Does the database still keep its promises: constraints, frozen rows, and commits that survive a power cut?"""

import datetime as dt
from collections.abc import Iterator

from django.apps import apps
from django.db import connection

from billing.books.invariant import Invariant, Row

FLOORS = ("api", "plans", "metering", "billing")

BROKEN_INDEXES = """
SELECT index.indexrelid::regclass::text AS name, index.indrelid::regclass::text AS table,
    'index is invalid or not ready' AS fault
FROM pg_index index WHERE NOT (index.indisvalid AND index.indisready AND index.indislive)
UNION ALL
SELECT conname, conrelid::regclass::text, 'constraint is not validated or not enforced' FROM pg_constraint c
WHERE NOT convalidated OR to_jsonb(c) ->> 'conenforced' = 'false'
"""
PRESENT = """
SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE pg_table_is_visible(t.oid)
UNION SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indisunique AND pg_table_is_visible(x.indrelid)
"""
# Settings are those that this session's commits obey; other roles may have been given another default.
DURABILITY = """
SELECT name, setting, 'this session' AS of FROM pg_settings
WHERE (name IN ('fsync', 'full_page_writes') AND setting <> 'on') OR (name = 'synchronous_commit' AND setting = 'off')
UNION ALL
SELECT split_part(chosen, '=', 1), split_part(chosen, '=', 2),
    concat_ws(' in ', coalesce(nullif(setrole, 0)::regrole::text, 'every role'), datname)
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) chosen
WHERE chosen ~ '^synchronous_commit=(off|0|false|no)$' AND (setdatabase = 0 OR datname = current_database())
"""
FREEZE = """
SELECT wanted.table, wanted.trigger, coalesce(t.tgenabled::text, 'missing') AS state
FROM (VALUES ('plans_planversion', 'published_is_frozen'), ('plans_tierschemeversion', 'published_is_frozen'),
    ('plans_tier', 'published_is_frozen'), ('billing_invoice', 'finalized_is_frozen'),
    ('billing_invoiceline', 'finalized_is_frozen'), ('billing_transfer', 'transfer_is_frozen'),
    ('billing_transfer', 'transfer_stays_with_its_customer'), ('billing_account', 'account_only_grows'),
    ('billing_creditnote', 'credit_note_is_frozen'), ('billing_creditnoteline', 'credit_note_is_frozen'),
    ('billing_taxrate', 'tax_rate_is_frozen'), ('billing_grant', 'grant_is_frozen'),
    ('billing_coupon', 'coupon_is_frozen'), ('billing_redemption', 'redemption_is_frozen')) wanted ("table", trigger)
LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(wanted.table) AND t.tgname = wanted.trigger
WHERE coalesce(t.tgenabled, 'D') NOT IN ('O', 'A')
"""


def missing_constraints(now: dt.datetime) -> Iterator[Row]:
    """Constraints of the models that the database does not have."""
    with connection.cursor() as cursor:
        cursor.execute(PRESENT)
        present = {name for (name,) in cursor.fetchall()}
    for floor in FLOORS:
        for model in apps.get_app_config(floor).get_models():
            for constraint in model._meta.constraints:
                if constraint.name not in present:
                    yield {"table": model._meta.db_table, "constraint": constraint.name}


DATABASE = (
    Invariant(
        "index_and_constraint_are_valid",
        "Every index is usable and every constraint holds for all rows.",
        BROKEN_INDEXES,
    ),
    Invariant(
        "constraint_of_the_models_is_in_the_database",
        "The database has every constraint that the models name.",
        missing_constraints,
    ),
    Invariant(
        "commit_survives_a_power_cut",
        "fsync, full_page_writes and synchronous_commit are on, so that what was answered is stored.",
        DURABILITY,
    ),
    Invariant(
        "freezing_trigger_is_enabled",
        "The triggers that freeze published versions, invoices and the ledger are there and enabled.",
        FREEZE,
    ),
)
