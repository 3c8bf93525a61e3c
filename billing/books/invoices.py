"""Is every invoice whole: lines, sums, number, state, customer and currency?"""

from billing.books.invariant import Invariant

SUM_OF_LINES = """
SELECT invoice.id, invoice.number, invoice.status, invoice.total, coalesce(lines.sum, 0) AS sum_of_lines
FROM billing_invoice invoice LEFT JOIN (
    SELECT invoice_id, sum(amount)::bigint FROM billing_invoiceline GROUP BY invoice_id
) lines ON lines.invoice_id = invoice.id
WHERE invoice.total <> coalesce(lines.sum, 0)
"""
ADDS_UP = """
SELECT id, number, status, total, credit_applied, amount_due FROM billing_invoice
WHERE status <> 'draft' AND (credit_applied, amount_due) IS DISTINCT FROM
    (CASE WHEN total > 0 THEN least(greatest(credit_applied, 0), total) ELSE 0 END, greatest(total, 0) - credit_applied)
"""
STATES = """
SELECT id, number, status, amount_due, finalized_at, paid_at, voided_at FROM billing_invoice
WHERE (status = 'draft') <> (number IS NULL) OR (status = 'draft') <> (finalized_at IS NULL)
   OR (status = 'paid') <> (paid_at IS NOT NULL) OR (status = 'void') <> (voided_at IS NOT NULL)
   OR status NOT IN ('draft', 'paid') AND amount_due = 0
"""
# A number is its prefix and at least six digits. Where numbers are missing, one of the first (count + 1) is missing.
GAPS = """
SELECT sequence.prefix, sequence.last, wanted.number AS missing
FROM billing_invoicesequence sequence
CROSS JOIN LATERAL generate_series(1, least(sequence.last, (SELECT count(*) + 1 FROM billing_invoice))) n
CROSS JOIN LATERAL (SELECT sequence.prefix || lpad(n::text, greatest(6, length(n::text)), '0') AS number) wanted
WHERE NOT EXISTS (SELECT FROM billing_invoice invoice WHERE invoice.number = wanted.number)
"""
NEVER_GIVEN = r"""
SELECT invoice.id, invoice.number, (SELECT max(last) FROM billing_invoicesequence) AS last_given
FROM billing_invoice invoice WHERE invoice.number IS NOT NULL AND NOT EXISTS (
    SELECT FROM billing_invoicesequence sequence
    CROSS JOIN LATERAL (SELECT substr(invoice.number, length(sequence.prefix) + 1) AS digits) own
    WHERE starts_with(invoice.number, sequence.prefix)
      AND own.digits ~ '^(\d{6}|[1-9]\d{6,17})$' AND own.digits::bigint BETWEEN 1 AND sequence.last)
"""
NUMBER_TWICE = """
SELECT number, count(*) AS invoices FROM billing_invoice WHERE number IS NOT NULL GROUP BY number HAVING count(*) > 1
"""
ONE_A_PERIOD = """
SELECT customer.key AS customer, subscription_id AS subscription, kind, period_index, count(*) AS invoices
FROM billing_invoice invoice JOIN plans_customer customer ON customer.id = invoice.customer_id
GROUP BY customer.key, subscription_id, kind, period_index HAVING count(*) > 1
"""
POSITIONS = """
SELECT * FROM (
    SELECT invoice.number, line.position, line.description,
        row_number() OVER (PARTITION BY invoice_id ORDER BY line.position) - 1 AS expected
    FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id) numbered
WHERE position <> expected
"""
CURRENCY = """
SELECT invoice.number, invoice.currency, customer.key AS customer, customer.currency AS customer_currency,
    version.terms::jsonb ->> 'currency' AS terms_currency
FROM billing_invoice invoice JOIN plans_customer customer ON customer.id = invoice.customer_id
JOIN plans_planversion version ON version.id = invoice.plan_version_id
WHERE (invoice.currency, invoice.currency) <> (customer.currency, version.terms::jsonb ->> 'currency')
"""
OWN_AGREEMENT = """
SELECT invoice.id, invoice.number, invoice.customer_id AS customer, subscription.customer_id AS subscriber,
    invoice.plan_version_id AS plan_version
FROM billing_invoice invoice JOIN plans_subscription subscription ON subscription.id = invoice.subscription_id
WHERE invoice.customer_id <> subscription.customer_id OR NOT EXISTS (
    SELECT FROM plans_subscriptionphase phase
    WHERE phase.subscription_id = subscription.id AND phase.plan_version_id = invoice.plan_version_id)
"""
# Only an adjustment may be for another subscription: an earlier one of the same customer.
OWN_LINES = """
SELECT invoice.number, line.position, line.kind, line.description, invoice.subscription_id AS invoiced_subscription,
    line.subscription_id AS line_subscription
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
JOIN plans_subscription subscription ON subscription.id = line.subscription_id
WHERE subscription.customer_id <> invoice.customer_id
   OR line.subscription_id <> invoice.subscription_id AND line.kind <> 'adjustment'
"""
# A base fee is for the period that begins, usage for the one that is over, an adjustment for one before it.
OWN_PERIOD = """
SELECT invoice.number, invoice.kind, invoice.period_index, line.position, line.kind AS line_kind,
    line.period_index AS line_period
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.subscription_id = invoice.subscription_id AND CASE
    WHEN line.kind = 'base_fee' AND invoice.kind = 'start' THEN line.period_index <> 0
    WHEN line.kind = 'base_fee' THEN invoice.kind <> 'cycle' OR line.period_index <> invoice.period_index + 1
    WHEN line.kind = 'usage' THEN invoice.kind <> 'cycle' OR line.period_index <> invoice.period_index
    WHEN line.kind = 'adjustment' THEN line.period_index >= invoice.period_index ELSE false END
"""
ONE_LINE_A_TIER = """
SELECT invoice.number, line.kind, line.tier, line.period_index, count(*) AS lines
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind IN ('base_fee', 'usage', 'adjustment')
GROUP BY invoice.number, invoice.id, line.subscription_id, line.kind, line.tier, line.period_index HAVING count(*) > 1
"""

INVOICES = (
    Invariant("invoice_total_is_the_sum_of_its_lines", "An invoice comes to what its lines add up to.", SUM_OF_LINES),
    Invariant(
        "invoice_total_is_credit_applied_and_amount_due",
        "A positive total is credit applied plus amount due; otherwise both are nothing.",
        ADDS_UP,
    ),
    Invariant(
        "invoice_has_the_number_and_times_of_its_status",
        "A finalized invoice has a number and a time, a paid and a void one theirs, and no other has.",
        STATES,
    ),
    Invariant("invoice_numbers_have_no_gap", "Every number up to the last given is on an invoice.", GAPS),
    Invariant(
        "invoice_number_was_given_by_a_sequence",
        "No invoice has a number beyond the last given, or one of no sequence.",
        NEVER_GIVEN,
    ),
    Invariant("invoice_number_is_on_one_invoice", "No two invoices have the same number.", NUMBER_TWICE),
    Invariant(
        "invoice_is_one_of_its_kind_a_period",
        "A period of a subscription has at most one invoice of each kind.",
        ONE_A_PERIOD,
    ),
    Invariant("invoice_lines_are_numbered", "The lines of an invoice are numbered from 0 without a gap.", POSITIONS),
    Invariant(
        "invoice_currency_is_that_of_customer_and_terms",
        "An invoice is in the currency the customer pays in and the plan is priced in.",
        CURRENCY,
    ),
    Invariant(
        "invoice_is_of_its_customers_agreement",
        "An invoice's subscription is the customer's, and was on the invoice's plan version.",
        OWN_AGREEMENT,
    ),
    Invariant(
        "invoice_line_is_for_the_invoiced_subscription",
        "Lines are for the invoice's subscription; an adjustment may be for another of the same customer.",
        OWN_LINES,
    ),
    Invariant(
        "invoice_line_is_for_a_period_of_its_kind",
        "Base fees are for the period that begins, usage for the one that is over, adjustments for earlier ones.",
        OWN_PERIOD,
    ),
    Invariant(
        "invoice_has_one_line_a_tier",
        "An invoice bills each tier, base fee and adjusted period once.",
        ONE_LINE_A_TIER,
    ),
)
