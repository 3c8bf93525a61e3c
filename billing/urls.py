"""Which URLs under /v1 answer what is owed?"""

from django.urls import path

from billing.views import invoices, usage

urlpatterns = [
    path("customers/<path:key>/usage", usage.Usage.as_view()),
    path("quotes", usage.Quotes.as_view()),
    path("invoices", invoices.Invoices.as_view()),
    path("invoices/<uuid:invoice_id>", invoices.OneInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/finalize", invoices.FinalizedInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/void", invoices.VoidedInvoice.as_view()),
    path("invoices/<uuid:invoice_id>/lines.csv", invoices.InvoiceLinesCsv.as_view()),
    path("invoices/<uuid:invoice_id>/conversations.csv", invoices.InvoiceConversationsCsv.as_view()),
]
