"""What is in the wallets? Every grant of credit with what is left of it, and the rules that buy more."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import topping_up, wallets
from billing.models import Account, AccountKind, Grant, GrantKind, TopUpRule, Transfer
from console.amounts import money
from console.filters import by_state, by_value
from console.links import link, row_link, rows_url
from console.read_only import ReadOnlyAdmin
from console.tables import table
from plans.burning import Purse, burn_order
from plans.models import Customer

SHORT_KINDS = {GrantKind.PAID: "prepaid", GrantKind.PROMOTIONAL: "promotional"}


def grant_states(now: dt.datetime) -> dict[str, Q]:
    """`wallets.state`, for the database."""
    usable = Q(voided_at=None, usable_at__isnull=False)
    in_use = usable & (Q(expired_at__isnull=False) | wallets.FILLED)
    lasting = in_use & wallets.not_expired(now)
    return {
        "active": lasting & Q(effective_at__lte=now),
        "scheduled": lasting & Q(effective_at__gt=now),
        "pending": Q(voided_at=None, usable_at=None),
        "used": usable & Q(expired_at=None) & ~wallets.FILLED,
        "expired": in_use & Q(expires_at__lte=now),
        "void": Q(voided_at__isnull=False),
    }


def wallet(customer: Customer, *, now: dt.datetime) -> SafeString:
    """What a customer can pay with, for its page: the sums, then the grants in the order in which they burn."""
    currency = customer.currency
    held = wallets.balance(customer, at=now)
    sums: list[tuple[object, str]] = [
        (link(rows_url(Grant, customer__id__exact=customer.pk), "Usable credit"), money(held.usable, currency)),
        (_credit_account(customer), money(held.credit, currency)),
    ]
    if held.lapsed:
        sums.append(("Expired, but good for usage not invoiced yet", money(held.lapsed, currency)))
    if held.pending:
        sums.append(("Bought and not paid yet", money(held.pending, currency)))
    rule = TopUpRule.objects.filter(customer=customer).select_related("customer").first()
    if rule is not None:
        left = topping_up.available(customer, at=now)
        sums += [("Available, usage not invoiced yet taken off", money(left, currency)), (_rule(rule), "")]
    return format_html("{}{}", table(("In the wallet", ""), sums, numbers=("",)), _grants(customer, now=now))


def _credit_account(customer: Customer) -> str:
    account = Account.objects.filter(customer=customer, currency=customer.currency, kind=AccountKind.CREDIT).first()
    return "Credit we owe the customer" if account is None else row_link(account, "Credit we owe the customer")


def _rule(rule: TopUpRule) -> SafeString:
    return format_html("Topped up {}", row_link(rule, bounds(rule)))


def _grants(customer: Customer, *, now: dt.datetime) -> SafeString | str:
    live = Q(voided_at=None) & (wallets.FILLED | Q(usable_at=None))
    grants = {grant.pk: grant for grant in wallets.with_use(Grant.objects.filter(live, customer=customer))}
    if not grants:
        return ""
    heads = ("Credit, first to be used first", "Kind", "State", "Left", "Of", "Priority", "Expires (UTC)")
    order = burn_order(_purse(grant) for grant in grants.values())
    rows = [_grant_row(grants[purse.id], now) for purse in order]
    return table(heads, rows, numbers=("Left", "Of", "Priority"))


def _purse(grant: Grant) -> Purse:
    return Purse(
        id=grant.pk,
        balance=wallets.left(grant),
        priority=grant.priority,
        expires_at=grant.expires_at,
        promotional=grant.kind == GrantKind.PROMOTIONAL,
        created_at=grant.created_at,
    )


def _grant_row(grant: Grant, now: dt.datetime) -> tuple[object, ...]:
    return (
        row_link(grant),
        SHORT_KINDS[GrantKind(grant.kind)],
        wallets.state(grant, now=now),
        money(wallets.left(grant), grant.currency),
        money(grant.amount, grant.currency),
        grant.priority,
        "never" if grant.expires_at is None else f"{grant.expires_at:%Y-%m-%d %H:%M}",
    )


def bounds(rule: TopUpRule) -> str:
    """When a rule buys: "below 10.00 USD to 50.00 USD"."""
    currency = rule.customer.currency
    return f"below {money(rule.below, currency)} to {money(rule.up_to, currency)}"


class GrantAdmin(ReadOnlyAdmin):
    list_display = ("name", "customer", "short_kind", "state", "remaining", "given", "priority", "expires_at")
    list_select_related = ("customer", "account")
    list_filter = (by_state(grant_states), by_value("kind", GrantKind, of="kind"), "automatic", "expires_at")
    search_fields = ("name", "customer__key__exact", "invoice__number__exact")
    ordering = ("-id",)
    fields = (
        "name",
        "customer_page",
        "kind",
        "state",
        ("given", "spent", "remaining"),
        "priority",
        ("effective_at", "expires_at"),
        "sold_with",
        "automatic",
        ("created_at", "usable_at"),
        ("expired_at", "voided_at"),
        "transfers",
    )

    @admin.display(description="Customer")
    def customer_page(self, grant: Grant) -> str:
        return row_link(grant.customer)

    @admin.display(description="Kind", ordering="kind")
    def short_kind(self, grant: Grant) -> str:
        return SHORT_KINDS[GrantKind(grant.kind)]

    @admin.display(description="State")
    def state(self, grant: Grant) -> str:
        return wallets.state(grant, now=timezone.now())

    @admin.display(description="Given", ordering="amount")
    def given(self, grant: Grant) -> str:
        return money(grant.amount, grant.currency)

    @admin.display(description="Used")
    def spent(self, grant: Grant) -> str:
        counted = wallets.with_use(Grant.objects.filter(pk=grant.pk)).get()
        return money(wallets.used(counted), grant.currency)

    @admin.display(description="Left", ordering=F("account__credits") - F("account__debits"))
    def remaining(self, grant: Grant) -> str:
        return row_link(grant.account, money(wallets.left(grant), grant.currency))

    @admin.display(description="Sold with invoice")
    def sold_with(self, grant: Grant) -> str:
        return row_link(grant.invoice)

    @admin.display(description="Transfers")
    def transfers(self, grant: Grant) -> SafeString:
        into = link(rows_url(Transfer, credit__id__exact=grant.account.pk), "given to it")
        out_of = link(rows_url(Transfer, debit__id__exact=grant.account.pk), "taken from it")
        return format_html("{} · {}", into, out_of)


class TopUpRuleAdmin(ReadOnlyAdmin):
    list_display = ("customer", "tops_up", "cool_off", "last_tried_at", "created_at")
    list_filter = (("last_tried_at", admin.EmptyFieldListFilter),)
    search_fields = ("customer__key__exact",)
    fields = ("customer_page", "tops_up", "cool_off", "available", "last_tried_at", "created_at", "bought")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("customer")

    @admin.display(description="Customer")
    def customer_page(self, rule: TopUpRule) -> str:
        return row_link(rule.customer)

    @admin.display(description="Tops up", ordering="below")
    def tops_up(self, rule: TopUpRule) -> str:
        return bounds(rule)

    @admin.display(description="Available now")
    def available(self, rule: TopUpRule) -> str:
        return money(topping_up.available(rule.customer, at=timezone.now()), rule.customer.currency)

    @admin.display(description="What it bought")
    def bought(self, rule: TopUpRule) -> SafeString:
        return link(rows_url(Grant, customer__id__exact=rule.pk, automatic__exact=1), "grants bought by it")


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Grant, GrantAdmin)
    site.register(TopUpRule, TopUpRuleAdmin)
