"""Where is the money? The accounts of the ledger and every transfer between them; append-only."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.models import Account, AccountKind, Transfer
from console.amounts import money
from console.filters import by_state, by_value
from console.links import link, row_link, rows_url
from console.read_only import ReadOnlyAdmin, ReadOnlyInline

SIDES = ("debit__grant", "credit__grant")
"""What a transfer has to be read with to name its accounts."""


def balances(now: dt.datetime) -> dict[str, Q]:
    """On which side an account has more."""
    return {
        "debit": Q(debits__gt=F("credits")),
        "credit": Q(credits__gt=F("debits")),
        "even": Q(credits=F("debits")),
    }


def account_link(account: Account) -> str:
    """To an account of a customer whom the page names already."""
    return row_link(account, account.kind if account.grant is None else f"{account.kind}: {account.grant}")


class TransferInline(ReadOnlyInline):
    model = Transfer
    verbose_name_plural = "ledger transfers"
    fields = ("posted_at", "moved", "debit_kind", "credit_kind", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related(*SIDES).order_by("posted_at", "id")

    @admin.display(description="Amount")
    def moved(self, transfer: Transfer) -> str:
        return row_link(transfer, money(transfer.amount, transfer.debit.currency))

    @admin.display(description="To (debit)")
    def debit_kind(self, transfer: Transfer) -> str:
        return account_link(transfer.debit)

    @admin.display(description="From (credit)")
    def credit_kind(self, transfer: Transfer) -> str:
        return account_link(transfer.credit)


class AccountAdmin(ReadOnlyAdmin):
    list_display = ("customer", "kind", "grant", "debited", "credited", "balance")
    list_filter = (by_value("kind", AccountKind, of="kind"), by_state(balances, of="balance"))
    search_fields = ("customer__key__exact", "grant__name")
    fields = ("customer_page", "kind", "grant_page", "debited", "credited", "balance", "transfers")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer", "grant")

    @admin.display(description="Customer")
    def customer_page(self, account: Account) -> str:
        return row_link(account.customer)

    @admin.display(description="Grant")
    def grant_page(self, account: Account) -> str:
        return row_link(account.grant)

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
    list_display = ("posted_at", "customer", "moved", "debit_kind", "credit_kind", "reason", "key")
    list_display_links = ("posted_at",)
    list_filter = (
        by_value("debit__kind", AccountKind, of="debited"),
        by_value("credit__kind", AccountKind, of="credited"),
        "posted_at",
    )
    search_fields = ("key__exact", "invoice__number__exact", "credit_note__number__exact")
    ordering = ("-id",)
    fields = ("posted_at", "customer", "moved", "debit_kind", "credit_kind", "invoice_page", "note_page", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("debit__customer", *SIDES, "invoice", "credit_note")

    @admin.display(description="Customer")
    def customer(self, transfer: Transfer) -> str:
        return row_link(transfer.debit.customer)

    @admin.display(description="Amount", ordering="amount")
    def moved(self, transfer: Transfer) -> str:
        return money(transfer.amount, transfer.debit.currency)

    @admin.display(description="To (debit)")
    def debit_kind(self, transfer: Transfer) -> str:
        return account_link(transfer.debit)

    @admin.display(description="From (credit)")
    def credit_kind(self, transfer: Transfer) -> str:
        return account_link(transfer.credit)

    @admin.display(description="Because of")
    def reason(self, transfer: Transfer) -> str:
        return row_link(transfer.invoice or transfer.credit_note)

    @admin.display(description="Invoice")
    def invoice_page(self, transfer: Transfer) -> str:
        return row_link(transfer.invoice)

    @admin.display(description="Credit note")
    def note_page(self, transfer: Transfer) -> str:
        return row_link(transfer.credit_note)


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Account, AccountAdmin)
    site.register(Transfer, TransferAdmin)
