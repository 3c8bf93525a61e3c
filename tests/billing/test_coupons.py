"""Coupons: for which periods, how often, for whom; and many at once."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from billing.billing import bill_batch
from billing.coupons import (
    AlreadyRedeemed,
    CouponArchived,
    CouponExists,
    CouponExpired,
    CouponUsedUp,
    InvalidCoupon,
    RedemptionRefused,
    archive_coupon,
    end_redemption,
)
from billing.models import Coupon, Redemption
from plans.models import Customer, Subscription
from tests.billing.books import DEC_2, FEB_2, GRACE, JAN_2, all_billed, billed, conversations, happened, lines_of
from tests.billing.discounts import a_coupon, assert_bills_hold, discounts_for, redeemed
from tests.billing.test_at_once import together
from tests.cast import NOON, a_plan, acme, bolt, canceled, create_customer, subscribed
from tests.metering.conftest import Sessions
from tests.metering.test_concurrency import wait_until_blocked

pytestmark = pytest.mark.django_db
DUE = DEC_2 + GRACE


@pytest.fixture
def subscription() -> Subscription:
    """Acme's, since NOON, for 49.00 a month."""
    return subscribed(acme(), a_plan())


def periods_discounted(subscription: Subscription, up_to: int = 6) -> list[int]:
    return [index for index in range(up_to) if discounts_for(subscription, index)]


# What a coupon can be


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"percent": "0"}, "/percent_off"),
        ({"percent": "100.0001"}, "/percent_off"),
        ({"percent": "9.99999"}, "/percent_off"),
        ({"amount": "0"}, "/amount_off"),
        ({"amount": "0.005"}, "/amount_off"),
        ({"amount": "5.00", "currency": "JPY"}, None),
        ({"amount": "5.50", "currency": "JPY"}, "/amount_off"),
        ({"amount": "5.00", "currency": "XXX"}, "/currency"),
        ({"percent": "5", "currency": "USD"}, "/currency"),
        ({"amount": "5.00", "percent_off": Decimal(5)}, "/currency"),
        ({"amount": "5.00", "percent_off": Decimal(5), "currency": ""}, "/percent_off"),
        ({"percent": "5", "percent_off": None}, "/percent_off"),
        ({"duration": "repeating"}, "/periods"),
        ({"duration": "forever", "periods": 3}, "/periods"),
        ({"duration": "repeating", "periods": 3}, None),
        ({"tiers": ["simple"]}, "/tiers"),
        ({"tiers": ["simple"], "applies_to": "usage"}, None),
        ({"redeem_by": NOON}, "/redeem_by"),
    ],
)
def test_what_a_coupon_can_be(fields: dict[str, Any], pointer: str | None) -> None:
    if pointer is None:
        assert a_coupon(**fields).redeemed == 0
        return
    with pytest.raises(InvalidCoupon) as refused:
        a_coupon(**fields)
    assert [error[0] for error in refused.value.errors] == [pointer]


def test_a_code_belongs_to_one_coupon() -> None:
    a_coupon("SPRING")
    a_coupon("spring")
    with pytest.raises(CouponExists):
        a_coupon("SPRING")


# For which periods


@pytest.mark.parametrize(
    ("duration", "discounted"),
    [
        ({"duration": "once"}, [0]),
        ({"duration": "repeating", "periods": 3}, [0, 1, 2]),
        ({"duration": "forever"}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_discount_lasts_as_long_as_the_coupon_says(
    subscription: Subscription, duration: dict[str, Any], discounted: list[int]
) -> None:
    redeemed(a_coupon(**duration), subscription)
    assert periods_discounted(subscription) == discounted


def test_it_begins_with_the_running_period(subscription: Subscription) -> None:
    redeemed(a_coupon(), subscription, now=DEC_2)
    assert periods_discounted(subscription) == [1]


def test_it_begins_with_the_first_period_before_the_subscription_does() -> None:
    later = subscribed(acme(), a_plan(), since=DEC_2)
    redeemed(a_coupon(), later)
    assert periods_discounted(later) == [0]


def test_a_period_billed_ahead_is_left_as_it_is(subscription: Subscription) -> None:
    billed(DUE)
    redeemed(a_coupon(), subscription, now=NOON)
    assert periods_discounted(subscription) == [1]


def test_a_named_period_may_be_over_while_it_is_not_invoiced(subscription: Subscription) -> None:
    billed(NOON)
    redeemed(a_coupon(), subscription, now=DEC_2, first_period=0)
    assert periods_discounted(subscription) == [0]


def test_it_does_not_reach_back_into_invoiced_periods(subscription: Subscription) -> None:
    billed(DUE)
    with pytest.raises(RedemptionRefused, match="the first that is not is 1"):
        redeemed(a_coupon(), subscription, now=DUE, first_period=0)
    assert Coupon.objects.get().redeemed == 0


def test_a_subscription_that_is_over_gets_no_discount_beyond_its_end(subscription: Subscription) -> None:
    subscription = canceled(subscription, now=NOON)
    with pytest.raises(RedemptionRefused, match="ends with period 0"):
        redeemed(a_coupon(), subscription, first_period=1)
    redeemed(a_coupon("LAST"), subscription, now=DEC_2)
    assert periods_discounted(subscription) == [0]
    billed(DUE)
    with pytest.raises(RedemptionRefused, match="ends with period 0"):
        redeemed(a_coupon("LATE"), subscription, now=DUE)


def test_a_withdrawn_subscription_has_no_period_to_discount() -> None:
    withdrawn = canceled(subscribed(acme(), a_plan(), since=DEC_2), now=NOON, when="now")
    with pytest.raises(RedemptionRefused, match="withdrawn"):
        redeemed(a_coupon(), withdrawn)


# How often, and for whom


def test_a_coupon_is_redeemed_once_a_subscription(subscription: Subscription) -> None:
    coupon = a_coupon()
    redeemed(coupon, subscription)
    with pytest.raises(AlreadyRedeemed):
        redeemed(coupon, subscription)
    assert Coupon.objects.get().redeemed == Redemption.objects.count() == 1


def test_a_coupon_is_redeemed_as_often_as_it_allows(subscription: Subscription) -> None:
    coupon = a_coupon(max_redemptions=1)
    redeemed(coupon, subscription)
    with pytest.raises(CouponUsedUp):
        redeemed(coupon, subscribed(bolt(), a_plan("other")))
    assert Redemption.objects.count() == 1


def test_the_database_counts_too(subscription: Subscription) -> None:
    coupon = a_coupon(max_redemptions=1)
    redeemed(coupon, subscription)
    with pytest.raises(IntegrityError, match="coupon_never_redeemed_too_often"), transaction.atomic():
        Coupon.objects.update(redeemed=2)


def test_a_coupon_is_redeemed_before_its_last_moment(subscription: Subscription) -> None:
    coupon = a_coupon(redeem_by=DEC_2)
    with pytest.raises(CouponExpired):
        redeemed(coupon, subscription, now=DEC_2)
    redeemed(coupon, subscription, now=DEC_2 - dt.timedelta(microseconds=1))


def test_an_archived_coupon_is_redeemed_no_more_but_goes_on(subscription: Subscription) -> None:
    coupon = a_coupon(duration="forever")
    redeemed(coupon, subscription)
    archive_coupon(coupon, now=NOON)
    with pytest.raises(CouponArchived):
        redeemed(coupon, subscribed(bolt(), a_plan("other")))
    with pytest.raises(CouponArchived):
        archive_coupon(coupon, now=NOON)
    assert periods_discounted(subscription, 2) == [0, 1]


def test_an_amount_fits_only_who_pays_in_its_currency(subscription: Subscription) -> None:
    with pytest.raises(RedemptionRefused, match="the customer pays in USD"):
        redeemed(a_coupon(amount="5.00", currency="EUR"), subscription)


def test_a_preview_says_what_would_be_and_leaves_no_trace(subscription: Subscription) -> None:
    coupon = a_coupon(max_redemptions=1, duration="repeating", periods=3)
    for _ in range(2):
        tried = redeemed(coupon, subscription, preview=True)
        assert (tried.first_period, tried.end_period, tried.coupon.redeemed) == (0, 3, 1)
    assert (Coupon.objects.get().redeemed, Redemption.objects.count()) == (0, 0)
    redeemed(coupon, subscription)
    with pytest.raises(AlreadyRedeemed):
        redeemed(coupon, subscription, preview=True)


# Ending


def test_an_ended_discount_stops_after_the_running_period(subscription: Subscription) -> None:
    redemption = redeemed(a_coupon(duration="forever"), subscription)
    end_redemption(redemption.pk, now=NOON)
    assert periods_discounted(subscription) == [0]


def test_a_discount_can_be_taken_off_a_period_that_is_not_invoiced(subscription: Subscription) -> None:
    redemption = redeemed(a_coupon(duration="forever"), subscription)
    end_redemption(redemption.pk, from_period=0, now=DEC_2)
    assert periods_discounted(subscription) == []


def test_an_end_neither_reaches_back_nor_prolongs(subscription: Subscription) -> None:
    redemption = redeemed(a_coupon(duration="repeating", periods=2), subscription)
    billed(DUE)
    for period in (0, 2, 3):
        with pytest.raises(RedemptionRefused):
            end_redemption(redemption.pk, from_period=period, now=DUE)
    end_redemption(redemption.pk, from_period=1, now=DUE)
    assert periods_discounted(subscription) == [0]


def test_the_preview_of_an_end_ends_nothing(subscription: Subscription) -> None:
    redemption = redeemed(a_coupon(duration="forever"), subscription)
    assert end_redemption(redemption.pk, now=NOON, preview=True).end_period == 1
    assert Redemption.objects.get().end_period is None


# What is taken off


def test_discounts_on_some_lines_come_before_those_on_all_and_older_before_newer(subscription: Subscription) -> None:
    for code, scope in (("a", "all"), ("b", "usage"), ("c", "all"), ("d", "base_fee")):
        redeemed(a_coupon(code, applies_to=scope), subscription)
    assert [(discount.name, discount.on) for discount in discounts_for(subscription, 0)] == [
        ("B", "usage"),
        ("D", "base_fee"),
        ("A", "all"),
        ("C", "all"),
    ]


def test_a_discount_says_what_it_takes_off_what(subscription: Subscription) -> None:
    redemption = redeemed(a_coupon(amount="5.00", applies_to="usage", tiers=["simple"]), subscription)
    (discount,) = discounts_for(subscription, 0)
    assert (discount.id, discount.amount, discount.percent) == (str(redemption.pk), 500, None)
    assert (discount.on, discount.tiers) == ("usage", ("simple",))


def test_the_invoice_of_a_discounted_period_takes_it_off(subscription: Subscription) -> None:
    happened(*conversations(2, tier="enterprise"), now=NOON)
    redeemed(a_coupon(percent="50", applies_to="usage"), subscription)
    billed(NOON)
    (november,) = billed(DUE)
    assert lines_of(november) == [("base_fee", "", 4900), ("usage", "enterprise", 100), ("discount", "", -50)]
    assert november.subtotal == 4950


def test_late_usage_of_a_discounted_period_is_discounted_as_usage_in_time(subscription: Subscription) -> None:
    redeemed(a_coupon(percent="50", applies_to="usage"), subscription)
    billed(DUE)
    happened(*conversations(2, tier="enterprise"), now=DUE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900), ("adjustment", "", 50)]


def test_a_base_fee_billed_in_advance_is_discounted_when_the_period_closes(subscription: Subscription) -> None:
    billed(NOON)
    redeemed(a_coupon(percent="100"), subscription)
    (november,) = billed(DUE)
    assert lines_of(november) == [("base_fee", "", 4900), ("discount", "", -4900)]
    billed(FEB_2 + GRACE)
    assert all_billed(acme()) == 4 * 4900 - 4900


def test_the_books_hold_with_every_discount_at_every_moment(subscription: Subscription) -> None:
    billed(NOON)
    ended = redeemed(a_coupon("fee", percent="50", applies_to="base_fee", duration="forever"), subscription)
    redeemed(a_coupon("all", amount="3.00", duration="repeating", periods=2), subscription)
    assert_bills_hold(NOON)
    billed(DUE)
    assert_bills_hold(DUE)
    end_redemption(ended.pk, from_period=1, now=DUE)
    assert_bills_hold(DUE)
    billed(FEB_2 + GRACE)
    assert_bills_hold(FEB_2 + GRACE)
    assert all_billed(acme()) == 4 * 4900 - 2450 - 2 * 300


# At once


def many(count: int) -> list[Subscription]:
    plan = a_plan()
    customers: list[Customer] = [create_customer(key=f"c{n}", currency="USD", now=NOON) for n in range(count)]
    return [subscribed(customer, plan) for customer in customers]


@pytest.mark.parametrize("allowed", [1, 5])
def test_of_many_at_once_only_as_many_redeem_as_may(sessions: Sessions, allowed: int) -> None:
    coupon = a_coupon(max_redemptions=allowed)
    results = together(sessions, *[lambda one=one: redeemed(coupon, one) for one in many(12)])
    assert sum(isinstance(result, Redemption) for result in results) == allowed
    assert results.count(CouponUsedUp) == 12 - allowed
    assert Coupon.objects.get().redeemed == Redemption.objects.count() == allowed


def test_one_subscription_redeems_once_however_often_it_tries_at_once(sessions: Sessions) -> None:
    (subscription,), coupon = many(1), a_coupon()
    results = together(sessions, *[lambda: redeemed(coupon, subscription)] * 12)
    assert sum(isinstance(result, Redemption) for result in results) == 1
    assert results.count(AlreadyRedeemed) == 11
    assert Coupon.objects.get().redeemed == 1


def test_a_redemption_waits_for_the_bill_that_is_being_made(sessions: Sessions) -> None:
    (subscription,), coupon = many(1), a_coupon()
    billed(NOON)
    with transaction.atomic():
        assert bill_batch([subscription.pk], as_of=DUE, now=DUE).invoices
        redeeming = sessions.start(lambda: redeemed(coupon, subscription, first_period=0))
        wait_until_blocked()
    with pytest.raises(RedemptionRefused, match="is invoiced"):
        redeeming.result(30)
