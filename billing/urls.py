"""Which URLs under /v1 answer what is owed?"""

from django.urls import path

from billing.views import (
    coupons,
    credit_notes,
    drafts,
    invoice_files,
    invoices,
    subscription_changes,
    tax_rates,
    usage,
    wallets,
)

urlpatterns = [
    path("customers/<path:key>/usage", usage.Usage.as_view()),
    path("quotes", usage.Quotes.as_view()),
    path("subscriptions/<uuid:subscription_id>/change", subscription_changes.ChangedPlan.as_view()),
    path("subscriptions/<uuid:subscription_id>/unschedule", subscription_changes.UnscheduledChange.as_view()),
    path("subscriptions/<uuid:subscription_id>/cancel", subscription_changes.CanceledSubscription.as_view()),
    path("subscriptions/<uuid:subscription_id>/uncancel", subscription_changes.UncanceledSubscription.as_view()),
    path("subscriptions/<uuid:subscription_id>/pause", subscription_changes.PausedSubscription.as_view()),
    path("subscriptions/<uuid:subscription_id>/resume", subscription_changes.ResumedSubscription.as_view()),
    path("subscriptions/<uuid:subscription_id>/discounts", coupons.Discounts.as_view()),
    path("subscriptions/<uuid:subscription_id>/discounts/<uuid:redemption_id>/end", coupons.EndedDiscount.as_view()),
    path("coupons", coupons.Coupons.as_view()),
    path("coupons/<slug:code>", coupons.OneCoupon.as_view()),
    path("coupons/<slug:code>/archive", coupons.ArchivedCoupon.as_view()),
    path("invoices", invoices.Invoices.as_view()),
    path("invoices/<uuid:invoice_id>", invoices.OneInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/finalize", invoices.FinalizedInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/void", invoices.VoidedInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/lines", drafts.InvoiceLines.as_view()),
    path("invoices/<uuid:invoice_id>/lines/<uuid:line_id>", drafts.OneInvoiceLine.as_view()),
    path("invoices/<uuid:invoice_id>/discounts", drafts.InvoiceDiscounts.as_view()),
    path("invoices/<uuid:invoice_id>/pdf", invoice_files.InvoicePdf.as_view()),
    path("invoices/<uuid:invoice_id>/lines.csv", invoice_files.InvoiceLinesCsv.as_view()),
    path("invoices/<uuid:invoice_id>/conversations.csv", invoice_files.InvoiceConversationsCsv.as_view()),
    path("credit-notes", credit_notes.CreditNotes.as_view()),
    path("credit-notes/<uuid:note_id>", credit_notes.OneCreditNote.as_view()),
    path("tax-rates", tax_rates.TaxRates.as_view()),
    path("wallets/<path:key>/grants", wallets.Grants.as_view()),
    path("wallets/<path:key>/grants/<uuid:grant_id>/void", wallets.VoidedGrant.as_view()),
    path("wallets/<path:key>/top-up", wallets.TopUp.as_view()),
    path("wallets/<path:key>", wallets.Wallet.as_view()),
]
