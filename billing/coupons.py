"""Which discounts were promised to a subscription, and for which of its periods?

A coupon is redeemed once a subscription, and so often in all as it allows, whoever comes at the same moment. What is
promised counts by period: it holds for late usage of a period as for usage in time, and neither a redemption nor its
end changes a period that has been invoiced to its end.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, cast

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from billing.manual_discounts import InvalidReduction, Reduction
from billing.models import BillingSchedule, Coupon, Redemption
from plans.models import Subscription
from plans.money import UnknownCurrency, to_minor
from plans.period_bill import PeriodDiscount
from plans.periods import LAST_INSTANT, NotInForce, period_holding

Scope = Literal["all", "base_fee", "usage"]


class CouponExists(Exception):
    """Another coupon has this code."""


class InvalidCoupon(ValueError):
    """The coupon cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class NotRedeemable(Exception):
    """The coupon can no longer be redeemed, by this subscription or by any."""


class CouponArchived(NotRedeemable):
    """The coupon was archived: it is redeemed no more; discounts given before go on."""


class CouponExpired(NotRedeemable):
    """The last moment to redeem it has passed."""


class CouponUsedUp(NotRedeemable):
    """It has been redeemed as often as it allows."""


class AlreadyRedeemed(NotRedeemable):
    """The subscription has redeemed it before."""


class RedemptionRefused(ValueError):
    """The discount cannot begin or end so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


def create_coupon(
    *,
    code: str,
    name: str,
    duration: str,
    now: dt.datetime,
    percent_off: Decimal | None = None,
    amount_off: Decimal | None = None,
    currency: str = "",
    applies_to: str = Coupon.Scope.ALL,
    tiers: Sequence[str] = (),
    periods: int | None = None,
    max_redemptions: int | None = None,
    redeem_by: dt.datetime | None = None,
) -> Coupon:
    """A coupon of `percent_off` (10 is 10 %) or `amount_off` (major units of `currency`) a period.

    Raises CouponExists, InvalidCoupon.
    """
    _check_reduction(percent_off, amount_off, currency)
    if tiers and applies_to != Coupon.Scope.USAGE:
        raise InvalidCoupon("/tiers", "only where it applies to usage: the base fee belongs to no tier")
    if (periods is not None) != (duration == Coupon.Duration.REPEATING):
        raise InvalidCoupon("/periods", "given where the duration is repeating, and only there")
    if redeem_by is not None and redeem_by <= now:
        raise InvalidCoupon("/redeem_by", "has passed already")
    try:
        with transaction.atomic():
            return Coupon.objects.create(
                code=code,
                name=name,
                percent_off=percent_off,
                amount_off=None if amount_off is None else to_minor(amount_off, currency),
                currency=currency,
                applies_to=applies_to,
                tiers=list(dict.fromkeys(tiers)),
                duration=duration,
                periods=periods,
                max_redemptions=max_redemptions,
                redeem_by=redeem_by,
                created_at=now,
            )
    except IntegrityError as error:
        raise CouponExists(f"a coupon with the code {code!r} exists") from error


def archive_coupon(coupon: Coupon, *, now: dt.datetime) -> Coupon:
    """Let nobody redeem it any more; what was redeemed goes on. Raises CouponArchived."""
    if not Coupon.objects.filter(pk=coupon.pk, archived_at=None).update(archived_at=now):
        raise CouponArchived(f"the coupon {coupon} is archived already")
    coupon.refresh_from_db()
    return coupon


def redeem(
    coupon_code: str,
    subscription: Subscription,
    *,
    now: dt.datetime,
    first_period: int | None = None,
    preview: bool = False,
) -> Redemption:
    """Give a subscription the discount, from the period running at `now` (or the first one that is not invoiced) on.

    `first_period` names another period. A preview does all of it and takes it back. Raises Coupon.DoesNotExist,
    NotRedeemable, RedemptionRefused.
    """
    with transaction.atomic():
        first = _first_period(subscription, first_period, now)
        coupon = Coupon.objects.get(code=coupon_code)
        if coupon.currency not in ("", subscription.customer.currency):
            detail = f"it is in {coupon.currency}, but the customer pays in {subscription.customer.currency}"
            raise RedemptionRefused("/coupon", detail)
        redemption = _write(
            Redemption(coupon=coupon, first_period=first, end_period=_end(coupon, first)), subscription, now
        )
        _count(coupon, now)
        if preview:
            transaction.set_rollback(True)
        return redemption


def end_redemption(
    redemption_id: uuid.UUID, *, now: dt.datetime, from_period: int | None = None, preview: bool = False
) -> Redemption:
    """Stop a discount from a period on: the one after that running at `now`, or the named one.

    Raises RedemptionRefused: for a period that has been invoiced, or in which there is no discount anyway.
    """
    with transaction.atomic():
        redemption = Redemption.objects.select_related("subscription__customer", "coupon").get(pk=redemption_id)
        running, first_open, _ = _periods(redemption.subscription, now)
        redemption = Redemption.objects.select_for_update(of=["self"]).select_related("coupon").get(pk=redemption_id)
        end = max(running + 1, first_open) if from_period is None else from_period
        if end < first_open:
            raise RedemptionRefused("/from_period", f"period {end} is invoiced; the first that is not is {first_open}")
        end = max(end, redemption.first_period)
        if redemption.end_period is not None and redemption.end_period <= end:
            raise RedemptionRefused("/from_period", f"the discount ends with period {redemption.end_period} already")
        redemption.end_period = end
        if not preview:
            redemption.save(update_fields=["end_period"])
        return redemption


def redemptions_of(subscription_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Redemption]]:
    """All that was redeemed for these subscriptions, by their ids, older before newer; each with its coupon."""
    redeemed: dict[uuid.UUID, list[Redemption]] = {pk: [] for pk in subscription_ids}
    found = Redemption.objects.filter(subscription__in=redeemed).select_related("coupon")
    for redemption in found.order_by("redeemed_at", "id"):
        redeemed[redemption.subscription_id].append(redemption)
    return redeemed


def discounts_in(redeemed: Iterable[Redemption], period_index: int) -> list[PeriodDiscount]:
    """What a subscription's redemptions, older before newer, take off one of its periods, in order.

    Discounts on some of its lines come before those on all, older before newer.
    """
    discounts = [_period_discount(redemption) for redemption in redeemed if _in_force(redemption, period_index)]
    return sorted(discounts, key=lambda discount: discount.on == "all")


def _in_force(redemption: Redemption, period_index: int) -> bool:
    end = redemption.end_period
    return redemption.first_period <= period_index and (end is None or end > period_index)


def _period_discount(redemption: Redemption) -> PeriodDiscount:
    coupon = redemption.coupon
    return PeriodDiscount(
        id=str(redemption.pk),
        name=coupon.name,
        percent=coupon.percent_off,
        amount=coupon.amount_off,
        on=cast(Scope, coupon.applies_to),
        tiers=tuple(coupon.tiers) or None,
    )


def _check_reduction(percent: Decimal | None, amount: Decimal | None, currency: str) -> None:
    if percent is not None and currency:
        raise InvalidCoupon("/currency", "only with amount_off")
    try:
        Reduction(currency=currency, percent=percent, amount=amount)
    except InvalidReduction as error:
        ((pointer, detail),) = error.errors
        raise InvalidCoupon(f"{pointer}_off", detail) from error
    except UnknownCurrency as error:
        raise InvalidCoupon("/currency", str(error)) from error


def _first_period(subscription: Subscription, wanted: int | None, now: dt.datetime) -> int:
    running, first_open, last = _periods(subscription, now)
    first = max(running, first_open) if wanted is None else wanted
    if first < first_open:
        detail = f"period {first} is invoiced; the first that is not is {first_open}"
        raise RedemptionRefused("/first_period", detail)
    if last is not None and first > last:
        raise RedemptionRefused("/first_period", f"the subscription ends with period {last}")
    return first


def _periods(subscription: Subscription, now: dt.datetime) -> tuple[int, int, int | None]:
    """The running period (the first before it begins, the last after it ends), the first that is not invoiced to its
    end, and the last (None: it goes on).

    Holds the schedule: until this is committed, nobody bills the subscription.
    """
    schedule = BillingSchedule.objects.select_for_update().filter(pk=subscription.pk).first()
    ends_at = subscription.ends_at
    try:
        last = None if ends_at is None else period_holding(subscription, ends_at - LAST_INSTANT).index
        instant = max(now, subscription.starts_at)
        running = period_holding(subscription, instant).index if ends_at is None or instant < ends_at else last
    except NotInForce as error:
        raise RedemptionRefused("/first_period", "the subscription was withdrawn before it began") from error
    assert running is not None
    return running, max(schedule.next_period, 0) if schedule else 0, last


def _end(coupon: Coupon, first_period: int) -> int | None:
    match coupon.duration:
        case Coupon.Duration.ONCE:
            return first_period + 1
        case Coupon.Duration.REPEATING:
            assert coupon.periods is not None
            return first_period + coupon.periods
    return None


def _write(redemption: Redemption, subscription: Subscription, now: dt.datetime) -> Redemption:
    redemption.subscription, redemption.customer, redemption.redeemed_at = subscription, subscription.customer, now
    try:
        with transaction.atomic():
            redemption.save(force_insert=True)
    except IntegrityError as error:
        raise AlreadyRedeemed(f"the subscription has redeemed the coupon {redemption.coupon} before") from error
    return redemption


def _count(coupon: Coupon, now: dt.datetime) -> None:
    """One more redemption, if the coupon has one left: whoever comes second waits here, and looks again."""
    left = Q(max_redemptions=None) | Q(redeemed__lt=F("max_redemptions"))
    in_time = Q(redeem_by=None) | Q(redeem_by__gt=now)
    free = Coupon.objects.filter(left, in_time, pk=coupon.pk, archived_at=None)
    counted = free.update(redeemed=F("redeemed") + 1)
    coupon.refresh_from_db()
    if counted:
        return
    if coupon.archived_at is not None:
        raise CouponArchived(f"the coupon {coupon} is archived")
    if coupon.redeem_by is not None and coupon.redeem_by <= now:
        raise CouponExpired(f"the coupon {coupon} could be redeemed until {coupon.redeem_by.isoformat()}")
    raise CouponUsedUp(f"the coupon {coupon} has been redeemed {coupon.redeemed} times, as often as it allows")
