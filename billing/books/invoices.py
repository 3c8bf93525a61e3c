"""Is every invoice whole: lines, sums, number, state, customer and currency?"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal, localcontext

from billing.books.invariant import Invariant, Row, paged
from plans.money import EXACT, to_minor

SUM_OF_LINES = """
SELECT invoice.id, invoice.number, invoice.status, invoice.subtotal, coalesce(lines.sum, 0) AS sum_of_lines
FROM billing_invoice invoice LEFT JOIN (
    SELECT invoice_id, sum(amount)::bigint FROM billing_invoiceline GROUP BY invoice_id
) lines ON lines.invoice_id = invoice.id
WHERE invoice.subtotal <> coalesce(lines.sum, 0)
"""
WITH_TAX = """
SELECT id, number, status, subtotal, tax, tax_inclusive, total FROM billing_invoice
WHERE status <> 'draft' AND total IS DISTINCT FROM subtotal + CASE WHEN tax_inclusive THEN 0 ELSE tax END
"""
ADDS_UP = """
SELECT id, number, status, total, prepaid_applied, credit_applied, amount_due FROM billing_invoice
WHERE status <> 'draft' AND (prepaid_applied + credit_applied + amount_due <> greatest(total, 0)
    OR least(prepaid_applied, credit_applied, amount_due) < 0)
"""
STATES = """
SELECT id, number, status, amount_due, finalized_at, paid_at, voided_at, void_reason FROM billing_invoice
WHERE (status = 'draft') <> (number IS NULL) OR (status = 'draft') <> (finalized_at IS NULL)
   OR (status = 'paid') <> (paid_at IS NOT NULL) OR (status = 'void') <> (voided_at IS NOT NULL)
   OR status NOT IN ('draft', 'paid') AND amount_due = 0 OR status <> 'void' AND void_reason <> ''
   OR status <> 'draft' AND tax IS NULL
"""
# Credit notes have their own prefix, and are numbered like invoices.
NUMBERS = """
SELECT id, number FROM billing_invoice WHERE number IS NOT NULL UNION ALL SELECT id, number FROM billing_creditnote
"""
# A number is its prefix and at least six digits. Where numbers are missing, one of the first (count + 1) is missing.
GAPS = f"""
WITH numbered AS ({NUMBERS})
SELECT sequence.prefix, sequence.last, wanted.number AS missing
FROM billing_invoicesequence sequence
CROSS JOIN LATERAL generate_series(1, least(sequence.last, (SELECT count(*) + 1 FROM numbered))) n
CROSS JOIN LATERAL (SELECT sequence.prefix || lpad(n::text, greatest(6, length(n::text)), '0') AS number) wanted
WHERE NOT EXISTS (SELECT FROM numbered WHERE numbered.number = wanted.number)
"""
NEVER_GIVEN = rf"""
WITH numbered AS ({NUMBERS})
SELECT numbered.id, numbered.number, (SELECT max(last) FROM billing_invoicesequence) AS last_given
FROM numbered WHERE NOT EXISTS (
    SELECT FROM billing_invoicesequence sequence
    CROSS JOIN LATERAL (SELECT substr(numbered.number, length(sequence.prefix) + 1) AS digits) own
    WHERE starts_with(numbered.number, sequence.prefix)
      AND own.digits ~ '^(\d{{6}}|[1-9]\d{{6,17}})$' AND own.digits::bigint BETWEEN 1 AND sequence.last)
"""
NUMBER_TWICE = f"""
WITH numbered AS ({NUMBERS})
SELECT number, count(*) AS papers FROM numbered GROUP BY number HAVING count(*) > 1
"""
# Of a start or a cycle there is another one only in the place of a void one.
ONE_A_PERIOD = """
SELECT customer.key AS customer, invoice.* FROM (
    SELECT customer_id, subscription_id AS subscription, number, kind, period_index, ordinal, reissue_of_id,
        row_number() OVER (PARTITION BY subscription_id, kind, period_index ORDER BY ordinal, id) - 1 AS expected
    FROM billing_invoice WHERE subscription_id IS NOT NULL) invoice
JOIN plans_customer customer ON customer.id = invoice.customer_id
WHERE ordinal <> expected OR kind IN ('start', 'cycle') AND (ordinal > 0) <> (reissue_of_id IS NOT NULL)
"""
REISSUED = """
SELECT invoice.id, invoice.number, invoice.kind, invoice.ordinal, old.number AS old_number, old.status AS old_status,
    old.ordinal AS old_ordinal
FROM billing_invoice invoice JOIN billing_invoice old ON old.id = invoice.reissue_of_id
WHERE old.status <> 'void' OR invoice.ordinal <= old.ordinal OR invoice.created_at < old.voided_at
   OR (invoice.customer_id, invoice.subscription_id, invoice.kind, invoice.period_index, invoice.currency)
      IS DISTINCT FROM (old.customer_id, old.subscription_id, old.kind, old.period_index, old.currency)
"""
POSITIONS = """
SELECT * FROM (
    SELECT invoice.number, line.position, line.description,
        row_number() OVER (PARTITION BY invoice_id ORDER BY line.position) - 1 AS expected
    FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id) numbered
WHERE position <> expected
"""
SUM_ORDER = """
SELECT * FROM (
    SELECT invoice.id, invoice.number, line.position, line.kind,
        lag(line.kind) OVER (PARTITION BY invoice_id ORDER BY line.position) AS kind_before
    FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id) line
CROSS JOIN LATERAL (SELECT ARRAY['base_fee', 'proration', 'usage', 'adjustment', 'one_off', 'discount', 'minimum',
    'maximum', 'credit'] AS sum) in_order
WHERE array_position(in_order.sum, kind::text) < array_position(in_order.sum, kind_before::text)
"""
CURRENCY = """
SELECT invoice.id, invoice.number, invoice.currency, customer.key AS customer, customer.currency AS customer_currency,
    version.terms::jsonb ->> 'currency' AS terms_currency
FROM billing_invoice invoice JOIN plans_customer customer ON customer.id = invoice.customer_id
LEFT JOIN plans_planversion version ON version.id = invoice.plan_version_id
WHERE invoice.currency <> customer.currency OR invoice.currency <> version.terms::jsonb ->> 'currency'
"""
OWN_AGREEMENT = """
SELECT invoice.id, invoice.number, invoice.customer_id AS customer, subscription.customer_id AS subscriber,
    invoice.plan_version_id AS plan_version
FROM billing_invoice invoice JOIN plans_subscription subscription ON subscription.id = invoice.subscription_id
WHERE invoice.customer_id <> subscription.customer_id OR NOT EXISTS (
    SELECT FROM plans_subscriptionphase phase
    WHERE phase.subscription_id = subscription.id AND phase.plan_version_id = invoice.plan_version_id)
"""
# What changed about an earlier subscription of the customer is billed with the one it has now.
OWN_LINES = """
SELECT invoice.number, line.position, line.kind, line.description, invoice.subscription_id AS invoiced_subscription,
    line.subscription_id AS line_subscription
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
JOIN plans_subscription subscription ON subscription.id = line.subscription_id
WHERE subscription.customer_id <> invoice.customer_id
   OR line.subscription_id IS DISTINCT FROM invoice.subscription_id
      AND (invoice.subscription_id IS NULL OR line.kind NOT IN ('adjustment', 'proration'))
"""
OWN_PERIOD = """
SELECT invoice.id, invoice.number, invoice.kind, invoice.period_index, line.position, line.kind AS line_kind,
    line.period_index AS line_period
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE CASE
    WHEN line.kind = 'base_fee' THEN line.period_index NOT IN (invoice.period_index, invoice.period_index + 1)
    WHEN line.kind = 'usage' THEN invoice.kind <> 'cycle' OR line.period_index <> invoice.period_index
    WHEN line.kind = 'adjustment' THEN NOT EXISTS (SELECT FROM billing_invoice closing
        WHERE closing.subscription_id = line.subscription_id AND closing.period_index = line.period_index
          AND closing.kind = 'cycle' AND closing.id <> invoice.id AND closing.created_at <= invoice.created_at)
    ELSE false END
"""
BY_HAND = """
SELECT invoice.id, invoice.number, invoice.kind AS invoice_kind, line.position, line.kind, line.period_index,
    line.redemption_id AS redemption
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE (line.period_index IS NULL) <> (line.subscription_id IS NULL)
   OR CASE line.kind WHEN 'discount' THEN (line.period_index IS NULL) <> (line.redemption_id IS NULL)
      ELSE line.redemption_id IS NOT NULL OR (line.period_index IS NULL) <> (line.kind IN ('one_off', 'credit')) END
   OR line.kind = 'credit' AND (line.amount >= 0 OR invoice.status = 'draft')
   OR line.kind = 'one_off' AND line.amount < 0
"""
BILLED_ONCE = """
SELECT invoice.number, invoice.currency, line.position, line.description, line.quantity, line.unit_amount, line.amount
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id WHERE line.kind = 'one_off'
"""
ONE_LINE_A_TIER = """
SELECT invoice.number, line.kind, line.tier, line.period_index, count(*) AS lines
FROM billing_invoiceline line JOIN billing_invoice invoice ON invoice.id = line.invoice_id
WHERE line.kind IN ('base_fee', 'usage', 'adjustment', 'credit')
GROUP BY invoice.number, invoice.id, line.subscription_id, line.kind, line.tier, line.period_index, line.phase_id,
    line.period_start, line.details ->> 'tier' HAVING count(*) > 1
"""


def mispriced_one_offs(now: dt.datetime) -> Iterator[Row]:
    """Lines billed once whose amount is not their quantity times their price."""
    for line in paged(BILLED_ONCE):
        with localcontext(EXACT):
            amount = to_minor(line["quantity"] * (line["unit_amount"] or Decimal(0)), line["currency"])
        if line["amount"] != amount:
            yield {**line, "priced_anew": amount}


INVOICES = (
    Invariant(
        "invoice_subtotal_is_the_sum_of_its_lines", "An invoice comes to what its lines add up to.", SUM_OF_LINES
    ),
    Invariant(
        "invoice_total_is_its_subtotal_with_tax",
        "Tax is added to the subtotal of a finalized invoice, unless it is contained in it.",
        WITH_TAX,
    ),
    Invariant(
        "invoice_total_is_prepaid_and_credit_applied_and_amount_due",
        "A positive total is prepaid credit, credit and amount due; otherwise all of them are nothing.",
        ADDS_UP,
    ),
    Invariant(
        "invoice_has_the_number_and_times_of_its_status",
        "A finalized invoice has number, tax and a time, a paid and a void one their times, and no other has.",
        STATES,
    ),
    Invariant(
        "invoice_numbers_have_no_gap", "Every number up to the last given is on an invoice or credit note.", GAPS
    ),
    Invariant(
        "invoice_number_was_given_by_a_sequence",
        "No invoice or credit note has a number beyond the last given, or one of no sequence.",
        NEVER_GIVEN,
    ),
    Invariant(
        "invoice_number_is_on_one_invoice", "No two invoices or credit notes have the same number.", NUMBER_TWICE
    ),
    Invariant(
        "invoice_is_one_of_its_kind_a_period",
        "Invoices of a kind for a period are counted from 0; a start or cycle has another only in a void one's place.",
        ONE_A_PERIOD,
    ),
    Invariant(
        "reissued_invoice_takes_the_place_of_a_void_one",
        "An invoice issued in the place of another is like it in all but its lines, and the other is void.",
        REISSUED,
    ),
    Invariant("invoice_lines_are_numbered", "The lines of an invoice are numbered from 0 without a gap.", POSITIONS),
    Invariant(
        "invoice_lines_stand_in_the_order_of_the_sum",
        "Fees come before usage, adjustments, one-off lines, discounts, limits and credit, in this order.",
        SUM_ORDER,
    ),
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
        "Lines are for the invoice's subscription; what changed may be about another of the same customer.",
        OWN_LINES,
    ),
    Invariant(
        "invoice_line_is_for_a_period_of_its_kind",
        "Base fees are for this period or the next, usage for the one that is over, adjustments for closed ones.",
        OWN_PERIOD,
    ),
    Invariant(
        "invoice_line_without_a_period_is_by_hand_or_credit",
        "One-off lines, discounts of no coupon and promotional credit are for no period, all others for one.",
        BY_HAND,
    ),
    Invariant(
        "one_off_line_is_its_quantity_times_its_price",
        "A line billed once comes to its quantity times its price, rounded once.",
        mispriced_one_offs,
    ),
    Invariant(
        "invoice_has_one_line_a_tier",
        "An invoice bills each tier, base fee and adjusted period once.",
        ONE_LINE_A_TIER,
    ),
)
