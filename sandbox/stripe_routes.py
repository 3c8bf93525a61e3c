"""Which operations does the stand-in play? One table from Stripe's operation to the function that carries it out."""

from collections.abc import Callable

from sandbox import stripe_credit_notes as credit_notes
from sandbox import stripe_customers as customers
from sandbox import stripe_invoices as invoices
from sandbox import stripe_lines as lines
from sandbox import stripe_payments as payments
from sandbox import stripe_reading as reading
from sandbox import stripe_refunds as refunds
from sandbox import stripe_tax as tax
from sandbox import stripe_tax_records as tax_records
from sandbox.stripe_store import Object

Play = Callable[..., Object]

PLAYED: dict[str, Play] = {
    "POST /v1/customers": customers.create,
    "GET /v1/customers": reading.listing("customer", "/v1/customers", "email"),
    "GET /v1/customers/search": reading.search("customer", "/v1/customers/search"),
    "GET /v1/customers/{customer}": reading.retrieve("customer"),
    "POST /v1/customers/{customer}": customers.update,
    "DELETE /v1/customers/{customer}": customers.delete,
    "GET /v1/customers/{customer}/payment_methods": reading.listing(
        "payment_method", "/v1/customers/{}/payment_methods", "type", owner="customer"
    ),
    "POST /v1/customers/{customer}/balance_transactions": customers.adjust_balance,
    "GET /v1/customers/{customer}/balance_transactions": reading.listing(
        "customer_balance_transaction", "/v1/customers/{}/balance_transactions", "invoice", owner="customer"
    ),
    "GET /v1/customers/{customer}/balance_transactions/{transaction}": reading.retrieve("customer_balance_transaction"),
    "POST /v1/payment_methods/{payment_method}/attach": customers.attach,
    "POST /v1/payment_methods/{payment_method}/detach": customers.detach,
    "GET /v1/payment_methods/{payment_method}": reading.retrieve("payment_method"),
    "GET /v1/payment_methods": reading.listing("payment_method", "/v1/payment_methods", "customer", "type"),
    "POST /v1/invoices": invoices.create,
    "GET /v1/invoices": reading.listing("invoice", "/v1/invoices", "customer", "status", "collection_method"),
    "GET /v1/invoices/search": reading.search("invoice", "/v1/invoices/search"),
    "GET /v1/invoices/{invoice}": reading.retrieve("invoice"),
    "POST /v1/invoices/{invoice}": invoices.update,
    "DELETE /v1/invoices/{invoice}": invoices.delete,
    "POST /v1/invoices/{invoice}/add_lines": lines.add,
    "POST /v1/invoices/{invoice}/update_lines": lines.update_many,
    "POST /v1/invoices/{invoice}/remove_lines": lines.remove,
    "GET /v1/invoices/{invoice}/lines": reading.invoice_lines,
    "POST /v1/invoices/{invoice}/lines/{line_item_id}": lines.update_one,
    "POST /v1/invoices/{invoice}/finalize": invoices.finalize,
    "POST /v1/invoices/{invoice}/pay": payments.pay,
    "POST /v1/invoices/{invoice}/void": invoices.void,
    "POST /v1/invoices/{invoice}/mark_uncollectible": invoices.mark_uncollectible,
    "POST /v1/invoices/{invoice}/send": invoices.send,
    "GET /v1/invoice_payments": reading.invoice_payments,
    "GET /v1/invoice_payments/{invoice_payment}": reading.retrieve("invoice_payment"),
    "GET /v1/payment_intents": reading.listing("payment_intent", "/v1/payment_intents", "customer"),
    "GET /v1/payment_intents/{intent}": reading.retrieve("payment_intent"),
    "GET /v1/charges": reading.listing("charge", "/v1/charges", "customer", "payment_intent"),
    "GET /v1/charges/{charge}": reading.retrieve("charge"),
    "POST /v1/refunds": refunds.create,
    "GET /v1/refunds": reading.listing("refund", "/v1/refunds", "charge", "payment_intent"),
    "GET /v1/refunds/{refund}": reading.retrieve("refund"),
    "POST /v1/refunds/{refund}": refunds.update,
    "POST /v1/refunds/{refund}/cancel": refunds.cancel,
    "POST /v1/credit_notes": credit_notes.create,
    "GET /v1/credit_notes": reading.listing("credit_note", "/v1/credit_notes", "customer", "invoice"),
    "GET /v1/credit_notes/preview": credit_notes.preview,
    "GET /v1/credit_notes/preview/lines": reading.preview_lines,
    "GET /v1/credit_notes/{id}": reading.retrieve("credit_note"),
    "POST /v1/credit_notes/{id}": credit_notes.update,
    "POST /v1/credit_notes/{id}/void": credit_notes.void,
    "GET /v1/credit_notes/{credit_note}/lines": reading.credit_note_lines,
    "POST /v1/tax/calculations": tax.calculate,
    "GET /v1/tax/calculations/{calculation}": tax.retrieve,
    "GET /v1/tax/calculations/{calculation}/line_items": reading.tax_lines(
        "tax.calculation", "/v1/tax/calculations/{}/line_items"
    ),
    "POST /v1/tax/transactions/create_from_calculation": tax_records.record,
    "POST /v1/tax/transactions/create_reversal": tax_records.reverse,
    "GET /v1/tax/transactions/{transaction}": reading.retrieve("tax.transaction"),
    "GET /v1/tax/transactions/{transaction}/line_items": reading.tax_lines(
        "tax.transaction", "/v1/tax/transactions/{}/line_items"
    ),
    "GET /v1/events": reading.events,
    "GET /v1/events/{id}": reading.retrieve("event"),
}
