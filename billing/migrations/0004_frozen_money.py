"""What else never changes, against raw SQL too: credit notes, tax rates, and what a grant or a coupon promised."""

from django.db import migrations

FREEZE = """
CREATE OR REPLACE FUNCTION billing_keep_finalized_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := CASE NEW.status WHEN 'void' THEN '{status,voided_at,void_reason}' ELSE '{status,paid_at}' END;
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free = to_jsonb(OLD) - free
       AND (OLD.status = 'finalized' AND NEW.status IN ('paid', 'void', 'uncollectible')
            OR OLD.status = 'uncollectible' AND NEW.status = 'paid')
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'invoice % is finalized and frozen', OLD.number USING ERRCODE = 'restrict_violation';
END $$;

-- Its arguments name the columns that may still change.
CREATE FUNCTION billing_keep_all_but() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - TG_ARGV = to_jsonb(OLD) - TG_ARGV THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a row of % is frozen', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER credit_note_is_frozen BEFORE UPDATE OR DELETE ON billing_creditnote FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but(
        'state', 'stripe_id', 'refund_id', 'refund_status', 'attempts', 'not_before', 'last_error');
CREATE TRIGGER credit_note_is_frozen BEFORE UPDATE OR DELETE ON billing_creditnoteline FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but();
CREATE TRIGGER tax_rate_is_frozen BEFORE UPDATE OR DELETE ON billing_taxrate FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but();
CREATE TRIGGER grant_is_frozen BEFORE UPDATE OR DELETE ON billing_grant FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but('usable_at', 'expired_at', 'voided_at');
CREATE TRIGGER coupon_is_frozen BEFORE UPDATE OR DELETE ON billing_coupon FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but('redeemed', 'archived_at');
CREATE TRIGGER redemption_is_frozen BEFORE UPDATE OR DELETE ON billing_redemption FOR EACH ROW
    EXECUTE FUNCTION billing_keep_all_but('end_period');

-- Both accounts of a transfer, and what it is for, are of one customer and in one currency.
CREATE FUNCTION billing_keep_money_with_its_customer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(DISTINCT (customer_id, currency)) FROM (
        SELECT customer_id, currency FROM billing_account WHERE id IN (NEW.debit_id, NEW.credit_id)
        UNION ALL SELECT customer_id, currency FROM billing_invoice WHERE id = NEW.invoice_id
        UNION ALL SELECT customer_id, currency FROM billing_creditnote WHERE id = NEW.credit_note_id) side) > 1
    THEN
        RAISE EXCEPTION 'a transfer stays with one customer and in one currency' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER transfer_stays_with_its_customer BEFORE INSERT ON billing_transfer
    FOR EACH ROW EXECUTE FUNCTION billing_keep_money_with_its_customer();
"""
THAW = """
DROP TRIGGER transfer_stays_with_its_customer ON billing_transfer;
DROP FUNCTION billing_keep_money_with_its_customer();
DROP TRIGGER redemption_is_frozen ON billing_redemption;
DROP TRIGGER coupon_is_frozen ON billing_coupon;
DROP TRIGGER grant_is_frozen ON billing_grant;
DROP TRIGGER tax_rate_is_frozen ON billing_taxrate;
DROP TRIGGER credit_note_is_frozen ON billing_creditnoteline;
DROP TRIGGER credit_note_is_frozen ON billing_creditnote;
DROP FUNCTION billing_keep_all_but();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_terms_and_money")]

    operations = [migrations.RunSQL(FREEZE, THAW)]
