"""What could be wrong with the books: for every invariant, raw SQL that breaks it in the story of tests.billing.story.

Whoever runs it has switched off triggers and foreign keys; CHECK and UNIQUE constraints are dropped by the SQL itself.
"""

A_TRANSFER = "INSERT INTO billing_transfer (id, key, debit_id, credit_id, amount, invoice_id, posted_at)"

LEDGER = {
    "ledger_account_balance_is_the_sum_of_its_transfers": """
        UPDATE billing_account SET debits = debits + 1 WHERE kind = 'cash'""",
    "ledger_transfer_has_two_sides": """
        ALTER TABLE billing_transfer DROP CONSTRAINT transfer_has_two_sides;
        UPDATE billing_transfer SET credit_id = debit_id""",
    "ledger_transfer_stays_with_one_customer_and_currency": """
        UPDATE billing_account SET currency = 'EUR' WHERE kind = 'revenue'""",
    "ledger_transfer_happens_once_for_its_reason": f"""
        ALTER TABLE billing_transfer DROP CONSTRAINT billing_transfer_key_key;
        {A_TRANSFER} SELECT gen_random_uuid(), key, debit_id, credit_id, amount, invoice_id, posted_at
        FROM billing_transfer LIMIT 1""",
    "ledger_transfer_names_its_reason": """
        UPDATE billing_transfer SET key = replace(key, invoice_id::text, gen_random_uuid()::text)
        WHERE invoice_id IS NOT NULL""",
    "ledger_customer_has_one_account_of_a_kind": """
        DROP INDEX account_once;
        INSERT INTO billing_account (customer_id, kind, currency, debits, credits)
        SELECT customer_id, kind, currency, 0, 0 FROM billing_account WHERE grant_id IS NULL""",
    "ledger_reversal_is_an_exact_mirror": "UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE '%:void'",
    "ledger_receivable_is_the_sum_of_unpaid_invoices": """
        UPDATE billing_account SET debits = debits + 1 WHERE kind = 'receivable'""",
    "ledger_is_never_overdrawn": """
        ALTER TABLE billing_account DROP CONSTRAINT account_credit_never_overdrawn;
        UPDATE billing_account SET debits = credits + 1 WHERE kind = 'credit'""",
    "ledger_refund_account_is_what_is_on_its_way": """
        UPDATE billing_creditnote SET refund_status = 'succeeded' WHERE refund_status = 'pending'""",
}
POSTINGS = {
    "invoice_is_posted_once_with_its_total": "DELETE FROM billing_transfer WHERE key LIKE '%:total'",
    "grant_pays_what_is_owed_or_was_a_present": """
        UPDATE billing_transfer t SET credit_id = account.id
        FROM billing_account debit JOIN billing_account account USING (customer_id, currency)
        WHERE t.debit_id = debit.id AND t.key ~ ':grant:[^:]+$' AND account.kind = 'revenue'""",
    "invoice_tax_is_owed_to_the_state": "UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE '%:tax'",
    "void_invoice_is_reversed_whole": "DELETE FROM billing_transfer WHERE key LIKE '%:total:void'",
    "invoice_revenue_is_its_net_total": f"""
        {A_TRANSFER} SELECT gen_random_uuid(), key || ':again', debit_id, credit_id, amount, invoice_id, posted_at
        FROM billing_transfer WHERE key LIKE '%:total'""",
    "invoice_receivable_is_what_is_still_due": "UPDATE billing_invoice SET status = 'paid' WHERE status = 'finalized'",
    "invoice_bad_debt_is_what_was_given_up": "DELETE FROM billing_transfer WHERE key LIKE '%:write-off'",
    "paid_invoice_is_paid_in_full": "UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE '%:payment'",
}
INVOICES = {
    "invoice_subtotal_is_the_sum_of_its_lines": "DELETE FROM billing_invoiceline WHERE position = 0",
    "invoice_total_is_its_subtotal_with_tax": """
        ALTER TABLE billing_invoice DROP CONSTRAINT invoice_total_is_subtotal_and_tax;
        UPDATE billing_invoice SET tax = tax + 1""",
    "invoice_total_is_prepaid_and_credit_applied_and_amount_due": """
        ALTER TABLE billing_invoice DROP CONSTRAINT invoice_adds_up;
        UPDATE billing_invoice SET amount_due = total + 1""",
    "invoice_has_the_number_and_times_of_its_status": "UPDATE billing_invoice SET paid_at = NULL WHERE status = 'paid'",
    "invoice_numbers_have_no_gap": "UPDATE billing_invoicesequence SET last = last + 1",
    "invoice_number_was_given_by_a_sequence": "UPDATE billing_invoicesequence SET last = last - 1",
    "invoice_number_is_on_one_invoice": """
        ALTER TABLE billing_invoice DROP CONSTRAINT billing_invoice_number_key;
        UPDATE billing_invoice SET number = (SELECT min(number) FROM billing_invoice)""",
    "invoice_is_one_of_its_kind_a_period": """
        ALTER TABLE billing_invoice DROP CONSTRAINT invoice_once_a_period;
        UPDATE billing_invoice SET period_index = 0 WHERE kind = 'cycle'""",
    "reissued_invoice_takes_the_place_of_a_void_one": """
        UPDATE billing_invoice SET kind = 'top_up' WHERE reissue_of_id IS NOT NULL""",
    "invoice_lines_are_numbered": "DELETE FROM billing_invoiceline WHERE position = 0",
    "invoice_lines_stand_in_the_order_of_the_sum": "UPDATE billing_invoiceline SET position = 999 - position",
    "invoice_currency_is_that_of_customer_and_terms": "UPDATE billing_invoice SET currency = 'EUR'",
    "invoice_is_of_its_customers_agreement": """
        UPDATE billing_invoice SET customer_id = (SELECT id FROM plans_customer WHERE key = 'cleo')""",
    "invoice_line_is_for_the_invoiced_subscription": """
        UPDATE billing_invoiceline SET subscription_id = (
            SELECT subscription_id FROM billing_invoiceline WHERE subscription_id IS NOT NULL LIMIT 1)
        WHERE subscription_id IS NOT NULL""",
    "invoice_line_is_for_a_period_of_its_kind": """
        UPDATE billing_invoiceline SET period_index = period_index + 1 WHERE kind = 'usage'""",
    "invoice_line_without_a_period_is_by_hand_or_credit": """
        UPDATE billing_invoiceline SET kind = 'usage' WHERE kind = 'one_off'""",
    "one_off_line_is_its_quantity_times_its_price": """
        UPDATE billing_invoiceline SET quantity = quantity + 1 WHERE kind = 'one_off'""",
    "invoice_has_one_line_a_tier": """
        UPDATE billing_invoiceline SET tier = 'simple', details = '{}' WHERE kind = 'usage'""",
}
COUPONS = {
    "coupon_counts_its_redemptions": "UPDATE billing_coupon SET redeemed = 0",
    "coupon_is_redeemed_as_often_as_it_allows": """
        ALTER TABLE billing_redemption DROP CONSTRAINT coupon_once_a_subscription;
        INSERT INTO billing_redemption SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid()))).*
        FROM billing_redemption r""",
    "redemption_is_as_its_coupon_promised": "UPDATE billing_redemption SET end_period = end_period + 1",
    "coupon_discounts_the_periods_it_was_redeemed_for": """
        UPDATE billing_redemption SET first_period = first_period + 1, end_period = end_period + 1""",
    "discount_is_no_more_than_what_it_is_off": """
        UPDATE billing_invoiceline SET amount = amount * 1000 WHERE kind = 'discount'""",
    "discounted_line_keeps_at_least_nothing": "UPDATE billing_invoiceline SET amount = 1 WHERE kind = 'one_off'",
}
WALLETS = {
    "grant_balance_is_what_was_given_less_what_was_used": "DELETE FROM billing_transfer WHERE key LIKE '%:grant:%'",
    "grant_has_its_own_account": "UPDATE billing_account SET currency = 'EUR' WHERE kind = 'grant'",
    "grant_is_never_overdrawn": """
        ALTER TABLE billing_account DROP CONSTRAINT account_credit_never_overdrawn;
        UPDATE billing_account SET debits = credits + 1 WHERE kind = 'grant'""",
    "grant_is_used_within_its_time": "UPDATE billing_grant SET effective_at = '2030-01-01', expires_at = NULL",
    "grant_use_is_on_the_invoice": "UPDATE billing_invoiceline SET amount = amount - 1 WHERE kind = 'credit'",
    "grant_is_sold_with_its_invoice": "UPDATE billing_grant SET amount = amount + 1 WHERE invoice_id IS NOT NULL",
    "pending_credit_is_that_of_unpaid_top_ups": """
        UPDATE billing_account SET debits = debits + 1 WHERE kind = 'pending'""",
    "promotion_is_what_is_left_of_presents": "UPDATE billing_grant SET kind = 'paid', invoice_id = NULL",
    "grant_that_is_over_is_empty": "UPDATE billing_grant SET voided_at = created_at",
    "grant_does_not_expire_early": "UPDATE billing_grant SET expired_at = effective_at",
    "grant_expires_when_it_is_over": """
        UPDATE billing_grant SET effective_at = '2026-11-02', expires_at = '2026-12-01' WHERE voided_at IS NULL""",
    "top_up_rule_has_one_open_purchase": """
        UPDATE billing_grant SET automatic = true;
        UPDATE billing_invoice SET status = 'finalized' WHERE kind = 'top_up'""",
}
PRICES = {
    "usage_line_reprices_to_its_amount": "UPDATE billing_invoiceline SET amount = amount + 1 WHERE kind = 'usage'",
    "usage_line_details_lead_to_its_amount": """
        UPDATE billing_invoiceline SET details = jsonb_set(details, '{overage}', '99') WHERE kind = 'usage'""",
    "base_fee_line_is_the_fee_of_the_terms": """
        UPDATE billing_invoiceline SET amount = amount - 1 WHERE kind = 'base_fee'""",
    "base_fee_line_details_lead_to_its_amount": """
        UPDATE billing_invoiceline SET details = jsonb_set(details, '{share}', '"1/7"') WHERE kind = 'base_fee'""",
    "line_of_an_agreement_names_its_phase": "UPDATE billing_invoiceline SET phase_id = NULL WHERE kind = 'usage'",
    "adjustment_is_what_is_owed_less_what_was_billed": """
        UPDATE billing_invoiceline SET details = jsonb_set(details, '{owed}', '"0.99"') WHERE kind = 'adjustment'""",
    "invoiced_period_is_billed_as_counted_today": """
        WITH more AS (
            INSERT INTO metering_conversation SELECT (jsonb_populate_record(c, jsonb_build_object(
                'id', gen_random_uuid(), 'ordinal', c.ordinal + 1))).* FROM metering_conversation c
            WHERE reference = 'late' RETURNING *)
        INSERT INTO metering_settledconversation SELECT s.customer_id, s.settled_at, more.id, scheme_version_id,
            counted_tokens, turns, tier, s.outcome
        FROM more JOIN metering_conversation c ON c.reference = more.reference AND c.id <> more.id
        JOIN metering_settledconversation s ON s.customer_id = c.customer_id AND s.id = c.id""",
}
PERIODS = {
    "invoiced_period_is_that_of_the_calendar": """
        UPDATE billing_invoice SET period_end = period_end + interval '1 hour' WHERE kind = 'cycle'""",
    "cycles_of_a_subscription_tile_its_periods": """
        DELETE FROM billing_invoice WHERE kind = 'cycle' AND period_index = 1""",
    "schedule_follows_the_last_cycle": "UPDATE billing_billingschedule SET next_period = next_period - 1",
    "schedule_is_due_when_its_period_is_over": """
        UPDATE billing_billingschedule SET due_at = due_at + interval '1 day'""",
    "phases_tile_the_life_of_a_subscription": """
        UPDATE plans_subscriptionphase SET starts_at = starts_at + interval '1 day'""",
    "base_fees_are_billed_as_agreed": """
        DELETE FROM billing_invoiceline line USING plans_subscription subscription
        WHERE line.kind = 'base_fee' AND subscription.id = line.subscription_id AND subscription.ends_at IS NULL""",
    "subscription_is_scheduled": "DELETE FROM billing_billingschedule",
    "period_that_is_over_is_invoiced": "UPDATE billing_billingschedule SET due_at = due_at - interval '1 month'",
    "invoiced_period_was_read_from_the_meter": """
        UPDATE metering_meterreading SET read_to = read_to - interval '1 month'""",
    "late_change_has_an_invoice_to_come": """
        INSERT INTO metering_latechange (customer_id, day, noted_at)
        SELECT id, '2026-12-24', '2027-01-15' FROM plans_customer WHERE key = 'cleo'""",
}
EVENTS = {
    "event_is_stored_once": """
        ALTER TABLE metering_event DROP CONSTRAINT metering_event_pkey;
        INSERT INTO metering_event SELECT * FROM metering_event LIMIT 1""",
    "usage_refers_to_rows_that_exist": "DELETE FROM metering_supplierrate",
    "event_usage_is_possible": "UPDATE metering_event SET reasoning_tokens = output_tokens + 1",
    "unpriced_event_has_no_cost": """
        UPDATE metering_event SET cost_nanos = 0 WHERE rate_id IS NULL AND kind <> 'close'""",
    "event_costs_what_its_rate_says": "UPDATE metering_event SET cost_nanos = cost_nanos + 1 WHERE rate_id IS NOT NULL",
    "event_rate_was_in_force": "UPDATE metering_supplierrate SET starts_at = '2027-01-01'",
    "corrected_event_has_its_history": "DELETE FROM metering_correction",
    "released_event_is_stored": "DELETE FROM metering_event WHERE event_id = 'early'",
    "event_of_a_known_customer_is_released": "UPDATE metering_quarantinedevent SET released_at = NULL",
}
CONVERSATIONS = {
    "stored_events_are_folded_soon": """
        INSERT INTO metering_unfoldedevents (id, customer_id, received_at, entries)
        SELECT gen_random_uuid(), id, '2020-01-01', ''::bytea FROM plans_customer LIMIT 1""",
    "event_lies_in_a_sitting": "DELETE FROM metering_conversation WHERE reference = 'chat' AND ordinal = 2",
    "sittings_are_numbered_and_do_not_overlap": """
        UPDATE metering_conversation SET opened_at = opened_at - interval '4 days' WHERE ordinal = 2""",
    "conversation_is_the_fold_of_its_events": "DELETE FROM metering_event WHERE event_id = 'a2'",
    "conversation_outcome_is_the_last_reported": """
        UPDATE metering_conversation SET outcome = 'resolved' WHERE outcome = 'solved'""",
    "conversation_settles_by_its_boundary_rule": """
        UPDATE metering_conversation SET settles_at = settles_at - interval '1 microsecond'""",
    "conversation_is_cut_by_the_scheme_in_force": "UPDATE metering_conversation SET boundary_id = gen_random_uuid()",
    "settled_conversation_is_in_its_tier": """
        UPDATE metering_settledconversation SET tier = 'complex' WHERE tier = 'simple'""",
    "conversation_is_either_open_or_settled": """
        INSERT INTO metering_openconversation SELECT customer_id, id, settled_at FROM metering_settledconversation""",
    "due_conversation_is_settled": """
        WITH reopened AS (DELETE FROM metering_settledconversation RETURNING *)
        INSERT INTO metering_openconversation SELECT customer_id, id, settled_at FROM reopened""",
    "tally_is_what_settled_in_its_time": """
        INSERT INTO metering_tally (customer_id, hours, start, tiers, outcomes, counts)
        SELECT id, 24, '2026-11-01T00:00Z', '{simple}', '{NULL}', '{1}' FROM plans_customer""",
}
COLLECTING = {
    "invoice_with_an_amount_due_is_collected": "DELETE FROM billing_collection",
    "collection_agrees_with_its_invoice": "UPDATE billing_collection SET state = 'done'",
    "collection_is_not_parked": "UPDATE billing_collection SET state = 'parked' WHERE state = 'sent'",
    "collection_is_not_stuck": "UPDATE billing_collection SET not_before = not_before - interval '1 month'",
    "stripe_invoice_is_of_one_invoice": """
        ALTER TABLE billing_collection DROP CONSTRAINT billing_collection_stripe_invoice_id_key;
        UPDATE billing_collection SET stripe_invoice_id = 'in_1'""",
    "invoice_has_one_stripe_invoice": "UPDATE billing_stripecall SET stripe_id = 'in_2' WHERE step = 'create'",
    "stripe_customer_is_the_one_we_made": "DELETE FROM billing_stripecustomer",
    "stripe_call_is_named_for_its_step": "UPDATE billing_stripecall SET idempotency_key = idempotency_key || ':2'",
    "stripe_call_has_an_outcome": "UPDATE billing_stripecall SET state = 'intent'",
    "stripe_event_is_worked_off": "UPDATE billing_stripeevent SET state = 'parked'",
}
TAXES = {
    "invoice_tax_is_its_percentage_of_the_subtotal": "UPDATE billing_invoice SET tax_percent = tax_percent + 1",
    "invoice_tax_rate_was_in_force": "UPDATE billing_taxrate SET starts_at = '2030-01-01'",
    "top_up_is_not_taxed": "UPDATE billing_invoice SET tax_name = 'VAT' WHERE kind = 'top_up'",
    "tax_by_stripe_is_recorded_there": "DELETE FROM billing_stripecall WHERE step = 'untax'",
    "draft_does_not_wait_for_its_tax": "UPDATE billing_invoice SET finalize_at = '2026-11-02' WHERE number IS NOT NULL",
}
CREDIT_NOTES = {
    "credit_note_is_of_its_invoice": """
        UPDATE billing_creditnote SET invoice_id = (SELECT id FROM billing_invoice WHERE number IS NOT NULL LIMIT 1)""",
    "credit_note_adds_up": "UPDATE billing_creditnoteline SET tax = tax + 1",
    "credit_notes_take_back_no_more_than_there_was": "UPDATE billing_creditnoteline SET amount = amount + 1000",
    "credit_notes_give_back_their_share_of_the_tax": """
        UPDATE billing_creditnote SET tax = tax + 1, total = total + 1, off_due = off_due + 1""",
    "credit_note_is_posted": "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:due'",
    "refund_that_came_back_is_an_exact_mirror": """
        UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE 'credit_note:%:returned'""",
    "credit_note_of_a_void_invoice_is_annulled": "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:void'",
    "refund_is_of_what_was_collected": """
        UPDATE billing_creditnote SET refunded = 10000, total = off_due + 10000 + credited WHERE refunded > 0""",
    "credit_note_has_the_state_of_its_refund": "UPDATE billing_creditnote SET refund_status = ''",
    "stripe_object_is_of_one_credit_note": "UPDATE billing_creditnote SET stripe_id = 'cn_1'",
    "credit_note_is_not_parked": "UPDATE billing_creditnote SET state = 'parked' WHERE state = 'sent'",
    "credit_note_is_not_stuck": "UPDATE billing_creditnote SET not_before = not_before - interval '1 month'",
}
DATABASE = {
    "index_and_constraint_are_valid": """
        ALTER TABLE billing_transfer ADD CONSTRAINT planted CHECK (amount > 1) NOT VALID""",
    "constraint_of_the_models_is_in_the_database": "DROP INDEX account_once",
    "commit_survives_a_power_cut": "SET LOCAL synchronous_commit = off",
    "freezing_trigger_is_enabled": "ALTER TABLE billing_transfer DISABLE TRIGGER transfer_is_frozen",
}
PLANTED = (
    LEDGER
    | POSTINGS
    | INVOICES
    | COUPONS
    | WALLETS
    | TAXES
    | CREDIT_NOTES
    | PRICES
    | PERIODS
    | EVENTS
    | CONVERSATIONS
    | COLLECTING
    | DATABASE
)
