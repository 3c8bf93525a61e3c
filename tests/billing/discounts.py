"""Coupons as the billing tests know them: how to make one, and to redeem it."""

import datetime as dt
from decimal import Decimal
from typing import Any

from billing.coupons import create_coupon, redeem
from billing.models import Coupon, Redemption
from plans.models import Subscription
from tests.cast import NOON


def a_coupon(code: str = "SPRING", *, percent: str | None = None, amount: str | None = None, **fields: Any) -> Coupon:
    """A tenth off, once, unless said otherwise."""
    if amount is not None:
        fields = {"amount_off": Decimal(amount), "currency": "USD"} | fields
    else:
        fields = {"percent_off": Decimal(percent or "10")} | fields
    return create_coupon(**{"code": code, "name": code.title(), "duration": "once", "now": NOON} | fields)


def redeemed(coupon: Coupon, subscription: Subscription, *, now: dt.datetime = NOON, **fields: Any) -> Redemption:
    return redeem(coupon.code, subscription, now=now, **fields)
