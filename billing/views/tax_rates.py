"""`/v1/tax-rates`: the seller's own tax rates, where tax is not left to Stripe."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.strict_json import Body, Instant
from billing.models import TaxRate
from billing.taxes import InvalidTaxRate, TaxRateExists, add_tax_rate
from billing.views.coupons import Percent
from plans.views.customers import Country


class NewTaxRate(Body):
    """A tax from `starts_at` (now, unless said) on, for customers of a country; without one, for all other countries.

    `inclusive`: prices contain it already.
    """

    name: Annotated[str, Meta(min_length=1, max_length=50)]
    percent: Percent
    country: Country = ""
    inclusive: bool = False
    starts_at: Instant | None = None


class TaxRateOut(msgspec.Struct):
    """A tax rate. It is never changed: the newest that has begun is in force."""

    id: uuid.UUID
    country: str | None
    name: str
    percent: str
    inclusive: bool
    starts_at: dt.datetime
    created_at: dt.datetime


def tax_rate_out(rate: TaxRate) -> TaxRateOut:
    return TaxRateOut(
        id=rate.id,
        country=rate.country or None,
        name=rate.name,
        percent=f"{rate.percent.normalize():f}",
        inclusive=rate.inclusive,
        starts_at=rate.starts_at,
        created_at=rate.created_at,
    )


class TaxRates(Endpoint):
    """`/v1/tax-rates`"""

    @operation(scope="read", query=PageQuery, returns=Page[TaxRateOut], summary="List tax rates")
    def get(self, request: Request, query: PageQuery) -> Page[TaxRateOut]:
        rates = TaxRate.objects.all()
        return paginated(request, rates, to_json=tax_rate_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewTaxRate,
        returns=TaxRateOut,
        status=201,
        problems={TaxRateExists: 409, InvalidTaxRate: 400},
        summary="Add a tax rate",
        description="For invoices finalized from then on, where PARLEY_TAX is `fixed`.",
    )
    def post(self, request: Request, body: NewTaxRate) -> Answer:
        now = timezone.now()
        rate = add_tax_rate(
            country=body.country,
            name=body.name,
            percent=Decimal(body.percent),
            inclusive=body.inclusive,
            starts_at=body.starts_at or now,
            now=now,
        )
        return Answer(tax_rate_out(rate))
