"""Is every invoice in the ledger with exactly what it says?"""

from billing.books.invariant import Invariant

NAMED = """
SELECT invoice_id, substr(key, length('invoice:' || invoice_id) + 2) AS name, amount,
    debit.kind AS debit, credit.kind AS credit
FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
JOIN billing_account credit ON credit.id = t.credit_id WHERE invoice_id IS NOT NULL
"""
POSTED_ONCE = f"""
WITH named AS ({NAMED}), expected AS (
    SELECT id, number, status, total, 'total' AS name, abs(total) AS amount,
        CASE WHEN total > 0 THEN 'receivable' ELSE 'revenue' END AS debit,
        CASE WHEN total > 0 THEN 'revenue' ELSE 'credit' END AS credit
    FROM billing_invoice WHERE status <> 'draft' AND total <> 0
    UNION ALL
    SELECT id, number, status, total, 'credit', credit_applied, 'credit', 'receivable'
    FROM billing_invoice WHERE status <> 'draft' AND credit_applied <> 0
)
SELECT expected.number, coalesce(expected.name, named.name) AS posting, expected.amount, named.amount AS posted,
    named.debit, named.credit, coalesce(expected.id, named.invoice_id) AS invoice
FROM expected FULL JOIN (SELECT * FROM named WHERE name IN ('total', 'credit')) named
  ON named.invoice_id = expected.id AND named.name = expected.name
WHERE (expected.amount, expected.debit, expected.credit) IS DISTINCT FROM (named.amount, named.debit, named.credit)
"""
VOIDED_WHOLE = f"""
WITH named AS ({NAMED})
SELECT invoice.number, invoice.status, named.name AS posting, named.amount, mirror.amount AS reversed
FROM billing_invoice invoice JOIN named ON named.invoice_id = invoice.id AND named.name IN ('total', 'credit')
LEFT JOIN named mirror ON mirror.invoice_id = invoice.id AND mirror.name = named.name || ':void'
WHERE (invoice.status = 'void') <> (mirror.amount IS NOT NULL)
"""


def _position(kind: str, expected: str) -> str:
    """Invoices whose transfers leave another balance (debits minus credits) in accounts of a kind than expected."""
    return f"""
WITH position AS (
    SELECT invoice_id,
        sum(CASE '{kind}' WHEN debit.kind THEN amount WHEN credit.kind THEN -amount END)::bigint AS balance
    FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
    JOIN billing_account credit ON credit.id = t.credit_id WHERE '{kind}' IN (debit.kind, credit.kind)
    GROUP BY invoice_id
)
SELECT invoice.number, invoice.status, invoice.total, invoice.amount_due, {expected} AS expected,
    coalesce(balance, 0) AS booked
FROM billing_invoice invoice LEFT JOIN position ON position.invoice_id = invoice.id
WHERE coalesce(balance, 0) <> {expected}
"""


REVENUE = _position("revenue", "CASE WHEN invoice.status IN ('draft', 'void') THEN 0 ELSE -invoice.total END")
STILL_DUE = _position("receivable", "CASE WHEN invoice.status = 'finalized' THEN invoice.amount_due ELSE 0 END")
GIVEN_UP = _position("bad_debt", "CASE WHEN invoice.status = 'uncollectible' THEN invoice.amount_due ELSE 0 END")
PAID_WHOLE = f"""
WITH paid AS (
    SELECT invoice_id, sum(amount) FILTER (WHERE name IN ('payment', 'carried'))::bigint AS collected,
        sum(amount) FILTER (WHERE name = 'credit')::bigint AS credited
    FROM ({NAMED}) named WHERE credit = 'receivable' GROUP BY invoice_id
)
SELECT invoice.number, invoice.status, invoice.total, coalesce(collected, 0) AS collected,
    coalesce(credited, 0) AS credited
FROM billing_invoice invoice LEFT JOIN paid ON paid.invoice_id = invoice.id
WHERE invoice.status = 'paid' AND coalesce(collected, 0) + coalesce(credited, 0) <> greatest(invoice.total, 0)
   OR invoice.status <> 'paid' AND coalesce(collected, 0) <> 0
"""

POSTINGS = (
    Invariant(
        "invoice_is_posted_once_with_its_total",
        "A finalized invoice has one transfer of its total and one of the credit applied to it; a draft has none.",
        POSTED_ONCE,
    ),
    Invariant(
        "void_invoice_is_reversed_whole",
        "What a void invoice had posted is reversed, and nothing of any other invoice is.",
        VOIDED_WHOLE,
    ),
    Invariant(
        "invoice_revenue_is_its_total",
        "All transfers of an invoice together earn its total; those of a void one earn nothing.",
        REVENUE,
    ),
    Invariant(
        "invoice_receivable_is_what_is_still_due",
        "All transfers of an invoice together leave owed what it still has due, and nothing once it is over.",
        STILL_DUE,
    ),
    Invariant(
        "invoice_bad_debt_is_what_was_given_up",
        "The amount due of an uncollectible invoice is written off, and of no other.",
        GIVEN_UP,
    ),
    Invariant(
        "paid_invoice_is_paid_in_full",
        "Payment, what Stripe carried over, and credit add up to the total of a paid invoice.",
        PAID_WHOLE,
    ),
)
