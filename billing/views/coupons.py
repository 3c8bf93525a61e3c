"""`/v1/coupons` and `/v1/subscriptions/{id}/discounts`: what is taken off, and for whom."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Body, Instant, Price
from billing.coupons import (
    CouponArchived,
    CouponExists,
    InvalidCoupon,
    NotRedeemable,
    RedemptionRefused,
    archive_coupon,
    create_coupon,
    end_redemption,
    redeem,
)
from billing.models import Coupon, Redemption
from plans.models import Subscription
from plans.money import format_amount
from plans.views.customers import Currency
from plans.views.subscriptions import get_subscription
from plans.views.tier_schemes import Code

CouponCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)", description="letters, digits, - _")]
Percent = Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$(?!\n)", description="10 is 10 %")]
Times = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Period = Annotated[int, Meta(ge=0, le=100_000, description="index of a period of the subscription; 0 is the first")]


class NewCoupon(Body):
    """A coupon to be: `percent_off`, or `amount_off` of `currency` a period.

    It is on `all` of a period, its `base_fee`, or its `usage` (of some `tiers`), for one period (`once`), so many
    `periods` (`repeating`) or `forever`.
    """

    code: CouponCode
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    duration: Literal["once", "repeating", "forever"]
    percent_off: Percent | None = None
    amount_off: Price | None = None
    currency: Currency | None = None
    applies_to: Literal["all", "base_fee", "usage"] = "all"
    tiers: Annotated[list[Code], Meta(max_length=100)] = []
    periods: Annotated[int, Meta(ge=1, le=1200)] | None = None
    max_redemptions: Times | None = None
    redeem_by: Instant | None = None


class CouponOut(msgspec.Struct):
    """A coupon, and how often it has been redeemed."""

    id: uuid.UUID
    code: str
    name: str
    percent_off: str | None
    amount_off: str | None
    currency: str | None
    applies_to: str
    tiers: list[str]
    duration: str
    periods: int | None
    max_redemptions: int | None
    redeemed: int
    redeem_by: dt.datetime | None
    created_at: dt.datetime
    archived_at: dt.datetime | None


class NewDiscount(Body):
    """A coupon to be redeemed, from the running period on unless `first_period` says another.

    With `preview` nothing is changed.
    """

    coupon: CouponCode
    first_period: Period | None = None
    preview: bool = False


class DiscountEnd(Body):
    """From which period on there is no discount: the one after the running one unless said."""

    from_period: Period | None = None
    preview: bool = False


class DiscountOut(msgspec.Struct):
    """A discount that a subscription has, from `first_period` up to, not including, `end_period` (none: for ever)."""

    id: uuid.UUID
    subscription: uuid.UUID
    coupon: CouponOut
    first_period: int
    end_period: int | None
    redeemed_at: dt.datetime


def coupon_out(coupon: Coupon) -> CouponOut:
    same = ("id", "code", "name", "applies_to", "tiers", "duration", "periods", "max_redemptions", "redeemed")
    times = ("redeem_by", "created_at", "archived_at")
    return CouponOut(
        **{name: getattr(coupon, name) for name in (*same, *times)},
        percent_off=None if coupon.percent_off is None else f"{coupon.percent_off.normalize():f}",
        amount_off=None if coupon.amount_off is None else format_amount(coupon.amount_off, coupon.currency),
        currency=coupon.currency or None,
    )


def discount_out(redemption: Redemption) -> DiscountOut:
    return DiscountOut(
        id=redemption.id,
        subscription=redemption.subscription_id,
        coupon=coupon_out(redemption.coupon),
        first_period=redemption.first_period,
        end_period=redemption.end_period,
        redeemed_at=redemption.redeemed_at,
    )


def get_coupon(code: str) -> Coupon:
    """The coupon a URL or body names, or the problem 404."""
    coupon = Coupon.objects.filter(code=code).first()
    if coupon is None:
        raise not_found(f"There is no coupon {code!r}.")
    return coupon


def get_discount(subscription: Subscription, redemption_id: uuid.UUID) -> Redemption:
    """The subscription's discount a URL names, or the problem 404."""
    redemption = Redemption.objects.filter(subscription=subscription, pk=redemption_id).first()
    if redemption is None:
        raise not_found("The subscription has no such discount.")
    return redemption


class Coupons(Endpoint):
    """`/v1/coupons`"""

    @operation(scope="read", query=PageQuery, returns=Page[CouponOut], summary="List coupons")
    def get(self, request: Request, query: PageQuery) -> Page[CouponOut]:
        coupons = Coupon.objects.all()
        return paginated(request, coupons, to_json=coupon_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewCoupon,
        returns=CouponOut,
        status=201,
        problems={CouponExists: 409, InvalidCoupon: 400},
        summary="Create a coupon",
    )
    def post(self, request: Request, body: NewCoupon) -> Answer:
        said = msgspec.structs.asdict(body) | {
            "percent_off": None if body.percent_off is None else Decimal(body.percent_off),
            "amount_off": None if body.amount_off is None else Decimal(body.amount_off),
            "currency": body.currency or "",
        }
        coupon = create_coupon(**said, now=timezone.now())
        return Answer(coupon_out(coupon), location=f"/v1/coupons/{coupon.code}")


class OneCoupon(Endpoint):
    """`/v1/coupons/{code}`"""

    @operation(scope="read", returns=CouponOut, summary="Read a coupon")
    def get(self, request: Request, code: str) -> CouponOut:
        return coupon_out(get_coupon(code))


class ArchivedCoupon(Endpoint):
    """`/v1/coupons/{code}/archive`"""

    @operation(
        scope="manage",
        returns=CouponOut,
        problems={CouponArchived: 409},
        summary="Archive a coupon",
        description="It can be redeemed no more; discounts given before go on.",
    )
    def post(self, request: Request, code: str) -> CouponOut:
        return coupon_out(archive_coupon(get_coupon(code), now=timezone.now()))


class Discounts(Endpoint):
    """`/v1/subscriptions/{id}/discounts`"""

    @operation(scope="read", query=PageQuery, returns=Page[DiscountOut], summary="List a subscription's discounts")
    def get(self, request: Request, subscription_id: uuid.UUID, query: PageQuery) -> Page[DiscountOut]:
        subscription = get_subscription(subscription_id)
        redemptions = Redemption.objects.filter(subscription=subscription).select_related("coupon")
        return paginated(request, redemptions, to_json=discount_out, limit=query.limit, cursor=query.cursor)

    @operation(
        scope="manage",
        body=NewDiscount,
        returns=DiscountOut,
        status=201,
        problems={NotRedeemable: 409, RedemptionRefused: 400},
        summary="Redeem a coupon for a subscription",
        description="Periods that are invoiced stay as they are. A preview is answered with 200.",
    )
    def post(self, request: Request, subscription_id: uuid.UUID, body: NewDiscount) -> Answer:
        subscription = get_subscription(subscription_id)
        redemption = redeem(
            get_coupon(body.coupon).code,
            subscription,
            first_period=body.first_period,
            preview=body.preview,
            now=timezone.now(),
        )
        location = "" if body.preview else f"/v1/subscriptions/{subscription.id}/discounts"
        return Answer(discount_out(redemption), status=200 if body.preview else 201, location=location)


class EndedDiscount(Endpoint):
    """`/v1/subscriptions/{id}/discounts/{id}/end`"""

    @operation(
        scope="manage",
        body=DiscountEnd,
        returns=DiscountOut,
        problems={RedemptionRefused: 400},
        summary="Stop a discount from a period on",
    )
    def post(
        self, request: Request, subscription_id: uuid.UUID, redemption_id: uuid.UUID, body: DiscountEnd
    ) -> DiscountOut:
        redemption = get_discount(get_subscription(subscription_id), redemption_id)
        ended = end_redemption(redemption.pk, from_period=body.from_period, preview=body.preview, now=timezone.now())
        return discount_out(ended)
