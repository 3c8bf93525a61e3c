"""Who is billed, and what have they left? Customers, with their wallet, their discounts and what was corrected."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.validators import RegexValidator
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.models import Account, CreditNote, Grant, Invoice, Redemption
from console.amounts import money
from console.filters import by_value
from console.links import customer_conversations_url, events_url, link, row_link, rows_url
from console.prepaid import wallet
from console.promised import periods_in_words, taken_off, takes_off, with_taken_off
from console.read_only import ReadOnlyAdmin
from console.tables import table
from plans.customers import change_customer
from plans.models import Customer, Subscription, TaxExempt

CONTACT_DATA = ("name", "email", "country", "tax_id")
"""What an operator may change about a customer here; the rest has consequences and goes through the API."""
SHOWN = 10
"""Discounts and credit notes on the page of a customer, newest first; all of them are in their lists."""


class ContactData(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """The contact data of a customer, as strict as the API."""

    country = forms.CharField(
        required=False,
        max_length=2,
        validators=[RegexValidator(r"\A[A-Z]{2}\Z", "Two capital letters, such as DE.")],
        help_text="ISO 3166 code of the tax address.",
    )

    class Meta:
        model = Customer
        fields = CONTACT_DATA


class CustomerAdmin(ReadOnlyAdmin):
    form = ContactData
    list_display = ("key", "name", "email", "country", "taxed", "currency", "byok", "created_at")
    list_filter = (
        by_value("tax_exempt", TaxExempt, of="tax exempt"),
        "byok",
        ("erased_at", admin.EmptyFieldListFilter),
        "created_at",
    )
    search_fields = ("key__exact", "name")
    ordering = ("-id",)
    fields = (
        "key",
        *CONTACT_DATA,
        "tax_exempt",
        "currency",
        "timezone",
        "byok",
        "created_at",
        "erased_at",
        "more",
        "credit",
        "discounts",
        "credit_notes",
    )

    def has_change_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        allowed = request.user.has_perm("plans.change_customer")
        return allowed and (obj is None or obj.erased_at is None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in self.fields if name not in CONTACT_DATA]

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        change_customer(obj, **{name: form.cleaned_data[name] for name in form.changed_data})

    @admin.display(description="Tax exempt", ordering="tax_exempt")
    def taxed(self, customer: Customer) -> str:
        return customer.tax_exempt

    @admin.display(description="See also")
    def more(self, customer: Customer) -> SafeString:
        links = (
            (customer_conversations_url(customer.key), "conversations"),
            (events_url(customer.key), "events"),
            (rows_url(Subscription, customer__id__exact=customer.pk), "subscriptions"),
            (rows_url(Invoice, customer__id__exact=customer.pk), "invoices"),
            (rows_url(Grant, customer__id__exact=customer.pk), "prepaid and promotional credit"),
            (rows_url(Account, customer__id__exact=customer.pk), "ledger accounts"),
        )
        return format_html_join(" · ", '<a href="{}">{}</a>', links)

    @admin.display(description="Wallet")
    def credit(self, customer: Customer) -> SafeString:
        return wallet(customer, now=timezone.now())

    @admin.display(description="Discounts")
    def discounts(self, customer: Customer) -> SafeString | str:
        redemptions = with_taken_off(Redemption.objects.filter(customer=customer)).order_by("-redeemed_at", "-id")
        rows = [
            (row_link(one, one.coupon), takes_off(one.coupon), periods_in_words(one), taken_off(one))
            for one in redemptions[:SHOWN]
        ]
        if not rows:
            return "none"
        everything = link(rows_url(Redemption, customer__id__exact=customer.pk), "all discounts")
        heads = ("Coupon", "Takes off a period", "Periods", "So far")
        return format_html("{}{}", table(heads, rows, numbers=("So far",)), everything)

    @admin.display(description="Credit notes")
    def credit_notes(self, customer: Customer) -> SafeString | str:
        notes = CreditNote.objects.filter(customer=customer).select_related("invoice").order_by("-id")
        rows = [
            (row_link(note), row_link(note.invoice), note.reason, money(note.total, note.currency), note.state)
            for note in notes[:SHOWN]
        ]
        if not rows:
            return "none"
        everything = link(rows_url(CreditNote, customer__id__exact=customer.pk), "all credit notes")
        heads = ("Credit note", "Corrects", "Reason", "Total", "At Stripe")
        return format_html("{}{}", table(heads, rows, numbers=("Total",)), everything)


def register(site: AdminSite) -> None:
    """Put this table on the desk."""
    site.register(Customer, CustomerAdmin)
