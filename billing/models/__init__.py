"""What is owed: invoices, the ledger they are posted to, and the work of collecting them through Stripe.

Amounts are integers in the currency's minor units. Finalized invoices, their lines, credit notes and transfers are
frozen by triggers (migrations 0002 and 0004); accounts only ever grow on either side.
"""

from billing.models.coupons import Coupon, Redemption
from billing.models.credit_notes import CreditNote, CreditNoteLine
from billing.models.invoices import (
    PERIODIC_KINDS,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceSequence,
    InvoiceStatus,
    LineKind,
)
from billing.models.ledger import Account, AccountKind, Transfer
from billing.models.schedule import BillingSchedule
from billing.models.stripe import Collection, StripeCall, StripeCustomer, StripeEvent
from billing.models.taxes import TaxRate
from billing.models.wallets import Grant, GrantKind, TopUpRule

__all__ = [
    "PERIODIC_KINDS",
    "Account",
    "AccountKind",
    "BillingSchedule",
    "Collection",
    "Coupon",
    "CreditNote",
    "CreditNoteLine",
    "Grant",
    "GrantKind",
    "Invoice",
    "InvoiceKind",
    "InvoiceLine",
    "InvoiceSequence",
    "InvoiceStatus",
    "LineKind",
    "Redemption",
    "StripeCall",
    "StripeCustomer",
    "StripeEvent",
    "TaxRate",
    "TopUpRule",
    "Transfer",
]
