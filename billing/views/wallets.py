"""`/v1/wallets`: which credit a customer has, and the rule that tops it up."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from django.db.models import QuerySet
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import bad_request, not_found
from api.strict_json import Body, Instant
from billing import topping_up, wallets
from billing.granting import GrantNotVoidable, InvalidGrant, give, void_grant
from billing.models import Grant, GrantKind, TopUpRule
from billing.topping_up import InvalidRule, remove_rule, set_rule
from plans.durations import InvalidDuration, format_duration, parse_duration
from plans.models import Customer
from plans.money import format_amount, to_major, to_minor
from plans.views.customers import get_customer
from plans.views.tier_schemes import Duration

Money = Annotated[str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,4})?$(?!\n)", description="decimal major units")]
Priority = Annotated[int, Meta(ge=0, le=100, description="lower is used first")]


class NewGrant(Body):
    """Credit to be given; `paid` says how prepaid credit is paid, and is left out where it is a present."""

    kind: Literal["paid", "promotional"]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    amount: Money
    paid: Literal["invoice", "outside"] | None = None
    priority: Priority = 50
    effective_at: Instant | None = None
    expires_at: Instant | None = None


class RuleIn(Body):
    """When what is available falls below `below`, buy so much that it is `up_to` again; not twice within `cool_off`."""

    below: Money
    up_to: Money
    cool_off: Duration = "PT1H"


class GrantOut(msgspec.Struct):
    """Credit given once. `state` is pending (not paid yet), scheduled, active, used, expired or void."""

    id: uuid.UUID
    kind: str
    name: str
    state: str
    currency: str
    amount: str
    used: str
    left: str
    priority: int
    effective_at: dt.datetime
    expires_at: dt.datetime | None
    invoice: uuid.UUID | None
    automatic: bool
    created_at: dt.datetime
    usable_at: dt.datetime | None
    expired_at: dt.datetime | None
    voided_at: dt.datetime | None


class RuleOut(msgspec.Struct):
    """The top-up rule; `open_invoice` is its purchase that is not paid yet."""

    below: str
    up_to: str
    cool_off: str
    last_tried_at: dt.datetime | None
    open_invoice: uuid.UUID | None


class WalletOut(msgspec.Struct):
    """What a customer can pay with: `balance` of its usable grants, and `credit` that we owe it.

    `available` is both, less the usage that is not invoiced yet (below zero where that is more); `pending` is bought
    and not paid. `grants` are those that have something left.
    """

    customer: str
    currency: str
    balance: str
    credit: str
    available: str
    pending: str
    grants: list[GrantOut]
    top_up: RuleOut | None


def grant_out(grant: Grant) -> GrantOut:
    same = ("id", "kind", "name", "currency", "priority", "effective_at", "expires_at", "automatic")
    times = ("created_at", "usable_at", "expired_at", "voided_at")
    return GrantOut(
        **{name: getattr(grant, name) for name in (*same, *times)},
        state=wallets.state(grant, now=timezone.now()),
        amount=format_amount(grant.amount, grant.currency),
        used=format_amount(wallets.used(grant), grant.currency),
        left=format_amount(wallets.left(grant), grant.currency),
        invoice=grant.invoice_id,
    )


def rule_out(rule: TopUpRule) -> RuleOut:
    customer = rule.customer
    purchase = topping_up.open_purchase(customer)
    return RuleOut(
        below=format_amount(rule.below, customer.currency),
        up_to=format_amount(rule.up_to, customer.currency),
        cool_off=format_duration(rule.cool_off),
        last_tried_at=rule.last_tried_at,
        open_invoice=purchase.pk if purchase is not None else None,
    )


def minor(text: str, pointer: str, currency: str) -> int:
    """An amount of a request in minor units; the problem 400 where it is finer than can be paid."""
    amount = Decimal(text)
    if to_major(to_minor(amount, currency), currency) != amount:
        raise bad_request("The amount cannot be paid.", errors=[(pointer, f"finer than can be paid in {currency}")])
    return to_minor(amount, currency)


def _grants_of(customer: Customer) -> QuerySet[Grant]:
    return wallets.with_use(Grant.objects.filter(customer=customer))


def _grant_out(grant_id: uuid.UUID) -> GrantOut:
    return grant_out(wallets.with_use(Grant.objects.filter(pk=grant_id)).get())


class Wallet(Endpoint):
    """`/v1/wallets/{customer}`"""

    @operation(scope="read", returns=WalletOut, summary="Read a customer's wallet")
    def get(self, request: Request, key: str) -> WalletOut:
        customer, now = get_customer(key), timezone.now()
        currency = customer.currency
        held = wallets.balance(customer, at=now)
        rule = TopUpRule.objects.filter(customer=customer).select_related("customer").first()
        return WalletOut(
            customer=customer.key,
            currency=currency,
            balance=format_amount(held.usable, currency),
            credit=format_amount(held.credit, currency),
            available=format_amount(topping_up.available(customer, at=now), currency),
            pending=format_amount(held.pending, currency),
            grants=[grant_out(grant) for grant in _grants_of(customer).filter(wallets.FILLED).order_by("id")],
            top_up=rule_out(rule) if rule is not None else None,
        )


class Grants(Endpoint):
    """`/v1/wallets/{customer}/grants`"""

    @operation(scope="read", query=PageQuery, returns=Page[GrantOut], summary="List a customer's grants of credit")
    def get(self, request: Request, key: str, query: PageQuery) -> Page[GrantOut]:
        grants = _grants_of(get_customer(key))
        return paginated(request, grants, to_json=grant_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewGrant,
        returns=GrantOut,
        status=201,
        problems={InvalidGrant: 400},
        summary="Give or sell credit to a customer",
        description="Credit sold with an invoice is usable once that is paid.",
    )
    def post(self, request: Request, key: str, body: NewGrant) -> Answer:
        customer = get_customer(key)
        grant = give(
            customer,
            kind=GrantKind(body.kind),
            name=body.name,
            amount=minor(body.amount, "/amount", customer.currency),
            priority=body.priority,
            effective_at=body.effective_at,
            expires_at=body.expires_at,
            paid=body.paid,
            now=timezone.now(),
        )
        return Answer(_grant_out(grant.pk), location=f"/v1/wallets/{quote(customer.key, safe='')}/grants")


class VoidedGrant(Endpoint):
    """`/v1/wallets/{customer}/grants/{id}/void`"""

    @operation(
        scope="manage",
        returns=GrantOut,
        problems={GrantNotVoidable: 409},
        summary="Take back what is left of a grant",
        description="What has been used stays used.",
    )
    def post(self, request: Request, key: str, grant_id: uuid.UUID) -> GrantOut:
        grant = Grant.objects.filter(customer=get_customer(key), pk=grant_id).select_related("customer").first()
        if grant is None:
            raise not_found("The customer has no such grant.")
        void_grant(grant, now=timezone.now())
        return _grant_out(grant.pk)


class TopUp(Endpoint):
    """`/v1/wallets/{customer}/top-up`"""

    @operation(
        scope="manage",
        body=RuleIn,
        returns=RuleOut,
        problems={InvalidRule: 400},
        summary="Set the rule by which a customer's credit is topped up",
    )
    def put(self, request: Request, key: str, body: RuleIn) -> RuleOut:
        customer = get_customer(key)
        try:
            cool_off = parse_duration(body.cool_off)
        except InvalidDuration as error:
            raise InvalidRule("/cool_off", str(error)) from error
        below, up_to = (minor(getattr(body, name), f"/{name}", customer.currency) for name in ("below", "up_to"))
        return rule_out(set_rule(customer, below=below, up_to=up_to, cool_off=cool_off, now=timezone.now()))

    @operation(scope="manage", status=204, summary="Top up a customer's credit no more")
    def delete(self, request: Request, key: str) -> None:
        if not remove_rule(get_customer(key)):
            raise not_found("The customer has no top-up rule.")
