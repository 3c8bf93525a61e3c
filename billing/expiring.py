"""Which credit is not to be used any more? What is left of expired and of void grants is taken out of the wallets.

A grant does not expire before the invoice that it should still pay: only once all periods that began while it was
valid are invoiced, and no draft from before waits. What a voided invoice gives back to such a grant goes the same way.
"""

import datetime as dt
import logging

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing import ledger
from billing.granting import source_of, take_back
from billing.models import AccountKind, Grant, GrantKind, Invoice, InvoiceStatus
from billing.wallets import FILLED, needed_for_usage

log = logging.getLogger(__name__)


def expire_grants(*, as_of: dt.datetime, now: dt.datetime) -> int:
    """Take back what is left of grants that are over at `as_of`; returns of how many."""
    taken = 0
    for grant in list(over(as_of)):
        try:
            taken += _expire(grant, as_of=as_of, now=now)
        except Exception:
            log.exception("expiring grant %s failed", grant.pk)
    return taken


def over(as_of: dt.datetime) -> QuerySet[Grant]:
    """Grants with something left that nothing may use any more at `as_of`."""
    drafts = Invoice.objects.filter(customer=OuterRef("customer"), status=InvoiceStatus.DRAFT)
    from_before = Q(period_start__lt=OuterRef("expires_at")) | Q(created_at__lt=OuterRef("expires_at"))
    from_before |= Q(reissue_of__created_at__lt=OuterRef("expires_at"))
    expired = Q(~needed_for_usage(), ~Exists(drafts.filter(from_before)), expires_at__lte=as_of)
    found = Grant.objects.filter(FILLED, Q(voided_at__isnull=False) | expired)
    return found.select_related("customer", "invoice").order_by("pk")


def _expire(listed: Grant, *, as_of: dt.datetime, now: dt.datetime) -> bool:
    with transaction.atomic():
        ledger.hold(listed.customer, listed.currency)
        grant = over(as_of).filter(pk=listed.pk).first()
        if grant is None:
            return False  # somebody has used it, or was faster
        if grant.voided_at is not None:
            take_back(grant, "voided", to=source_of(grant), at=now)
        else:
            Grant.objects.filter(pk=grant.pk).update(expired_at=now)
            take_back(grant, "expired", to=_kept_by(grant), at=now)
        return True


def _kept_by(grant: Grant) -> AccountKind:
    """Who keeps what has expired. Credit that was paid for when it had expired could never be used: it is owed back."""
    if grant.kind == GrantKind.PROMOTIONAL:
        return AccountKind.PROMOTION
    assert grant.usable_at is not None and grant.expires_at is not None
    return source_of(grant) if grant.usable_at >= grant.expires_at else AccountKind.BREAKAGE
