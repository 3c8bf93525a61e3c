"""Is every invoice in the ledger with exactly what it says, and what its credit notes have left of it?"""

from billing.books.invariant import Invariant

NAMED = """
SELECT invoice_id, substr(key, length('invoice:' || invoice_id) + 2) AS name, amount,
    debit.kind AS debit, credit.kind AS credit
FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
JOIN billing_account credit ON credit.id = t.credit_id WHERE invoice_id IS NOT NULL
"""
# What is claimed is owed to us, or by us where it is less than nothing; a top-up earns nothing yet.
POSTED_ONCE = f"""
WITH named AS ({NAMED}), claim AS (
    SELECT id, number, 'total' AS name, total - tax AS claimed,
        CASE kind WHEN 'top_up' THEN 'pending' ELSE 'revenue' END AS source
    FROM billing_invoice WHERE status <> 'draft'
    UNION ALL SELECT id, number, 'tax', tax, 'tax' FROM billing_invoice WHERE status <> 'draft'
), expected AS (
    SELECT id, number, name, abs(claimed) AS amount, CASE WHEN claimed > 0 THEN 'receivable' ELSE source END AS debit,
        CASE WHEN claimed > 0 THEN source ELSE 'credit' END AS credit
    FROM claim WHERE claimed <> 0
    UNION ALL SELECT id, number, 'credit', credit_applied, 'credit', 'receivable'
    FROM billing_invoice WHERE status <> 'draft' AND credit_applied <> 0
)
SELECT expected.number, coalesce(expected.name, named.name) AS posting, expected.amount, named.amount AS posted,
    named.debit, named.credit, coalesce(expected.id, named.invoice_id) AS invoice
FROM expected FULL JOIN (SELECT * FROM named WHERE name IN ('total', 'tax', 'credit')) named
  ON named.invoice_id = expected.id AND named.name = expected.name
WHERE (expected.amount, expected.debit, expected.credit) IS DISTINCT FROM (named.amount, named.debit, named.credit)
"""
# Which grants are drawn, and how much, is a matter of the wallets.
DRAWN = f"""
SELECT invoice.number, named.name AS posting, named.amount, named.debit, named.credit
FROM ({NAMED}) named JOIN billing_invoice invoice ON invoice.id = named.invoice_id
WHERE named.name ~ '^grant:[^:]+$' AND (named.debit <> 'grant' OR named.credit NOT IN ('receivable', 'promotion'))
"""
VOIDED_WHOLE = f"""
WITH named AS ({NAMED})
SELECT invoice.number, invoice.status, named.name AS posting, named.amount, mirror.amount AS reversed
FROM billing_invoice invoice
JOIN named ON named.invoice_id = invoice.id AND named.name ~ '^(total|tax|credit|grant:[^:]+)$'
LEFT JOIN named mirror ON mirror.invoice_id = invoice.id AND mirror.name = named.name || ':void'
WHERE (invoice.status = 'void') <> (mirror.amount IS NOT NULL)
"""
NOTES = """
SELECT invoice_id, sum(total - tax)::bigint AS net, sum(tax)::bigint AS tax, sum(off_due)::bigint AS off_due
FROM billing_creditnote GROUP BY invoice_id
"""


def _position(kind: str, expected: str) -> str:
    """Invoices that leave, with their credit notes, another balance (debits less credits) in accounts of a kind."""
    return f"""
WITH position AS (
    SELECT coalesce(t.invoice_id, note.invoice_id) AS invoice_id,
        sum(CASE '{kind}' WHEN debit.kind THEN t.amount WHEN credit.kind THEN -t.amount END)::bigint AS balance
    FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
    JOIN billing_account credit ON credit.id = t.credit_id
    LEFT JOIN billing_creditnote note ON note.id = t.credit_note_id
    WHERE '{kind}' IN (debit.kind, credit.kind) GROUP BY coalesce(t.invoice_id, note.invoice_id)
), expected AS (
    SELECT invoice.id, invoice.number, invoice.status, invoice.total, invoice.tax, invoice.amount_due,
        {expected} AS expected
    FROM billing_invoice invoice LEFT JOIN (
        SELECT invoice_id, net, tax, off_due FROM ({NOTES}) notes
    ) notes ON notes.invoice_id = invoice.id
)
SELECT expected.*, coalesce(balance, 0) AS booked
FROM expected LEFT JOIN position ON position.invoice_id = expected.id WHERE coalesce(balance, 0) <> expected.expected
"""


STANDS = "invoice.status NOT IN ('draft', 'void')"
REVENUE = _position(
    "revenue",
    f"CASE WHEN {STANDS} AND invoice.kind <> 'top_up'"
    " THEN invoice.tax - invoice.total + coalesce(notes.net, 0) ELSE 0 END",
)
TAX = _position("tax", f"CASE WHEN {STANDS} THEN coalesce(notes.tax, 0) - invoice.tax ELSE 0 END")
STILL_DUE = _position(
    "receivable",
    "CASE WHEN invoice.status = 'finalized' THEN invoice.amount_due - coalesce(notes.off_due, 0) ELSE 0 END",
)
GIVEN_UP = _position(
    "bad_debt",
    "CASE WHEN invoice.status = 'uncollectible' THEN invoice.amount_due - coalesce(notes.off_due, 0) ELSE 0 END",
)
PAID_WHOLE = f"""
WITH paid AS (
    SELECT invoice_id, sum(amount) FILTER (WHERE name IN ('payment', 'carried'))::bigint AS collected,
        sum(amount) FILTER (WHERE name = 'credit' OR name ~ '^grant:[^:]+$')::bigint AS credited
    FROM ({NAMED}) named WHERE credit = 'receivable' GROUP BY invoice_id
)
SELECT invoice.number, invoice.status, invoice.total, coalesce(collected, 0) AS collected,
    coalesce(credited, 0) AS credited, coalesce(notes.off_due, 0) AS taken_off
FROM billing_invoice invoice LEFT JOIN paid ON paid.invoice_id = invoice.id
LEFT JOIN ({NOTES}) notes ON notes.invoice_id = invoice.id
WHERE invoice.status = 'paid'
    AND coalesce(collected, 0) + coalesce(credited, 0) + coalesce(notes.off_due, 0) <> greatest(invoice.total, 0)
   OR invoice.status <> 'paid' AND coalesce(collected, 0) <> 0
"""

POSTINGS = (
    Invariant(
        "invoice_is_posted_once_with_its_total",
        "A finalized invoice has one transfer each of its net total, its tax and the credit applied; a draft has none.",
        POSTED_ONCE,
    ),
    Invariant(
        "grant_pays_what_is_owed_or_was_a_present",
        "What an invoice draws from a grant pays what is owed, or uses a present up.",
        DRAWN,
    ),
    Invariant(
        "void_invoice_is_reversed_whole",
        "What a void invoice had posted is reversed, and nothing of any other invoice is.",
        VOIDED_WHOLE,
    ),
    Invariant(
        "invoice_revenue_is_its_net_total",
        "An invoice earns its total without tax, less what credit notes take back; a void one or a top-up nothing.",
        REVENUE,
    ),
    Invariant(
        "invoice_tax_is_owed_to_the_state",
        "The tax of an invoice is owed to the state, less what credit notes take back of it; of a void one, nothing.",
        TAX,
    ),
    Invariant(
        "invoice_receivable_is_what_is_still_due",
        "All transfers of an invoice together leave owed what credit notes have left due, and nothing once it is over.",
        STILL_DUE,
    ),
    Invariant(
        "invoice_bad_debt_is_what_was_given_up",
        "What was still due of an uncollectible invoice is written off, and of no other.",
        GIVEN_UP,
    ),
    Invariant(
        "paid_invoice_is_paid_in_full",
        "Payment, what Stripe carried over, credit and credit notes add up to the total of a paid invoice.",
        PAID_WHOLE,
    ),
)
