"""What is in the wallets? Every grant of credit with what is left of it, and the rules that buy more."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import topping_up, wallets
from billing.models import Account, AccountKind, Grant, GrantKind, TopUpRule, Transfer
from console.amounts import money
from console.filters import by_state
from console.links import link, row_link, rows_url
from console.read_only import ReadOnlyAdmin
from console.tables import table
from plans.burning import burn_order
from plans.models import Customer

SHORT_KINDS = {GrantKind.PAID: "prepaid", GrantKind.PROMOTIONAL: "promotional"}


def grant_states(now: dt.datetime) -> dict[str, Q]:
    """`wallets.state`, for the database."""
    usable = Q(voided_at=None, usable_at__isnull=False)
    in_use = usable & (Q(expired_at__isnull=False) | wallets.FILLED)
    lasting = in_use & wallets.not_expired(now)
    return {
        "active": lasting & Q(effective_at__lte=now),
        "scheduled": lasting & Q(effective_at__gt=now),
        "pending": Q(voided_at=None, usable_at=None),
        "used": usable & Q(expired_at=None) & ~wallets.FILLED,
        "expired": in_use & Q(expires_at__lte=now),
        "void": Q(voided_at__isnull=False),
    }
