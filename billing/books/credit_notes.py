"""Does every credit note take back no more than there was, and did the money go where the note says?"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator

from billing.books.invariant import Invariant, Row
from billing.creditable import creditable
from billing.models import CreditNote, Invoice
from plans.sharing import CannotShareOut
from plans.taxing import RefundsTooMuch, refund_tax

NOTE = "JOIN billing_invoice invoice ON invoice.id = note.invoice_id"
OWN_INVOICE = f"""
SELECT note.number, invoice.number AS invoice, invoice.status, note.currency, invoice.currency AS invoice_currency,
    note.customer_id AS customer, invoice.customer_id AS invoiced, line.invoice_id AS invoice_of_line
FROM billing_creditnote note {NOTE} LEFT JOIN billing_creditnoteline credited ON credited.credit_note_id = note.id
LEFT JOIN billing_invoiceline line ON line.id = credited.invoice_line_id
WHERE (note.customer_id, note.currency, note.invoice_id) IS DISTINCT FROM
    (invoice.customer_id, invoice.currency, line.invoice_id)
   OR invoice.status = 'draft' OR note.created_at < invoice.finalized_at
   OR invoice.status = 'void' AND note.total <> note.off_due
"""
ADDS_UP = f"""
SELECT note.number, note.net, note.tax, note.total, sum(line.amount) AS lines, sum(line.tax) AS taxes
FROM billing_creditnote note {NOTE} LEFT JOIN billing_creditnoteline line ON line.credit_note_id = note.id
GROUP BY note.id, invoice.tax_inclusive
HAVING (note.net, note.tax) IS DISTINCT FROM (sum(line.amount)::bigint, sum(line.tax)::bigint)
    OR note.total <> note.net + CASE WHEN invoice.tax_inclusive THEN 0 ELSE note.tax END
    OR note.total <> note.off_due + note.refunded + note.credited
"""
# A note on a top-up takes its grant back; what it gives is credit, which at once pays what is due, or is on its way.
POSTED = f"""
WITH expected AS (
    SELECT note.id, posting.* FROM billing_creditnote note {NOTE} CROSS JOIN LATERAL (VALUES
        ('net', note.total - note.tax, CASE invoice.kind WHEN 'top_up' THEN 'grant' ELSE 'revenue' END, 'credit'),
        ('tax', note.tax, 'tax', 'credit'),
        ('due', note.off_due, 'credit', 'receivable'),
        ('refunding', note.refunded, 'credit', 'refund'),
        ('refunded', CASE WHEN note.refund_status = 'succeeded' THEN note.refunded ELSE 0 END, 'refund', 'cash'),
        ('kept', CASE WHEN note.refund_status IN ('failed', 'canceled') THEN note.refunded ELSE 0 END,
            'refund', 'credit')
    ) posting (name, amount, debit, credit) WHERE posting.amount <> 0
), posted AS (
    SELECT t.credit_note_id AS id, split_part(t.key, ':', 3) AS name, t.amount, debit.kind AS debit,
        credit.kind AS credit
    FROM billing_transfer t JOIN billing_account debit ON debit.id = t.debit_id
    JOIN billing_account credit ON credit.id = t.credit_id
    WHERE t.credit_note_id IS NOT NULL AND t.key NOT LIKE '%%:void' AND NOT EXISTS (
        SELECT FROM billing_transfer back WHERE back.credit_note_id = t.credit_note_id
          AND split_part(t.key, ':', 3) IN ('refunded', 'returned') AND split_part(back.key, ':', 3) = 'returned')
)
SELECT note.number, note.refund_status, coalesce(expected.name, posted.name) AS posting, expected.amount,
    posted.amount AS posted, posted.debit, posted.credit
FROM expected FULL JOIN posted ON posted.id = expected.id AND posted.name = expected.name
JOIN billing_creditnote note ON note.id = coalesce(expected.id, posted.id)
WHERE (expected.amount, expected.debit, expected.credit) IS DISTINCT FROM (posted.amount, posted.debit, posted.credit)
"""
RETURNED = """
SELECT note.number, note.refund_status, note.refunded, back.amount, sent.amount AS sent
FROM billing_transfer back JOIN billing_creditnote note ON note.id = back.credit_note_id
LEFT JOIN billing_transfer sent ON sent.key = 'credit_note:' || note.id || ':refunded'
WHERE split_part(back.key, ':', 3) = 'returned' AND (note.refund_status NOT IN ('failed', 'canceled')
    OR (back.debit_id, back.credit_id, back.amount) IS DISTINCT FROM (sent.credit_id, sent.debit_id, sent.amount))
"""
ANNULLED = f"""
SELECT note.number, invoice.number AS invoice, invoice.status, t.key
FROM billing_transfer t JOIN billing_creditnote note ON note.id = t.credit_note_id {NOTE}
LEFT JOIN billing_transfer mirror ON mirror.key = t.key || ':void'
WHERE t.key NOT LIKE '%%:void' AND (invoice.status = 'void') <> (mirror.key IS NOT NULL)
"""
COLLECTED = """
WITH paid AS (
    SELECT invoice_id, sum(amount)::bigint AS collected FROM billing_transfer
    WHERE key = 'invoice:' || invoice_id || ':payment' GROUP BY invoice_id
)
SELECT invoice.number, sum(note.refunded) AS refunded, coalesce(paid.collected, 0) AS collected
FROM billing_creditnote note JOIN billing_invoice invoice ON invoice.id = note.invoice_id
LEFT JOIN paid ON paid.invoice_id = invoice.id WHERE note.refund_status NOT IN ('failed', 'canceled')
GROUP BY invoice.id, invoice.number, paid.collected HAVING sum(note.refunded) > coalesce(paid.collected, 0)
"""
STATES = """
SELECT number, state, off_due, refunded, refund_id, refund_status FROM billing_creditnote
WHERE state = 'sent' AND (refund_id = '' OR refunded = 0) OR refunded = 0 AND refund_status <> ''
   OR state = 'done' AND refunded > 0 AND refund_status NOT IN ('succeeded', 'failed', 'canceled')
   OR state <> 'done' AND off_due = 0 AND refunded = 0
"""
ONCE_AT_STRIPE = """
SELECT made.stripe_object, count(*) AS notes FROM (
    SELECT stripe_id AS stripe_object FROM billing_creditnote UNION ALL SELECT refund_id FROM billing_creditnote) made
WHERE made.stripe_object <> '' GROUP BY made.stripe_object HAVING count(*) > 1
"""
PARKED = "SELECT number, state, stripe_id, refund_id, last_error FROM billing_creditnote WHERE state = 'parked'"
STUCK = """
SELECT number, state, attempts, created_at, not_before, refund_status, last_error FROM billing_creditnote
WHERE state IN ('due', 'sent') AND (not_before IS NULL OR not_before < %(now)s - interval '1 hour')
   OR state = 'due' AND created_at < %(now)s - interval '1 day'
   OR state = 'sent' AND refund_status <> 'succeeded' AND created_at < %(now)s - interval '30 days'
"""


def taken_too_much(now: dt.datetime) -> Iterator[Row]:
    """Lines and invoices whose credit notes take back more than was paid for them."""
    for invoice in _credited_invoices():
        taken: Counter[object] = Counter()
        for note in invoice.credit_notes.all():
            taken.update({line.invoice_line_id: line.amount for line in note.lines.all()})
        notes = invoice.credit_notes.all()
        sums = {name: sum(getattr(note, name) for note in notes) for name in ("total", "off_due")}
        if sums["total"] > invoice.total or sums["off_due"] > invoice.amount_due:
            yield {
                "invoice": invoice.number,
                "total": invoice.total,
                "amount_due": invoice.amount_due,
                "credited": sums,
            }
        try:
            most = creditable(invoice)
        except CannotShareOut as error:
            yield {"invoice": invoice.number, "error": str(error)}
            continue
        for line, paid_for in most.items():
            if taken[line.pk] > paid_for:
                yield {"invoice": invoice.number, "position": line.position, "paid": paid_for, "taken": taken[line.pk]}


def wrong_taxes(now: dt.datetime) -> Iterator[Row]:
    """Notes that do not give back, with those before them, their share of the invoice's tax."""
    for invoice in _credited_invoices():
        net = tax = 0
        for note in sorted(invoice.credit_notes.all(), key=lambda note: (len(note.number), note.number)):
            expected = _tax(invoice, note, net, tax)
            if note.tax != expected:
                yield {"note": note.number, "invoice": invoice.number, "tax": note.tax, "expected": expected}
            net, tax = net + note.net, tax + note.tax


def _tax(invoice: Invoice, note: CreditNote, net: int, tax: int) -> int | None:
    try:
        return refund_tax(
            total_tax=invoice.tax or 0,
            total_net=invoice.subtotal,
            refunded_net=note.net,
            already_net=net,
            already_tax=tax,
            currency=invoice.currency,
        )
    except (RefundsTooMuch, ValueError):
        return None


def _credited_invoices() -> Iterator[Invoice]:
    credited = Invoice.objects.filter(pk__in=CreditNote.objects.values("invoice")).order_by("pk")
    yield from credited.prefetch_related("lines", "credit_notes__lines").iterator(chunk_size=500)


CREDIT_NOTES = (
    Invariant(
        "credit_note_is_of_its_invoice",
        "A credit note and its lines are of one finalized invoice; on a void one it only lowered what was due.",
        OWN_INVOICE,
    ),
    Invariant(
        "credit_note_adds_up",
        "A credit note is the sum of its lines, with their tax, and goes off what is due, back, or to credit.",
        ADDS_UP,
    ),
    Invariant(
        "credit_notes_take_back_no_more_than_there_was",
        "The credit notes of an invoice take back at most what was paid for each line, and what it came to.",
        taken_too_much,
    ),
    Invariant(
        "credit_notes_give_back_their_share_of_the_tax",
        "Tax goes back in proportion, rounded so that all of an invoice's notes together give back exactly its tax.",
        wrong_taxes,
    ),
    Invariant("credit_note_is_posted", "A credit note has just the transfers that follow from what it says.", POSTED),
    Invariant(
        "refund_that_came_back_is_an_exact_mirror",
        "Only a refund that had arrived and failed after all is taken back in the ledger, and whole.",
        RETURNED,
    ),
    Invariant(
        "credit_note_of_a_void_invoice_is_annulled",
        "What a credit note of a void invoice had posted is reversed, and of no other.",
        ANNULLED,
    ),
    Invariant(
        "refund_is_of_what_was_collected", "No more is refunded of an invoice than was collected for it.", COLLECTED
    ),
    Invariant(
        "credit_note_has_the_state_of_its_refund",
        "A credit note with nothing to do at Stripe is done, and one with a refund is once that has an end.",
        STATES,
    ),
    Invariant(
        "stripe_object_is_of_one_credit_note",
        "No two credit notes have one refund or credit note at Stripe.",
        ONCE_AT_STRIPE,
    ),
    Invariant("credit_note_is_not_parked", "Nothing that Stripe says contradicts a credit note.", PARKED),
    Invariant(
        "credit_note_is_not_stuck",
        "A credit note reaches Stripe within the day, is looked after there, and its refund has an end in 30 days.",
        STUCK,
    ),
)
