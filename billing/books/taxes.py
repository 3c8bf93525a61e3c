"""Is every invoice taxed as its rate says, and does Stripe know what tax was taken by its word?"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from billing.books.invariant import Invariant, Row, paged
from plans.taxing import Tax, tax_on

TAXED_HERE = """
SELECT number, currency, subtotal, tax, tax_name, tax_percent, tax_inclusive FROM billing_invoice
WHERE status <> 'draft' AND tax_reference = ''
"""
IN_FORCE = """
SELECT invoice.number, invoice.tax_name, invoice.tax_percent, invoice.tax_inclusive, invoice.finalized_at
FROM billing_invoice invoice
WHERE invoice.status <> 'draft' AND invoice.tax_reference = '' AND invoice.tax_percent > 0 AND NOT EXISTS (
    SELECT FROM billing_taxrate rate
    WHERE (rate.name, rate.percent, rate.inclusive) = (invoice.tax_name, invoice.tax_percent, invoice.tax_inclusive)
      AND rate.starts_at <= invoice.finalized_at)
"""
UNTAXED = """
SELECT number, kind, tax, tax_name, tax_percent, tax_reference FROM billing_invoice
WHERE kind = 'top_up' AND status <> 'draft' AND (tax <> 0 OR tax_name <> '' OR tax_reference <> '')
"""
# Nothing else asks Stripe under these names.
RECORDED = """
WITH expected AS (
    SELECT 'invoice:' || id || ':tax' AS key, number FROM billing_invoice
    WHERE status <> 'draft' AND tax_reference <> ''
    UNION ALL SELECT 'invoice:' || id || ':untax', number FROM billing_invoice
    WHERE status = 'void' AND tax_reference <> ''
    UNION ALL SELECT 'credit_note:' || note.id || ':untax', note.number
    FROM billing_creditnote note JOIN billing_invoice invoice ON invoice.id = note.invoice_id
    WHERE invoice.tax_reference <> ''
)
SELECT expected.number, coalesce(expected.key, call.idempotency_key) AS key, call.state, call.attempts, call.error
FROM expected FULL JOIN (SELECT * FROM billing_stripecall WHERE step IN ('tax', 'untax')) call
    ON call.idempotency_key = expected.key
WHERE expected.key IS NULL OR call.state IS NULL OR call.state = 'refused'
   OR call.state = 'intent' AND call.intended_at < %(now)s - interval '1 day'
"""
WAITING = """
SELECT invoice.id, customer.key AS customer, invoice.finalize_at, call.error
FROM billing_invoice invoice JOIN plans_customer customer ON customer.id = invoice.customer_id
LEFT JOIN LATERAL (SELECT min(intended_at) AS since, max(error) AS error FROM billing_stripecall
    WHERE step = 'calculate' AND state <> 'done' AND starts_with(idempotency_key, 'tax:' || invoice.id || ':')) call
    ON true
WHERE invoice.status = 'draft' AND (invoice.finalize_at < %(now)s - interval '1 hour'
    OR invoice.finalize_at IS NOT NULL AND call.since < %(now)s - interval '1 day')
   OR invoice.status <> 'draft' AND invoice.finalize_at IS NOT NULL
"""


def mistaxed(now: dt.datetime) -> Iterator[Row]:
    """Invoices whose tax is not that of their percentage on their subtotal."""
    for invoice in paged(TAXED_HERE):
        tax = Tax(invoice["tax_name"], invoice["tax_percent"] or Decimal(0), invoice["tax_inclusive"])
        expected = tax_on(tax, invoice["subtotal"], invoice["currency"])
        if invoice["tax"] != expected:
            yield {**invoice, "expected": expected}


TAXES = (
    Invariant(
        "invoice_tax_is_its_percentage_of_the_subtotal",
        "The tax by a rate of the seller's own is that percentage of the subtotal, rounded once.",
        mistaxed,
    ),
    Invariant(
        "invoice_tax_rate_was_in_force",
        "The rate on an invoice is one of the seller's that had begun when the invoice was finalized.",
        IN_FORCE,
    ),
    Invariant("top_up_is_not_taxed", "Prepaid credit is taxed when it is used, and not when it is sold.", UNTAXED),
    Invariant(
        "tax_by_stripe_is_recorded_there",
        "What Stripe has taxed is recorded there once it is final, and taken back when it is voided or credited.",
        RECORDED,
    ),
    Invariant(
        "draft_does_not_wait_for_its_tax",
        "A draft that is to be finalized is looked after, and Stripe says within the day what tax is due.",
        WAITING,
    ),
)
