"""Where is the money? The accounts of the ledger and every transfer between them; append-only."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.models import Account, Transfer
from console.amounts import money
from console.links import link, row_link, rows_url
from console.read_only import ReadOnlyAdmin


class AccountAdmin(ReadOnlyAdmin):
    list_display = ("customer", "kind", "debited", "credited", "balance")
    list_select_related = ("customer",)
    list_filter = ("kind",)
    search_fields = ("customer__key__exact",)
    fields = ("customer", "kind", "debited", "credited", "balance", "transfers")

    @admin.display(description="Debited")
    def debited(self, account: Account) -> str:
        return money(account.debits, account.currency)

    @admin.display(description="Credited")
    def credited(self, account: Account) -> str:
        return money(account.credits, account.currency)

    @admin.display(description="Balance")
    def balance(self, account: Account) -> str:
        balance = account.debits - account.credits
        side = " debit" if balance > 0 else " credit" if balance < 0 else ""
        return money(abs(balance), account.currency) + side

    @admin.display(description="Transfers")
    def transfers(self, account: Account) -> SafeString:
        into = link(rows_url(Transfer, debit__id__exact=account.pk), "debiting it")
        out_of = link(rows_url(Transfer, credit__id__exact=account.pk), "crediting it")
        return format_html("{} · {}", into, out_of)


class TransferAdmin(ReadOnlyAdmin):
    list_display = ("posted_at", "customer", "moved", "debit_kind", "credit_kind", "invoice", "key")
    list_display_links = ("posted_at",)
    list_select_related = ("debit__customer", "credit", "invoice")
    search_fields = ("key__exact", "invoice__number__exact")
    ordering = ("-id",)
    fields = ("posted_at", "customer", "moved", "debit_kind", "credit_kind", "invoice_page", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("debit__customer", "credit", "invoice")

    @admin.display(description="Customer")
    def customer(self, transfer: Transfer) -> str:
        return row_link(transfer.debit.customer)

    @admin.display(description="Amount", ordering="amount")
    def moved(self, transfer: Transfer) -> str:
        return money(transfer.amount, transfer.debit.currency)

    @admin.display(description="To (debit)")
    def debit_kind(self, transfer: Transfer) -> str:
        return row_link(transfer.debit, transfer.debit.kind)

    @admin.display(description="From (credit)")
    def credit_kind(self, transfer: Transfer) -> str:
        return row_link(transfer.credit, transfer.credit.kind)

    @admin.display(description="Invoice")
    def invoice_page(self, transfer: Transfer) -> str:
        return row_link(transfer.invoice)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Account, AccountAdmin)
    site.register(Transfer, TransferAdmin)
