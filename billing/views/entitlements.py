"""`/v1/customers/{key}/entitlement`: may this customer start another conversation, and why?"""

import datetime as dt
from typing import Annotated

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.asking import asked_as_before
from api.endpoints import Endpoint, operation
from api.strict_json import Body
from billing.entitling import ENTITLED, Allowance, Entitlement, Reason, UnknownTier, entitlement
from plans.money import format_price
from plans.views.customers import get_customer

Tier = Annotated[str, Meta(min_length=1, max_length=80, description='A tier of the plan, or "tier@peak".')]


class EntitlementQuery(Body):
    """Without a tier the answer is about all of them."""

    tier: Tier | None = None


class TierEntitlement(msgspec.Struct):
    """What is left of a tier in the period, in units of its `meter`: conversations, or credits, if that is "pool".

    A conversation `takes` so many units. Those going on (`open`, by the tier they are in now) are taken to use the
    allowance already: `remaining` is `included` less `used` less `open`. `overage_unit_amount` is what the first
    conversation costs that the allowance does not cover, before discounts.
    """

    tier: str
    entitled: bool
    reason: Reason
    meter: str
    takes: int
    included: int
    used: int
    open: int
    remaining: int
    overage_unit_amount: str


class EntitlementOut(msgspec.Struct, kw_only=True):
    """Whether the customer may start a conversation. What is said first is about the tier asked for, or the cheapest:
    every conversation starts there. `tiers` has it and, where none was asked for, all others.

    Entitled: `within_allowance`; `overage`, at a price; `free_trial`; `maximum_reached`, the period costs no more. Not
    entitled: `no_subscription`, `not_started`, `ended` (all three without figures), `paused`. `as_of` is a moment ago
    for a customer with very many conversations going on.
    """

    customer: str
    tier: str | None = None
    entitled: bool
    reason: Reason
    included: int | None = None
    used: int | None = None
    open: int | None = None
    remaining: int | None = None
    overage_unit_amount: str | None = None
    currency: str | None = None
    period_start: dt.datetime | None = None
    period_end: dt.datetime | None = None
    as_of: dt.datetime
    tiers: list[TierEntitlement] = []


class CustomerEntitlement(Endpoint):
    """`/v1/customers/{key}/entitlement`"""

    @operation(
        scope="read",
        query=EntitlementQuery,
        returns=EntitlementOut,
        problems={UnknownTier: 400},
        summary="Read what a customer is entitled to",
    )
    def get(self, request: Request, key: str, query: EntitlementQuery) -> EntitlementOut:
        now = timezone.now()
        with asked_as_before(("entitlement", key), now=now):
            customer = get_customer(key)
            return _entitlement_out(customer.key, entitlement(customer, tier=query.tier, now=now))


def _entitlement_out(key: str, found: Entitlement) -> EntitlementOut:
    agreed = found.agreed
    if agreed is None:
        return EntitlementOut(customer=key, entitled=found.entitled, reason=found.reason, as_of=found.as_of)
    tiers = [_tier_entitlement(each, agreed.terms.currency) for each in found.tiers]
    first = tiers[0]
    return EntitlementOut(
        customer=key,
        tier=first.tier,
        entitled=found.entitled,
        reason=found.reason,
        included=first.included,
        used=first.used,
        open=first.open,
        remaining=first.remaining,
        overage_unit_amount=first.overage_unit_amount,
        currency=agreed.terms.currency,
        period_start=agreed.period.start,
        period_end=agreed.period.end,
        as_of=found.as_of,
        tiers=tiers,
    )


def _tier_entitlement(allowance: Allowance, currency: str) -> TierEntitlement:
    return TierEntitlement(
        tier=allowance.tier,
        entitled=allowance.reason in ENTITLED,
        reason=allowance.reason,
        meter=allowance.meter,
        takes=allowance.takes,
        included=allowance.included,
        used=allowance.used,
        open=allowance.open,
        remaining=allowance.remaining,
        overage_unit_amount=format_price(allowance.overage_price, currency),
    )
