"""The check of the books is loud about every way in which taxes, credit notes and refunds could be wrong."""

import pytest

from billing.books import check
from tests.billing.story import NOW
from tests.billing.test_books import plant, story

__all__ = ["story"]

pytestmark = [pytest.mark.usefixtures("story"), pytest.mark.django_db]

NOTE = "SELECT id FROM billing_creditnote WHERE"
TRANSFER = "INSERT INTO billing_transfer (id, key, debit_id, credit_id, amount, invoice_id, credit_note_id, posted_at)"

WRONG = [
    # The ledger
    ("ledger_transfer_names_its_reason", "UPDATE billing_transfer SET credit_note_id = NULL WHERE invoice_id IS NULL"),
    (
        "ledger_transfer_names_its_reason",
        "UPDATE billing_transfer t SET invoice_id = note.invoice_id FROM billing_creditnote note"
        " WHERE note.id = t.credit_note_id",
    ),
    (
        "ledger_transfer_stays_with_one_customer_and_currency",
        "UPDATE billing_creditnote SET currency = 'EUR'",
    ),
    ("ledger_reversal_is_an_exact_mirror", "UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE '%:due'"),
    (
        "ledger_receivable_is_the_sum_of_unpaid_invoices",
        "UPDATE billing_creditnote SET off_due = off_due - 1, credited = credited + 1 WHERE off_due > 0",
    ),
    (
        "ledger_refund_account_is_what_is_on_its_way",
        "UPDATE billing_account SET credits = credits + 1 WHERE kind = 'refund'",
    ),
    # Postings
    ("invoice_is_posted_once_with_its_total", "DELETE FROM billing_transfer WHERE key LIKE 'invoice:%:tax'"),
    (
        "invoice_is_posted_once_with_its_total",
        "UPDATE billing_invoice SET kind = 'one_off' WHERE kind = 'top_up' AND status = 'paid'",
    ),
    ("void_invoice_is_reversed_whole", "DELETE FROM billing_transfer WHERE key LIKE '%:grant:%:void'"),
    ("invoice_revenue_is_its_net_total", "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:net'"),
    ("invoice_tax_is_owed_to_the_state", "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:tax'"),
    ("invoice_receivable_is_what_is_still_due", "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:due'"),
    ("paid_invoice_is_paid_in_full", "UPDATE billing_transfer SET amount = amount + 1 WHERE key ~ ':grant:[^:]+$'"),
    # Taxes
    ("invoice_tax_is_its_percentage_of_the_subtotal", "UPDATE billing_invoice SET tax_percent = NULL"),
    ("invoice_tax_rate_was_in_force", "UPDATE billing_invoice SET tax_name = 'GST' WHERE tax_percent > 0"),
    ("top_up_is_not_taxed", "UPDATE billing_invoice SET kind = 'top_up' WHERE tax > 0"),
    ("tax_by_stripe_is_recorded_there", "UPDATE billing_stripecall SET state = 'refused' WHERE step = 'tax'"),
    ("tax_by_stripe_is_recorded_there", "UPDATE billing_stripecall SET state = 'intent' WHERE step = 'untax'"),
    ("tax_by_stripe_is_recorded_there", "UPDATE billing_invoice SET tax_reference = ''"),
    (
        "draft_does_not_wait_for_its_tax",
        "UPDATE billing_invoice SET status = 'draft', finalize_at = '2027-02-02' WHERE tax_reference <> ''",
    ),
    # Credit notes
    ("credit_note_is_of_its_invoice", "UPDATE billing_creditnote SET created_at = '2026-01-01'"),
    ("credit_note_is_of_its_invoice", "UPDATE billing_invoice SET status = 'void' WHERE status = 'paid'"),
    (
        "credit_note_is_of_its_invoice",
        "UPDATE billing_creditnote SET customer_id = (SELECT id FROM plans_customer WHERE key = 'cleo')",
    ),
    ("credit_note_adds_up", "DELETE FROM billing_creditnoteline"),
    ("credit_note_adds_up", "UPDATE billing_creditnote SET total = total + 1, credited = credited + 1"),
    (
        "credit_notes_take_back_no_more_than_there_was",
        "ALTER TABLE billing_invoice DROP CONSTRAINT invoice_total_is_subtotal_and_tax;"
        "ALTER TABLE billing_invoice DROP CONSTRAINT invoice_adds_up;"
        "UPDATE billing_invoice SET total = 1 WHERE total > 0",
    ),
    (
        "credit_notes_take_back_no_more_than_there_was",
        "UPDATE billing_creditnote SET off_due = off_due + 9999, total = total + 9999",
    ),
    (
        "credit_notes_take_back_no_more_than_there_was",
        "UPDATE billing_invoiceline SET amount = -amount WHERE kind = 'one_off'",
    ),
    ("credit_notes_give_back_their_share_of_the_tax", "UPDATE billing_creditnote SET net = net + 9999"),
    ("credit_note_is_posted", "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:refunded'"),
    ("credit_note_is_posted", "DELETE FROM billing_transfer WHERE key LIKE 'credit_note:%:kept'"),
    ("credit_note_is_posted", "UPDATE billing_transfer SET amount = amount + 1 WHERE key LIKE 'credit_note:%:net'"),
    ("credit_note_is_posted", "UPDATE billing_creditnote SET refund_status = 'pending'"),
    (
        "credit_note_is_posted",
        f"{TRANSFER} SELECT gen_random_uuid(), key || 'more', debit_id, credit_id, amount, NULL, credit_note_id,"
        " posted_at FROM billing_transfer WHERE key LIKE 'credit_note:%:net'",
    ),
    ("refund_that_came_back_is_an_exact_mirror", "UPDATE billing_creditnote SET refund_status = 'succeeded'"),
    ("refund_that_came_back_is_an_exact_mirror", "DELETE FROM billing_transfer WHERE key LIKE '%:refunded'"),
    (
        "credit_note_of_a_void_invoice_is_annulled",
        f"{TRANSFER} SELECT gen_random_uuid(), key || ':void', credit_id, debit_id, amount, NULL, credit_note_id,"
        " posted_at FROM billing_transfer WHERE key LIKE 'credit_note:%:refunding'",
    ),
    ("refund_is_of_what_was_collected", "DELETE FROM billing_transfer WHERE key LIKE '%:payment'"),
    ("credit_note_has_the_state_of_its_refund", "UPDATE billing_creditnote SET state = 'done'"),
    ("credit_note_has_the_state_of_its_refund", "UPDATE billing_creditnote SET state = 'due'"),
    ("credit_note_has_the_state_of_its_refund", "UPDATE billing_creditnote SET refund_id = '' WHERE state = 'sent'"),
    ("stripe_object_is_of_one_credit_note", "UPDATE billing_creditnote SET refund_id = 're_1'"),
    ("credit_note_is_not_stuck", "UPDATE billing_creditnote SET created_at = '2026-12-02' WHERE state = 'sent'"),
    (
        "credit_note_is_not_stuck",
        "UPDATE billing_creditnote SET state = 'due', not_before = '2027-02-02 15:00Z' WHERE off_due > 0",
    ),
    # Stripe
    ("collection_agrees_with_its_invoice", "UPDATE billing_collection SET stripe_status = 'paid'"),
    (
        "collection_agrees_with_its_invoice",
        "UPDATE billing_collection SET stripe_status = 'open', state = 'sent' WHERE stripe_status = 'paid'",
    ),
    (
        "stripe_call_is_named_for_its_step",
        "UPDATE billing_stripecall SET idempotency_key = idempotency_key || 'x' WHERE credit_note_id IS NOT NULL",
    ),
    (
        "stripe_call_is_named_for_its_step",
        "UPDATE billing_stripecall SET idempotency_key = idempotency_key || 'x' WHERE step = 'calculate'",
    ),
]


@pytest.mark.parametrize(("name", "sql"), WRONG)
def test_it_is_found(name: str, sql: str) -> None:
    assert not check(NOW, only=[name])
    plant(sql)
    (violation,) = check(NOW, only=[name])
    assert violation.rows


def test_an_invoice_credited_whole_before_stripe_knows_is_no_violation() -> None:
    plant("""
        UPDATE billing_collection SET stripe_status = 'open', state = 'sent', not_before = '2027-02-02 15:00Z'
        WHERE invoice_id = (SELECT invoice_id FROM billing_creditnote note JOIN billing_invoice i ON i.id = invoice_id
            WHERE i.status = 'paid' AND off_due = amount_due AND off_due > 0)""")
    assert not check(NOW, only=["collection_agrees_with_its_invoice"])
