"""Is every cent of credit given, used, returned or taken back once, and only where and while it is valid?"""

from billing.books.invariant import Invariant

# What moved through the account of each grant, by reason. A draw that a void returned has its mirror among `returned`.
MOVED = """
SELECT g.id AS grant_id,
    coalesce(sum(t.amount) FILTER (WHERE t.credit_id = account.id AND t.key = 'grant:' || g.id || ':given'
        OR t.credit_id = account.id AND t.key = 'invoice:' || g.invoice_id || ':top-up'), 0)::bigint AS given,
    coalesce(sum(t.amount) FILTER (WHERE t.debit_id = account.id
        AND t.key = 'invoice:' || t.invoice_id || ':grant:' || g.id), 0)::bigint AS drawn,
    coalesce(sum(t.amount) FILTER (WHERE t.credit_id = account.id
        AND t.key = 'invoice:' || t.invoice_id || ':grant:' || g.id || ':void'), 0)::bigint AS returned,
    coalesce(sum(t.amount) FILTER (WHERE t.debit_id = account.id AND t.invoice_id IS NULL AND (
        t.key ~ ('^grant:' || g.id || ':(expired|voided):[0-9]+$')
        OR t.key = 'credit_note:' || t.credit_note_id || ':net')), 0)::bigint AS taken_back,
    max(t.posted_at) AS last_moved_at
FROM billing_grant g LEFT JOIN billing_account account ON account.grant_id = g.id
LEFT JOIN billing_transfer t ON account.id IN (t.debit_id, t.credit_id) GROUP BY g.id
"""
GRANT = """
JOIN plans_customer customer ON customer.id = g.customer_id
LEFT JOIN billing_account account ON account.grant_id = g.id
"""
BALANCE = f"""
WITH moved AS ({MOVED})
SELECT customer.key AS customer, g.id AS grant, g.name, g.amount, account.credits - account.debits AS balance,
    given, drawn, returned, taken_back
FROM billing_grant g {GRANT} JOIN moved ON moved.grant_id = g.id
WHERE account.credits - account.debits IS DISTINCT FROM given - drawn + returned - taken_back
   OR given <> CASE WHEN g.usable_at IS NULL THEN 0 ELSE g.amount END
"""
OWN_ACCOUNT = f"""
SELECT customer.key AS customer, g.id AS grant, g.currency, account.customer_id AS account_customer,
    account.currency AS account_currency, account.kind
FROM billing_grant g {GRANT}
WHERE (account.customer_id, account.currency, account.kind, customer.currency)
    IS DISTINCT FROM (g.customer_id, g.currency, 'grant', g.currency)
"""
OVERDRAWN = f"""
WITH moved AS ({MOVED})
SELECT customer.key AS customer, g.id AS grant, g.amount, account.debits, account.credits, drawn, returned
FROM billing_grant g {GRANT} JOIN moved ON moved.grant_id = g.id
WHERE account.debits > account.credits OR drawn - returned NOT BETWEEN 0 AND given
"""
# Invoices of a moment may use what is valid between their drafting and their finalizing, others what was at any moment
# of their period.
DRAWS = """
SELECT t.key, t.amount, t.invoice_id, g.id AS grant_id, g.customer_id, g.currency, g.kind, g.effective_at, g.expires_at,
    g.usable_at, g.voided_at
FROM billing_transfer t JOIN billing_account account ON account.id = t.debit_id
JOIN billing_grant g ON g.id = account.grant_id WHERE t.invoice_id IS NOT NULL
"""
OUT_OF_TIME = f"""
SELECT invoice.number, invoice.kind, draw.key, draw.amount, draw.effective_at, draw.expires_at, draw.usable_at,
    draw.voided_at, invoice.period_start, invoice.period_end, invoice.created_at, invoice.finalized_at
FROM ({DRAWS}) draw JOIN billing_invoice invoice ON invoice.id = draw.invoice_id
WHERE (invoice.customer_id, invoice.currency) <> (draw.customer_id, draw.currency)
   OR invoice.kind = 'top_up' OR invoice.finalized_at IS NULL
   OR draw.usable_at IS NULL OR draw.usable_at > invoice.finalized_at OR draw.voided_at < invoice.finalized_at
   OR CASE WHEN invoice.kind IN ('start', 'change', 'one_off')
      THEN draw.effective_at > invoice.finalized_at OR draw.expires_at <= invoice.created_at
      ELSE draw.effective_at >= invoice.period_end OR draw.expires_at <= invoice.period_start END
"""
SHOWN = f"""
WITH drawn AS (
    SELECT invoice_id, sum(amount) FILTER (WHERE kind = 'promotional') AS promotional,
        sum(amount) FILTER (WHERE kind = 'paid') AS paid
    FROM ({DRAWS}) draw GROUP BY invoice_id
), line AS (
    SELECT invoice_id, -sum(amount) AS credit FROM billing_invoiceline WHERE kind = 'credit' GROUP BY invoice_id
)
SELECT invoice.number, coalesce(line.credit, 0) AS credit_lines, coalesce(drawn.promotional, 0) AS promotional_draws,
    invoice.prepaid_applied, coalesce(drawn.paid, 0) AS prepaid_draws
FROM billing_invoice invoice LEFT JOIN drawn ON drawn.invoice_id = invoice.id
LEFT JOIN line ON line.invoice_id = invoice.id
WHERE (coalesce(line.credit, 0), invoice.prepaid_applied)
    <> (coalesce(drawn.promotional, 0), coalesce(drawn.paid, 0))
"""
SOLD = """
SELECT invoice.number, invoice.status, invoice.total, g.id AS grant, g.amount, g.usable_at, g.voided_at
FROM (SELECT * FROM billing_invoice WHERE kind = 'top_up') invoice
FULL JOIN (SELECT * FROM billing_grant WHERE invoice_id IS NOT NULL) g ON g.invoice_id = invoice.id
WHERE (invoice.customer_id, invoice.currency, invoice.total, 'paid')
    IS DISTINCT FROM (g.customer_id, g.currency, g.amount, g.kind)
   OR (invoice.status = 'paid') <> (g.usable_at IS NOT NULL)
   OR invoice.status = 'void' AND g.voided_at IS NULL
   OR invoice.status NOT IN ('void', 'paid') AND g.voided_at IS NOT NULL
"""


def _account(kind: str, expected: str) -> str:
    """Customers whose plain account of a kind holds (debits less credits) another amount than they should."""
    return f"""
WITH expected AS ({expected}), held AS (
    SELECT customer_id, currency, sum(debits - credits)::bigint AS balance FROM billing_account
    WHERE kind = '{kind}' GROUP BY customer_id, currency
)
SELECT customer.key AS customer, both_sides.currency, coalesce(balance, 0) AS balance, coalesce(amount, 0) AS expected
FROM (expected FULL JOIN held USING (customer_id, currency)) both_sides
JOIN plans_customer customer ON customer.id = both_sides.customer_id WHERE coalesce(balance, 0) <> coalesce(amount, 0)
"""


# What was given up as uncollectible can still be paid.
PENDING = _account(
    "pending",
    """SELECT customer_id, currency, -sum(total)::bigint AS amount FROM billing_invoice
    WHERE kind = 'top_up' AND status IN ('finalized', 'uncollectible') GROUP BY customer_id, currency""",
)
PROMOTION = _account(
    "promotion",
    """SELECT g.customer_id, g.currency, sum(account.credits - account.debits)::bigint AS amount FROM billing_grant g
    JOIN billing_account account ON account.grant_id = g.id WHERE g.kind = 'promotional'
    GROUP BY g.customer_id, g.currency""",
)
# Only what a voided invoice returned may be there again, until the next sweep.
NOT_EMPTY = f"""
WITH moved AS ({MOVED})
SELECT customer.key AS customer, g.id AS grant, g.expired_at, g.voided_at, account.credits - account.debits AS balance
FROM billing_grant g {GRANT} JOIN moved ON moved.grant_id = g.id
WHERE coalesce(g.voided_at, g.expired_at) IS NOT NULL AND account.credits > account.debits
  AND moved.last_moved_at < %(now)s - interval '1 hour'
"""
EARLY = """
SELECT g.id AS grant, g.name, g.expires_at, g.expired_at FROM billing_grant g
WHERE g.expired_at IS NOT NULL AND (g.expires_at IS NULL OR g.expired_at < g.expires_at)
"""
# Nothing is left to wait for: no period that began before is uninvoiced, no draft is from before; and all that for an
# hour.
OVERDUE = f"""
SELECT customer.key AS customer, g.id AS grant, g.expires_at, account.credits - account.debits AS balance
FROM billing_grant g {GRANT}
WHERE g.usable_at IS NOT NULL AND g.voided_at IS NULL AND account.credits > account.debits
  AND g.expires_at < %(now)s - interval '1 hour'
  AND NOT EXISTS (SELECT FROM billing_transfer t
    WHERE account.id IN (t.debit_id, t.credit_id) AND t.posted_at > %(now)s - interval '1 hour')
  AND NOT EXISTS (SELECT FROM billing_invoice invoice WHERE invoice.customer_id = g.customer_id
    AND CASE invoice.status WHEN 'draft' THEN least(invoice.period_start, invoice.created_at) < g.expires_at
        ELSE invoice.finalized_at > %(now)s - interval '1 hour' END)
  AND NOT EXISTS (SELECT FROM plans_subscription subscription
    LEFT JOIN billing_billingschedule schedule ON schedule.subscription_id = subscription.id
    LEFT JOIN LATERAL (SELECT max(period_end) AS ends_at FROM billing_invoice cycle
        WHERE cycle.subscription_id = subscription.id AND cycle.kind = 'cycle') invoiced ON true
    WHERE subscription.customer_id = g.customer_id AND (schedule.due_at IS NOT NULL OR schedule IS NULL)
      AND subscription.ends_at IS DISTINCT FROM subscription.starts_at
      AND coalesce(invoiced.ends_at, subscription.starts_at) < g.expires_at)
"""
PURCHASES = """
SELECT customer.key AS customer, count(*) AS open_purchases, string_agg(invoice.number, ', ') AS invoices
FROM billing_grant g JOIN billing_invoice invoice ON invoice.id = g.invoice_id
JOIN plans_customer customer ON customer.id = g.customer_id
WHERE g.automatic AND invoice.status = 'finalized' GROUP BY customer.key HAVING count(*) > 1
"""

WALLETS = (
    Invariant(
        "grant_balance_is_what_was_given_less_what_was_used",
        "A grant holds its amount, once it is paid, less what was drawn and not returned, expired or taken back.",
        BALANCE,
    ),
    Invariant(
        "grant_has_its_own_account",
        "A grant has an account of its customer and currency, which is the customer's currency.",
        OWN_ACCOUNT,
    ),
    Invariant("grant_is_never_overdrawn", "Nothing less than nothing, or more than was given, is used.", OVERDRAWN),
    Invariant(
        "grant_is_used_within_its_time",
        "A grant pays invoices of its customer and currency alone, after it is usable and while it is valid.",
        OUT_OF_TIME,
    ),
    Invariant(
        "grant_use_is_on_the_invoice",
        "Promotional credit used is the credit line of the invoice, and prepaid credit used its prepaid amount.",
        SHOWN,
    ),
    Invariant(
        "grant_is_sold_with_its_invoice",
        "A top-up invoice sells one grant of its total, which is usable once it is paid and void when it is.",
        SOLD,
    ),
    Invariant(
        "pending_credit_is_that_of_unpaid_top_ups",
        "The pending account holds the top-up invoices that are finalized and not paid.",
        PENDING,
    ),
    Invariant(
        "promotion_is_what_is_left_of_presents",
        "The promotion account holds what is left of all promotional grants.",
        PROMOTION,
    ),
    Invariant("grant_that_is_over_is_empty", "Nothing stays in a grant that has expired or is void.", NOT_EMPTY),
    Invariant("grant_does_not_expire_early", "No grant expires before its time, or without one.", EARLY),
    Invariant(
        "grant_expires_when_it_is_over",
        "What is left expires within the hour after the last invoice that it could have paid.",
        OVERDUE,
    ),
    Invariant(
        "top_up_rule_has_one_open_purchase",
        "No customer has two automatic top-ups that are not paid.",
        PURCHASES,
    ),
)
