"""Which discounts were promised? Coupons, and the subscriptions that redeemed them with what that has taken off."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import Coupon, InvoiceLine, InvoiceStatus, Redemption
from console.amounts import money, percentage
from console.filters import by_state
from console.links import link, row_link, rows_url
from console.read_only import ReadOnlyAdmin


def coupon_states(now: dt.datetime) -> dict[str, Q]:
    """Whether somebody can still redeem a coupon, and if not, why."""
    open_, used_up, over = Q(archived_at=None), Q(redeemed__gte=F("max_redemptions")), Q(redeem_by__lte=now)
    left = Q(max_redemptions=None) | Q(redeemed__lt=F("max_redemptions"))
    return {
        "redeemable": open_ & left & (Q(redeem_by=None) | Q(redeem_by__gt=now)),
        "used up": open_ & used_up,
        "too late": open_ & over,
        "archived": Q(archived_at__isnull=False),
    }


def takes_off(coupon: Coupon) -> str:
    """What a coupon takes off each period: "10 % of usage", "5.00 USD of everything"."""
    scopes = {Coupon.Scope.ALL: "everything", Coupon.Scope.BASE_FEE: "the base fee", Coupon.Scope.USAGE: "usage"}
    if coupon.percent_off is not None:
        much = percentage(coupon.percent_off)
    else:
        assert coupon.amount_off is not None
        much = money(coupon.amount_off, coupon.currency)
    of_tiers = f" ({', '.join(coupon.tiers)})" if coupon.tiers else ""
    return f"{much} of {scopes[Coupon.Scope(coupon.applies_to)]}{of_tiers}"


def lasts(coupon: Coupon) -> str:
    """For how many periods: "one period", "3 periods", "forever"."""
    if coupon.periods is not None:
        return f"{coupon.periods} period{'' if coupon.periods == 1 else 's'}"
    return "one period" if coupon.duration == Coupon.Duration.ONCE else "forever"


def with_taken_off(redemptions: QuerySet[Redemption]) -> QuerySet[Redemption]:
    """Redemptions with what `taken_off` needs."""
    lines = InvoiceLine.objects.filter(redemption=OuterRef("pk")).exclude(invoice__status=InvoiceStatus.VOID)
    sums = lines.order_by().values("redemption").annotate(sum=Sum("amount")).values("sum")
    return redemptions.select_related("coupon", "customer").annotate(taken=Subquery(sums))


def taken_off(redemption: Redemption) -> str:
    """What the discount lines of invoices that are not void come to, linked to them."""
    taken: int | None = redemption.taken  # type: ignore[attr-defined]
    if taken is None:
        return "nothing yet"
    amount = money(-taken, redemption.customer.currency)
    return link(rows_url(InvoiceLine, redemption__id__exact=redemption.pk), amount)


class CouponAdmin(ReadOnlyAdmin):
    list_display = ("code", "name", "reduction", "length", "uses", "redeem_by", "archived_at")
    list_filter = (by_state(coupon_states), "applies_to", "duration")
    search_fields = ("code", "name")
    ordering = ("-id",)
    fields = (
        "code",
        "name",
        "reduction",
        "length",
        "uses",
        "redeem_by",
        "created_at",
        "archived_at",
        "redemptions",
    )

    @admin.display(description="Takes off a period")
    def reduction(self, coupon: Coupon) -> str:
        return takes_off(coupon)

    @admin.display(description="For", ordering="duration")
    def length(self, coupon: Coupon) -> str:
        return lasts(coupon)

    @admin.display(description="Redeemed", ordering="redeemed")
    def uses(self, coupon: Coupon) -> str:
        most = "" if coupon.max_redemptions is None else f" of {coupon.max_redemptions:,}"
        return f"{coupon.redeemed:,}{most}"

    @admin.display(description="Who has it")
    def redemptions(self, coupon: Coupon) -> SafeString:
        return link(rows_url(Redemption, coupon__id__exact=coupon.pk), "discounts of subscriptions")


class RedemptionAdmin(ReadOnlyAdmin):
    list_display = ("coupon", "customer", "reduction", "periods", "discounted", "redeemed_at")
    list_filter = (("end_period", admin.EmptyFieldListFilter), "coupon__applies_to", "coupon__duration")
    search_fields = ("coupon__code__exact", "customer__key__exact")
    ordering = ("-id",)
    fields = ("coupon_page", "reduction", "customer", "subscription_page", "periods", "discounted", "redeemed_at")

    def get_queryset(self, request: HttpRequest) -> Any:
        return with_taken_off(super().get_queryset(request)).select_related("subscription__customer")

    @admin.display(description="Coupon")
    def coupon_page(self, redemption: Redemption) -> str:
        return row_link(redemption.coupon)

    @admin.display(description="Takes off a period")
    def reduction(self, redemption: Redemption) -> str:
        return takes_off(redemption.coupon)

    @admin.display(description="Subscription")
    def subscription_page(self, redemption: Redemption) -> str:
        return row_link(redemption.subscription)

    @admin.display(description="Periods", ordering="first_period")
    def periods(self, redemption: Redemption) -> str:
        return periods_in_words(redemption)

    @admin.display(description="Taken off so far")
    def discounted(self, redemption: Redemption) -> str:
        return taken_off(redemption)


def periods_in_words(redemption: Redemption) -> str:
    """The indexes of the periods that are discounted, the last one included: "2 to 4"."""
    first, end = redemption.first_period, redemption.end_period
    if end is None:
        return f"{first} and all that follow"
    if end == first:
        return "none: ended before it began"
    return f"{first}" if end == first + 1 else f"{first} to {end - 1}"


def register(site: AdminSite) -> None:
    """Put these tables on the desk."""
    site.register(Coupon, CouponAdmin)
    site.register(Redemption, RedemptionAdmin)
