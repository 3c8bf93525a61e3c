"""Nothing finalized changes, against raw SQL too: invoices keep all but their status, lines and transfers everything."""

from django.db import migrations

FREEZE = """
CREATE FUNCTION billing_keep_finalized_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'finalized' AND NEW.status IN ('paid', 'void', 'uncollectible')
       AND to_jsonb(NEW) - '{status,paid_at,voided_at}'::text[] = to_jsonb(OLD) - '{status,paid_at,voided_at}'::text[]
    THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'uncollectible' AND NEW.status = 'paid'
       AND to_jsonb(NEW) - '{status,paid_at}'::text[] = to_jsonb(OLD) - '{status,paid_at}'::text[]
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'invoice % is finalized and frozen', OLD.number USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION billing_keep_finalized_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner billing_invoice;
BEGIN
    -- Where a line comes from and where it goes; the lock makes it wait for a finalizing that is going on.
    FOR owner IN SELECT * FROM billing_invoice WHERE id IN (OLD.invoice_id, NEW.invoice_id) FOR KEY SHARE LOOP
        IF owner.status <> 'draft' THEN
            RAISE EXCEPTION 'the lines of invoice % are frozen', owner.number USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE FUNCTION billing_keep_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION billing_let_account_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.debits >= OLD.debits AND NEW.credits >= OLD.credits
       AND to_jsonb(NEW) - '{debits,credits}'::text[] = to_jsonb(OLD) - '{debits,credits}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an account only grows' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER finalized_is_frozen BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_keep_finalized_invoice();
CREATE TRIGGER finalized_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION billing_keep_finalized_line();
CREATE TRIGGER transfer_is_frozen BEFORE UPDATE OR DELETE ON billing_transfer
    FOR EACH ROW EXECUTE FUNCTION billing_keep_transfer();
CREATE TRIGGER account_only_grows BEFORE UPDATE OR DELETE ON billing_account
    FOR EACH ROW EXECUTE FUNCTION billing_let_account_grow();
"""
THAW = """
DROP TRIGGER account_only_grows ON billing_account;
DROP TRIGGER transfer_is_frozen ON billing_transfer;
DROP TRIGGER finalized_is_frozen ON billing_invoiceline;
DROP TRIGGER finalized_is_frozen ON billing_invoice;
DROP FUNCTION billing_let_account_grow();
DROP FUNCTION billing_keep_transfer();
DROP FUNCTION billing_keep_finalized_line();
DROP FUNCTION billing_keep_finalized_invoice();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_invoices_ledger_collection")]

    operations = [migrations.RunSQL(FREEZE, THAW)]
