"""`/v1/customers/{key}/usage` and `/v1/quotes`: what it costs so far, and what it would cost."""

import datetime as dt
from typing import Annotated, Any

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.problems import bad_request
from api.strict_json import Body
from billing.running import NotSubscribed, RunningBill, running_bill
from plans.models import VersionStatus
from plans.money import format_amount, format_price, to_minor
from plans.pricing import PricedTier, UnpricedTier, price_usage
from plans.publishing import terms_of
from plans.terms import Terms
from plans.views.customers import get_customer
from plans.views.plans import get_plan, get_plan_version
from plans.views.tier_schemes import Code

Count = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]


class TierUsage(msgspec.Struct):
    """One tier: how many, of the allowance, beyond it, and what that costs. `explanation` is the pencil sum."""

    tier: str
    used: int
    allowance: int
    included: int
    overage: int
    amount: str
    explanation: str
    steps: list[dict[str, Any]]


class UsageOut(msgspec.Struct):
    """The running bill. `open` counts conversations going on, by the tier they would get if they settled now."""

    customer: str
    plan: str
    plan_version: int
    currency: str
    period_start: dt.datetime
    period_end: dt.datetime
    base_fee: str
    tiers: list[TierUsage]
    open: dict[str, int]
    total: str
    forecast_total: str


class QuoteIn(Body):
    """A mix of conversations by tier, to be priced on a plan's newest published version or the given one."""

    plan: Code
    conversations: dict[str, Count]
    version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class QuoteOut(msgspec.Struct):
    """What one period with these conversations would cost."""

    plan: str
    plan_version: int
    currency: str
    base_fee: str
    tiers: list[TierUsage]
    total: str


def tier_usage(priced: PricedTier, currency: str) -> TierUsage:
    details = priced.details(currency)
    return TierUsage(
        tier=priced.tier,
        used=priced.quantity,
        allowance=priced.allowance,
        included=priced.included,
        overage=priced.overage,
        amount=format_amount(to_minor(priced.amount, currency), currency),
        explanation=details["explanation"],
        steps=details["steps"],
    )


class Usage(Endpoint):
    """`/v1/customers/{key}/usage`"""

    @operation(scope="read", returns=UsageOut, problems={NotSubscribed: 409}, summary="Read a customer's running bill")
    def get(self, request: Request, key: str) -> UsageOut:
        customer = get_customer(key)
        return _usage_out(customer.key, running_bill(customer, now=timezone.now()))


def _usage_out(key: str, running: RunningBill) -> UsageOut:
    agreed, terms = running.agreed, running.agreed.terms
    return UsageOut(
        customer=key,
        plan=agreed.plan_version.plan.code,
        plan_version=agreed.plan_version.version,
        currency=terms.currency,
        period_start=agreed.period.start,
        period_end=agreed.period.end,
        base_fee=format_price(terms.base_fee, terms.currency),
        tiers=[tier_usage(priced, terms.currency) for priced in running.tiers],
        open=running.open_counts,
        total=format_amount(running.total, terms.currency),
        forecast_total=format_amount(running.forecast_total, terms.currency),
    )


class Quotes(Endpoint):
    """`/v1/quotes`"""

    @operation(scope="read", body=QuoteIn, returns=QuoteOut, summary="Price a mix of conversations on a plan")
    def post(self, request: Request, body: QuoteIn) -> QuoteOut:
        if body.version is not None:
            version = get_plan_version(body.plan, body.version)
        else:
            published = get_plan(body.plan).versions.filter(status=VersionStatus.PUBLISHED)
            newest = published.select_related("plan").order_by("-version").first()
            if newest is None:
                raise bad_request("Nothing to quote.", errors=[("/plan", "the plan has no published version")])
            version = newest
        terms = terms_of(version)
        try:
            tiers = price_usage(terms, body.conversations)
        except UnpricedTier as error:
            raise bad_request(
                "The plan does not price that.",
                errors=[(f"/conversations/{tier}", "the plan has no such tier") for tier in error.tiers],
            ) from error
        return _quote_out(version.plan.code, version.version, terms, tiers)


def _quote_out(plan: str, version: int, terms: Terms, tiers: list[PricedTier]) -> QuoteOut:
    currency = terms.currency
    total = to_minor(terms.base_fee, currency) + sum(to_minor(priced.amount, currency) for priced in tiers)
    return QuoteOut(
        plan=plan,
        plan_version=version,
        currency=currency,
        base_fee=format_price(terms.base_fee, currency),
        tiers=[tier_usage(priced, currency) for priced in tiers],
        total=format_amount(total, currency),
    )
