"""Which tax is due where? The seller's own rates; the newest of a country that has begun is in force."""

import datetime as dt

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q

from billing.models import TaxRate
from console.amounts import percentage
from console.filters import by_state
from console.read_only import ReadOnlyAdmin


def states(now: dt.datetime) -> dict[str, Q]:
    """Begun or to come."""
    return {"begun": Q(starts_at__lte=now), "to come": Q(starts_at__gt=now)}


class TaxRateAdmin(ReadOnlyAdmin):
    list_display = ("where", "name", "rate", "inclusive", "starts_at", "created_at")
    list_filter = (by_state(states), "inclusive")
    search_fields = ("country__exact", "name")
    ordering = ("country", "-starts_at")
    fields = ("where", "name", "rate", "inclusive", "starts_at", "created_at")

    @admin.display(description="Country", ordering="country")
    def where(self, rate: TaxRate) -> str:
        return rate.country or "all others"

    @admin.display(description="Percent", ordering="percent")
    def rate(self, rate: TaxRate) -> str:
        return percentage(rate.percent)


def register(site: AdminSite) -> None:
    """Put this table on the desk."""
    site.register(TaxRate, TaxRateAdmin)
