"""Coupons as the billing tests know them: how to make one, and to redeem it; and whether the bills hold."""

import datetime as dt
from decimal import Decimal
from typing import Any

from billing.books import check
from billing.books.coupons import COUPONS
from billing.books.invoices import INVOICES
from billing.books.periods import PERIODS
from billing.books.prices import PRICES
from billing.coupons import create_coupon, discounts_in, redeem, redemptions_of
from billing.models import Coupon, Redemption
from plans.models import Subscription
from plans.period_bill import PeriodDiscount
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


def discounts_for(subscription: Subscription, period_index: int) -> list[PeriodDiscount]:
    """What is taken off a period."""
    return discounts_in(redemptions_of([subscription.pk])[subscription.pk], period_index)


def assert_bills_hold(now: dt.datetime) -> None:
    """Nothing that the check of the books knows of invoices, discounts, periods and prices is violated."""
    names = [invariant.name for invariant in (*INVOICES, *COUPONS, *PERIODS, *PRICES)]
    violations = [(violation.invariant.name, violation.rows) for violation in check(now, only=names)]
    assert not violations, violations
