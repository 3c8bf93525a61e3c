"""Does the ledger agree with itself, and with what customers owe?"""

from billing.books.invariant import Invariant

ACCOUNT_TOTALS = """
WITH side AS (
    SELECT debit_id AS account_id, amount AS debits, 0 AS credits FROM billing_transfer
    UNION ALL SELECT credit_id, 0, amount FROM billing_transfer
), moved AS (
    SELECT account_id, sum(debits)::bigint AS debits, sum(credits)::bigint AS credits FROM side GROUP BY account_id
)
SELECT customer.key AS customer, account.kind, account.currency, account.debits, account.credits,
    moved.debits AS debits_moved, moved.credits AS credits_moved
FROM billing_account account FULL JOIN moved ON moved.account_id = account.id
LEFT JOIN plans_customer customer ON customer.id = account.customer_id
WHERE (account.debits, account.credits) IS DISTINCT FROM (coalesce(moved.debits, 0), coalesce(moved.credits, 0))
"""
ONE_CUSTOMER = """
SELECT t.key, debit.currency AS debit_currency, credit.currency AS credit_currency, reason.currency AS reason_currency,
    debit.customer_id AS debit_customer, credit.customer_id AS credit_customer, reason.customer_id AS reason_customer
FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
JOIN billing_account credit ON credit.id = t.credit_id
LEFT JOIN (SELECT id, customer_id, currency FROM billing_invoice
    UNION ALL SELECT id, customer_id, currency FROM billing_creditnote) reason
    ON reason.id IN (t.invoice_id, t.credit_note_id)
WHERE (debit.customer_id, debit.currency) <> (credit.customer_id, credit.currency)
   OR (debit.customer_id, debit.currency) <> (reason.customer_id, reason.currency)
"""
TWO_SIDES = """
SELECT key, debit_id, credit_id, amount FROM billing_transfer WHERE debit_id = credit_id OR amount <= 0
"""
KEYS = """
SELECT t.key, t.invoice_id, t.credit_note_id FROM billing_transfer t
WHERE CASE split_part(t.key, ':', 1)
    WHEN 'invoice' THEN (split_part(t.key, ':', 2), NULL) IS DISTINCT FROM (t.invoice_id::text, t.credit_note_id::text)
    WHEN 'credit_note'
        THEN (NULL, split_part(t.key, ':', 2)) IS DISTINCT FROM (t.invoice_id::text, t.credit_note_id::text)
    ELSE coalesce(t.invoice_id, t.credit_note_id) IS NOT NULL END
"""
ONE_ACCOUNT = """
SELECT customer.key AS customer, kind, account.currency, count(*) AS accounts
FROM billing_account account JOIN plans_customer customer ON customer.id = account.customer_id
GROUP BY customer.key, kind, account.currency, account.grant_id HAVING count(*) > 1
"""
ONE_TRANSFER = """
SELECT key, count(*) AS transfers FROM billing_transfer GROUP BY key HAVING count(*) > 1
"""
MIRRORS = """
SELECT mirror.key, mirror.amount, original.amount AS original_amount,
    mirror.debit_id, mirror.credit_id, original.debit_id AS original_debit, original.credit_id AS original_credit
FROM billing_transfer mirror
LEFT JOIN billing_transfer original ON original.key = regexp_replace(mirror.key, ':(void|recovered)$', '')
WHERE mirror.key ~ ':(void|recovered)$'
  AND (mirror.debit_id, mirror.credit_id, mirror.amount, coalesce(mirror.invoice_id, mirror.credit_note_id))
      IS DISTINCT FROM (original.credit_id, original.debit_id, original.amount,
          coalesce(original.invoice_id, original.credit_note_id))
"""
RECEIVABLE = """
WITH owed AS (
    SELECT customer_id, currency, sum(amount_due - coalesce(credited, 0))::bigint AS amount_due
    FROM billing_invoice invoice
    LEFT JOIN (SELECT invoice_id, sum(off_due) AS credited FROM billing_creditnote GROUP BY invoice_id) notes
        ON notes.invoice_id = invoice.id
    WHERE status = 'finalized' GROUP BY customer_id, currency
), booked AS (
    SELECT customer_id, currency, sum(debits - credits)::bigint AS balance FROM billing_account
    WHERE kind = 'receivable' GROUP BY customer_id, currency
)
SELECT customer.key AS customer, both_sides.currency, coalesce(balance, 0) AS receivable,
    coalesce(amount_due, 0) AS unpaid_invoices
FROM (owed FULL JOIN booked USING (customer_id, currency)) both_sides
LEFT JOIN plans_customer customer ON customer.id = both_sides.customer_id
WHERE coalesce(balance, 0) <> coalesce(amount_due, 0)
"""
ON_ITS_WAY = """
WITH coming AS (
    SELECT customer_id, currency, sum(refunded)::bigint AS refunded FROM billing_creditnote
    WHERE refund_status NOT IN ('succeeded', 'failed', 'canceled') GROUP BY customer_id, currency
), booked AS (
    SELECT customer_id, currency, sum(credits - debits)::bigint AS balance FROM billing_account
    WHERE kind = 'refund' GROUP BY customer_id, currency
)
SELECT customer.key AS customer, both_sides.currency, coalesce(balance, 0) AS on_its_way,
    coalesce(refunded, 0) AS refunds
FROM (coming FULL JOIN booked USING (customer_id, currency)) both_sides
LEFT JOIN plans_customer customer ON customer.id = both_sides.customer_id
WHERE coalesce(balance, 0) <> coalesce(refunded, 0)
"""
OVERDRAWN = """
SELECT customer.key AS customer, account.kind, account.currency, account.debits, account.credits
FROM billing_account account JOIN plans_customer customer ON customer.id = account.customer_id
WHERE account.kind IN ('credit', 'grant', 'refund') AND account.credits < account.debits
   OR account.kind = 'receivable' AND account.debits < account.credits
"""

LEDGER = (
    Invariant(
        "ledger_account_balance_is_the_sum_of_its_transfers",
        "What an account says was debited and credited is what its transfers moved.",
        ACCOUNT_TOTALS,
    ),
    Invariant(
        "ledger_transfer_has_two_sides",
        "A transfer moves a positive amount between two different accounts.",
        TWO_SIDES,
    ),
    Invariant(
        "ledger_transfer_stays_with_one_customer_and_currency",
        "Both accounts of a transfer, and its invoice or credit note, are of the same customer and currency.",
        ONE_CUSTOMER,
    ),
    Invariant(
        "ledger_transfer_happens_once_for_its_reason",
        "No two transfers have the same key.",
        ONE_TRANSFER,
    ),
    Invariant(
        "ledger_transfer_names_its_reason",
        "The key of a transfer for an invoice or a credit note holds its id, and of no other.",
        KEYS,
    ),
    Invariant(
        "ledger_customer_has_one_account_of_a_kind",
        "A customer has one account of each kind in a currency, and one for each grant.",
        ONE_ACCOUNT,
    ),
    Invariant(
        "ledger_reversal_is_an_exact_mirror",
        "A void or recovery moves the amount of its original the other way, for the same reason.",
        MIRRORS,
    ),
    Invariant(
        "ledger_receivable_is_the_sum_of_unpaid_invoices",
        "What a customer owes in the ledger is what credit notes have left due of its finalized, unpaid invoices.",
        RECEIVABLE,
    ),
    Invariant(
        "ledger_is_never_overdrawn",
        "No credit is below zero, and no customer has paid more than it owed.",
        OVERDRAWN,
    ),
    Invariant(
        "ledger_refund_account_is_what_is_on_its_way",
        "What is on its way back to a customer is what its credit notes refund and nobody knows to have arrived.",
        ON_ITS_WAY,
    ),
)
