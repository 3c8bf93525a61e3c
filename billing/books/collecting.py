"""Does Stripe have every invoice once, and is nothing of the traffic with it stuck?"""

from billing.books.invariant import Invariant

INVOICE = "JOIN billing_invoice invoice ON invoice.id = c.invoice_id"
PRESENT = """
SELECT invoice.number, invoice.status, invoice.amount_due, c.task, c.state
FROM billing_invoice invoice LEFT JOIN billing_collection c ON c.invoice_id = invoice.id
WHERE (c.invoice_id IS NOT NULL) <> (invoice.status <> 'draft' AND invoice.amount_due > 0)
"""
AGREES = f"""
SELECT invoice.number, invoice.status, c.task, c.state, c.stripe_status
FROM billing_collection c {INVOICE} CROSS JOIN LATERAL (
    SELECT coalesce(sum(off_due), 0) AS off_due FROM billing_creditnote WHERE invoice_id = invoice.id) notes
WHERE (invoice.status = 'void') <> (c.task = 'void')
   OR c.task = 'collect' AND ((c.state = 'done') <> (c.stripe_status IN ('paid', 'void'))
      OR c.stripe_status = 'paid' AND invoice.status <> 'paid'
      OR c.stripe_status <> 'paid' AND invoice.status = 'paid' AND notes.off_due < invoice.amount_due)
   OR c.state = 'sent' AND c.stripe_invoice_id IS NULL
"""
PARKED = f"""
SELECT invoice.number, c.task, c.stripe_invoice_id AS stripe_invoice, c.last_error
FROM billing_collection c {INVOICE} WHERE c.state = 'parked'
"""
STUCK = f"""
SELECT invoice.number, c.task, c.state, c.attempts, c.not_before, c.last_error
FROM billing_collection c {INVOICE}
WHERE c.state = 'due' AND coalesce(invoice.voided_at, invoice.finalized_at) < %(now)s - interval '1 hour'
   OR c.state = 'sent' AND c.not_before < %(now)s - interval '1 hour'
"""
ONE_INVOICE = f"""
SELECT c.stripe_invoice_id AS stripe_invoice, string_agg(invoice.number, ', ') AS invoices
FROM billing_collection c {INVOICE}
WHERE c.stripe_invoice_id IS NOT NULL GROUP BY c.stripe_invoice_id HAVING count(*) > 1
"""
SAME_INVOICE = f"""
SELECT invoice.number, call.step, call.stripe_id AS stripe_object, c.stripe_invoice_id AS stripe_invoice
FROM billing_stripecall call JOIN billing_collection c ON c.invoice_id = call.invoice_id {INVOICE}
WHERE call.state = 'done' AND call.stripe_id IS DISTINCT FROM c.stripe_invoice_id AND call.stripe_id <> ''
  AND call.step !~ '^(un)?tax'
  AND (c.stripe_invoice_id IS NOT NULL OR call.step <> 'create')
"""
KEYS = """
SELECT call.idempotency_key, call.step, call.invoice_id AS invoice, call.credit_note_id AS credit_note,
    call.customer_id AS customer
FROM billing_stripecall call
WHERE CASE WHEN call.credit_note_id IS NOT NULL
        THEN call.idempotency_key <> 'credit_note:' || call.credit_note_id || ':' || call.step
    WHEN call.invoice_id IS NOT NULL THEN call.idempotency_key <> 'invoice:' || call.invoice_id || ':' || call.step
    WHEN call.step = 'calculate' THEN call.idempotency_key !~ '^tax:[0-9a-f-]{36}:[0-9a-f]{16}:[0-9]+$'
    ELSE call.idempotency_key <> 'customer:' || call.customer_id END
"""
UNKNOWN = """
SELECT call.idempotency_key, call.attempts, call.intended_at, call.error FROM billing_stripecall call
WHERE call.state = 'intent' AND call.intended_at < %(now)s - interval '23 hours'
"""
INBOX = """
SELECT id, type, object_id, state, attempts, received_at, error FROM billing_stripeevent
WHERE state = 'parked' OR state = 'new' AND received_at < %(now)s - interval '1 hour'
"""
CUSTOMERS = """
SELECT customer.key AS customer, ours.stripe_id, call.stripe_id AS made
FROM billing_stripecall call JOIN plans_customer customer ON customer.id = call.customer_id
LEFT JOIN billing_stripecustomer ours ON ours.customer_id = call.customer_id
WHERE call.step = 'customer' AND call.state = 'done' AND call.finished_at < %(now)s - interval '1 hour'
  AND ours.stripe_id IS DISTINCT FROM call.stripe_id
"""

COLLECTING = (
    Invariant(
        "invoice_with_an_amount_due_is_collected",
        "Every finalized invoice with an amount due has its collection, and no other has one.",
        PRESENT,
    ),
    Invariant(
        "collection_agrees_with_its_invoice",
        "A collection is done when Stripe's invoice is paid, or void once it was written off or credited; it voids what"
        " is void.",
        AGREES,
    ),
    Invariant("collection_is_not_parked", "Nothing that Stripe says contradicts an invoice.", PARKED),
    Invariant(
        "collection_is_not_stuck",
        "An invoice reaches Stripe within the hour, and is looked after there.",
        STUCK,
    ),
    Invariant("stripe_invoice_is_of_one_invoice", "No two invoices are collected by one of Stripe's.", ONE_INVOICE),
    Invariant(
        "invoice_has_one_stripe_invoice",
        "All calls for an invoice were about one invoice at Stripe.",
        SAME_INVOICE,
    ),
    Invariant(
        "stripe_customer_is_the_one_we_made", "A customer is known by the one Stripe customer made for it.", CUSTOMERS
    ),
    Invariant(
        "stripe_call_is_named_for_its_step",
        "The idempotency key of a call is made of our object and the step, so a second try is the same call.",
        KEYS,
    ),
    Invariant(
        "stripe_call_has_an_outcome",
        "No call's outcome stays unknown for 23 hours; at 24 Stripe may forget its key.",
        UNKNOWN,
    ),
    Invariant("stripe_event_is_worked_off", "No webhook waits for an hour, and none contradicts our books.", INBOX),
)
