"""`/v1/customers/{key}/usage` and `/v1/quotes`: what it costs so far, and what it would cost."""

import datetime as dt
from typing import Annotated, Any, NoReturn

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.asking import asked_as_before
from api.endpoints import Endpoint, operation
from api.problems import bad_request
from api.strict_json import Body
from billing.running import NotSubscribed, RunningBill, running_bill
from plans.calendar import Anchor, period
from plans.models import PlanVersion
from plans.money import format_amount, format_price, to_minor
from plans.period_bill import PeriodBill, Segment, bill_period
from plans.pricing import PricedTier, UnpricedTier
from plans.publishing import terms_of
from plans.terms import Terms
from plans.views.customers import get_customer
from plans.views.plans import get_plan, get_plan_version, newest_published
from plans.views.tier_schemes import Code

Count = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]


class ChargeOut(msgspec.Struct):
    """One line of the bill: base fee, usage, discount, minimum or maximum; `explanation` is the pencil sum."""

    kind: str
    tier: str | None
    quantity: int
    amount: str
    explanation: str


class TierUsage(msgspec.Struct):
    """One tier: how many, of the allowance, beyond it, and what that costs. `explanation` is the pencil sum.

    Where the plan has peak hours, those in them are another row, "tier@peak"; with a pool there is one of credits,
    "pool". Where the plan has changed within the period, each plan has its rows, in order of time.
    """

    tier: str
    used: int
    allowance: int
    included: int
    overage: int
    amount: str
    explanation: str
    steps: list[dict[str, Any]]


class UsageOut(msgspec.Struct):
    """The running bill. `open` counts conversations going on, by the tier they would get if they settled now.

    For a customer with very many they are counted once a minute, last at `open_as_of`; settled ones count at once.
    `charges` are all lines of the period's bill so far, as the invoice would have them.
    """

    customer: str
    plan: str
    plan_version: int
    currency: str
    period_start: dt.datetime
    period_end: dt.datetime
    base_fee: str
    tiers: list[TierUsage]
    charges: list[ChargeOut]
    open: dict[str, int]
    open_as_of: dt.datetime
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
    charges: list[ChargeOut]
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


def charges_out(bill: PeriodBill, currency: str) -> list[ChargeOut]:
    return [
        ChargeOut(
            kind=charge.kind,
            tier=charge.meter or None,
            quantity=charge.quantity,
            amount=format_amount(charge.amount, currency),
            explanation=charge.explanation,
        )
        for charge in bill.charges
    ]


class Usage(Endpoint):
    """`/v1/customers/{key}/usage`"""

    @operation(scope="read", returns=UsageOut, problems={NotSubscribed: 409}, summary="Read a customer's running bill")
    def get(self, request: Request, key: str) -> UsageOut:
        now = timezone.now()
        with asked_as_before(("usage", key), now=now):
            customer = get_customer(key)
            return _usage_out(customer.key, running_bill(customer, now=now))


def _usage_out(key: str, running: RunningBill) -> UsageOut:
    agreed, bill, currency = running.agreed, running.owed.bill, running.agreed.terms.currency
    fees = sum(charge.amount for charge in bill.charges if charge.kind == "base_fee")
    return UsageOut(
        customer=key,
        plan=agreed.plan_version.plan.code,
        plan_version=agreed.plan_version.version,
        currency=currency,
        period_start=agreed.period.start,
        period_end=agreed.period.end,
        base_fee=format_amount(fees, currency),
        tiers=[tier_usage(priced, currency) for priced in running.tiers],
        charges=charges_out(bill, currency),
        open=running.open_counts,
        open_as_of=running.open_as_of,
        total=format_amount(running.total, currency),
        forecast_total=format_amount(running.forecast_total, currency),
    )


class Quotes(Endpoint):
    """`/v1/quotes`"""

    @operation(scope="read", body=QuoteIn, returns=QuoteOut, summary="Price a mix of conversations on a plan")
    def post(self, request: Request, body: QuoteIn) -> QuoteOut:
        if body.version is not None:
            version = get_plan_version(body.plan, body.version)
        else:
            version = newest_published(get_plan(body.plan)) or _nothing_published()
        terms = terms_of(version)
        start = timezone.now()
        anchor = Anchor(start, "UTC")
        whole = period(anchor, terms.interval, 0)
        segment = Segment(start=whole.start, end=whole.end, terms=terms, counts=body.conversations)
        try:
            bill = bill_period([segment], whole)
        except UnpricedTier as error:
            raise bad_request(
                "The plan does not price that.",
                errors=[(f"/conversations/{tier}", "the plan has no such tier") for tier in error.tiers],
            ) from error
        return _quote_out(version, terms, bill)


def _nothing_published() -> NoReturn:
    raise bad_request("Nothing to quote.", errors=[("/plan", "the plan has no published version")])


def _quote_out(version: PlanVersion, terms: Terms, bill: PeriodBill) -> QuoteOut:
    currency = terms.currency
    return QuoteOut(
        plan=version.plan.code,
        plan_version=version.version,
        currency=currency,
        base_fee=format_price(terms.base_fee, currency),
        tiers=[tier_usage(priced, currency) for priced in bill.usage[0]],
        charges=charges_out(bill, currency),
        total=format_amount(bill.total, currency),
    )
