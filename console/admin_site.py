"""Where is what on the operator's desk? Every table under a name for people, in the order of the floors."""

import functools
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse

# A table is named by its class; a page of our own, for a table without a single key, by its URL name.
SECTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "plans": (
        "Plans: what was agreed",
        {
            "Customer": "Customers",
            "Plan": "Plans",
            "PlanVersion": "Plan versions",
            "Subscription": "Subscriptions",
            "SubscriptionPhase": "Phases of subscriptions",
            "TierScheme": "Tier schemes",
            "TierSchemeVersion": "Tier scheme versions",
            "Tier": "Tiers",
            "SchemeChange": "Scheme changes to be applied",
        },
    ),
    "metering": (
        "Metering: what happened",
        {
            "conversations": "Conversations",
            "events": "Events of a customer",
            "Correction": "Corrections of events",
            "QuarantinedEvent": "Events in quarantine",
            "Backfill": "Files of historical events",
            "late_changes": "Days changed after they were counted",
            "WaitingCall": "Calls waiting for their trace",
            "MeterReading": "Meter readings",
            "WatchedUsage": "Usage counted ahead",
            "SupplierRate": "Supplier rates",
        },
    ),
    "billing": (
        "Billing: what is owed",
        {
            "Invoice": "Invoices",
            "InvoiceLine": "Invoice lines",
            "CreditNote": "Credit notes",
            "CreditNoteLine": "Credit note lines",
            "Coupon": "Coupons",
            "Redemption": "Discounts of subscriptions",
            "Grant": "Prepaid and promotional credit",
            "TopUpRule": "Automatic top-ups",
            "TaxRate": "Tax rates",
            "BillingSchedule": "Billing schedule",
            "InvoiceSequence": "Invoice and credit note numbers",
            "Account": "Ledger accounts",
            "Transfer": "Ledger transfers",
            "Collection": "Collection through Stripe",
            "StripeCustomer": "Customers at Stripe",
            "StripeCall": "Calls to Stripe",
            "StripeEvent": "Webhooks from Stripe",
        },
    ),
    "api": ("API: who may call", {"ApiKey": "API keys", "IdempotentAnswer": "Answers kept for repeated requests"}),
    "auth": ("Operators", {"User": "Operators", "Group": "Groups of operators"}),
}


def human_name(app_label: str, object_name: str) -> str:
    """What people call a table, or one of our own pages."""
    return SECTIONS[app_label][1][object_name]


class ConsoleSite(admin.AdminSite):
    """Django's admin with the tables in the order of the floors."""

    site_header = "Parley console"
    site_title = "Parley"
    index_title = "From event to invoice line"
    index_template = "console/index.html"
    app_index_template = "admin/app_index.html"
    site_url = None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The sections a member of staff may see, each with its tables and pages."""
        apps: dict[str, dict[str, Any]] = self._build_app_dict(request, app_label)
        listed = [_named(app) for app in apps.values() if app["app_label"] in SECTIONS]
        return sorted(listed, key=lambda app: [*SECTIONS].index(app["app_label"]))

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """A page for staff only. A request with a NUL, which no text of PostgreSQL holds, finds nothing anywhere."""
        answer = super().admin_view(view, cacheable)

        @functools.wraps(answer)
        def without_nul(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            values = (value for name in request.GET for value in (name, *request.GET.getlist(name)))
            if any("\0" in text for text in (request.path, *values)):
                raise BadRequest("a NUL in the URL")
            response: HttpResponse = answer(request, *args, **kwargs)
            return response

        return without_nul


def _named(app: dict[str, Any]) -> dict[str, Any]:
    heading, names = SECTIONS[app["app_label"]]
    tables = {table["object_name"]: table for table in app["models"]}
    entries = [_named_entry(tables.get(key), key, name) for key, name in names.items()]
    return {**app, "name": heading, "models": [entry for entry in entries if entry is not None]}


def _named_entry(table: dict[str, Any] | None, key: str, name: str) -> dict[str, Any] | None:
    if table is not None:
        return {**table, "name": name}
    try:
        url = reverse(key)
    except NoReverseMatch:  # a table this operator may not see
        return None
    return {"name": name, "object_name": key, "admin_url": url, "add_url": None, "view_only": True, "perms": {}}


site = ConsoleSite()
