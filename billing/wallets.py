"""What does a customer have in its wallet, and which of it pays an invoice?

A grant may pay for a period in which it was valid at any moment, also when that is invoiced after it has expired; and
for what is not billed by the period, if it was valid between the drafting and the finalizing. What is left of a grant
is the balance of its account; nothing here is counted twice or stored beside the ledger.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing import ledger
from billing.accounts import Accounts
from billing.models import (
    AccountKind,
    BillingSchedule,
    Grant,
    GrantKind,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Transfer,
)
from plans.burning import Purse, draw
from plans.models import Customer, Subscription
from plans.money import smallest_charge

BILLED_AT_ONCE = (InvoiceKind.START, InvoiceKind.CHANGE, InvoiceKind.ONE_OFF)
"""Invoices of a moment, not of a period that is over."""
FILLED = Q(account__credits__gt=F("account__debits"))
"""Grants that have something left."""


class Balance(NamedTuple):
    """A wallet in minor units: `usable` now; `lapsed` but still good for usage not invoiced yet; `pending` payment."""

    usable: int
    lapsed: int
    pending: int
    credit: int


def draws_for(
    invoice: Invoice, subtotal: int, gross: Callable[[int], int], now: dt.datetime
) -> list[tuple[Grant, int]]:
    """How much each grant gives towards a draft, in the order in which they burn; minor units.

    `gross` turns a subtotal into what is to be paid for it with tax. Locks the customer's accounts until the
    transaction ends, so that what is drawn is there when it is booked.
    """
    accounts = Accounts([(invoice.customer_id, invoice.currency)])
    return draw_on(accounts, grants_for([invoice], accounts, now=now)[invoice], subtotal, gross)


def grants_for(invoices: Sequence[Invoice], accounts: Accounts, *, now: dt.datetime) -> dict[Invoice, list[Grant]]:
    """By draft, the grants that may pay it and have something left; their accounts are read."""
    customers = {invoice.customer_id for invoice in invoices if invoice.kind != InvoiceKind.TOP_UP}
    grants: dict[uuid.UUID, list[Grant]] = defaultdict(list)
    for grant in _in_force().filter(FILLED, customer__in=customers):
        grants[grant.customer_id].append(grant)
    accounts.read_grants(grant for held in grants.values() for grant in held)
    return {
        invoice: [
            grant
            for grant in grants.get(invoice.customer_id, ())
            if invoice.kind != InvoiceKind.TOP_UP and may_pay(grant, invoice, now=now)
        ]
        for invoice in invoices
    }


def draw_on(
    accounts: Accounts, grants: Iterable[Grant], subtotal: int, gross: Callable[[int], int]
) -> list[tuple[Grant, int]]:
    """How much each of a customer's grants gives towards a subtotal; as `draws_for`."""
    by_id = {grant.pk: grant for grant in grants}
    purses = [_purse(grant, ledger.left_on(accounts, grant)) for grant in by_id.values()]
    unit = smallest_charge(next(iter(by_id.values())).currency) if by_id else 1
    return [(by_id[purse.id], amount) for purse, amount in draw(purses, subtotal, gross, unit=unit)]


def usable_for(invoice: Invoice, *, now: dt.datetime) -> QuerySet[Grant]:
    """The grants that may pay an invoice that is finalized `now`, if anything is left of them."""
    grants = in_force(invoice.customer)
    return grants.filter(pk__in=[grant.pk for grant in grants if may_pay(grant, invoice, now=now)])


def may_pay(grant: Grant, invoice: Invoice, *, now: dt.datetime) -> bool:
    """Whether a grant of the customer that is in force was valid when it had to be, to pay an invoice."""
    if invoice.kind in BILLED_AT_ONCE:
        begun, since = grant.effective_at <= now, _first_drafted(invoice)
    else:
        begun, since = grant.effective_at < invoice.period_end, invoice.period_start
    return begun and (grant.expires_at is None or grant.expires_at > since)


def _first_drafted(invoice: Invoice) -> dt.datetime:
    """What was issued anew may take the credit that was there when it was first billed."""
    while invoice.reissue_of is not None:
        invoice = invoice.reissue_of
    return invoice.created_at


def in_force(customer: Customer) -> QuerySet[Grant]:
    """The customer's grants that are paid for (or a present) and not void, expired ones among them."""
    return _in_force().filter(customer=customer)


def _in_force() -> QuerySet[Grant]:
    grants = Grant.objects.filter(currency=F("customer__currency"))
    return grants.filter(usable_at__isnull=False, voided_at=None)


def not_expired(at: dt.datetime) -> Q:
    """Those that expire later, or never."""
    return Q(expires_at=None) | Q(expires_at__gt=at)


def _purse(grant: Grant, left: int) -> Purse:
    return Purse(
        id=grant.pk,
        balance=left,
        priority=grant.priority,
        expires_at=grant.expires_at,
        promotional=grant.kind == GrantKind.PROMOTIONAL,
        created_at=grant.created_at,
    )


# What becomes of a top-up


def invoice_paid(invoice: Invoice, *, at: dt.datetime) -> None:
    """Where the invoice has sold a grant, that is usable from now on; once, however often it is said."""
    if invoice.kind != InvoiceKind.TOP_UP:
        return
    grant = Grant.objects.get(invoice=invoice)
    ledger.book(invoice, "top-up", debit=AccountKind.PENDING, credit=grant, amount=grant.amount, at=at)
    Grant.objects.filter(pk=grant.pk, usable_at=None).update(usable_at=at)


def invoice_voided(invoice: Invoice, *, at: dt.datetime) -> None:
    """Where the invoice was to sell a grant, that comes to nothing; the caller has mirrored the invoice's postings."""
    if invoice.kind == InvoiceKind.TOP_UP:
        Grant.objects.filter(invoice=invoice, voided_at=None).update(voided_at=at)


# What is there


def balance(customer: Customer, *, at: dt.datetime) -> Balance:
    """What the customer's wallet holds at an instant."""
    valid = in_force(customer).filter(not_expired(at), effective_at__lte=at)
    lapsed = in_force(customer).filter(needed_for_usage(), expires_at__lte=at)
    unpaid = Grant.objects.filter(customer=customer, usable_at=None, voided_at=None)
    pending = unpaid.filter(invoice__status=InvoiceStatus.FINALIZED).aggregate(sum=Sum("amount"))["sum"]
    return Balance(
        usable=_sum_left(valid),
        lapsed=_sum_left(lapsed),
        pending=pending or 0,
        credit=-ledger.balance(customer, customer.currency, AccountKind.CREDIT),
    )


def with_use(grants: QuerySet[Grant]) -> QuerySet[Grant]:
    """Grants with what `left` and `used` need."""
    taken = Transfer.objects.filter(debit__grant=OuterRef("pk"), invoice=None).order_by().values("debit")
    taken_back = Coalesce(Subquery(taken.annotate(sum=Sum("amount")).values("sum")), 0)
    return grants.select_related("account", "invoice").annotate(taken_back=taken_back)


def left(grant: Grant) -> int:
    """What can still be taken from a grant, in minor units."""
    return grant.account.credits - grant.account.debits


def used(grant: Grant) -> int:
    """What invoices have taken from a grant (of `with_use`) and not given back, in minor units."""
    given = grant.amount if grant.usable_at is not None else 0
    taken_back: int = grant.taken_back  # type: ignore[attr-defined]
    return given - left(grant) - taken_back


def state(grant: Grant, *, now: dt.datetime) -> str:
    """Where a grant is in its life. One that has expired may have something left until its last period is invoiced."""
    if grant.voided_at is not None:
        return "void"
    if grant.usable_at is None:
        return "pending"
    if grant.expired_at is None and left(grant) == 0:
        return "used"
    if grant.expires_at is not None and grant.expires_at <= now:
        return "expired"
    return "scheduled" if grant.effective_at > now else "active"


def needed_for_usage() -> Exists:
    """Of grants: whether a subscription has a period that began before they expire and is not invoiced yet.

    Cycle invoices tile a subscription's life, so that what is not invoiced begins where the last one ends.
    """
    cycles = Invoice.objects.filter(subscription=OuterRef("pk"), kind=InvoiceKind.CYCLE).order_by()
    invoiced_to = cycles.values("subscription").annotate(last=Max("period_end")).values("last")
    billed_to_its_end = BillingSchedule.objects.filter(subscription=OuterRef("pk"), due_at=None)
    subscriptions = Subscription.objects.filter(~Exists(billed_to_its_end), customer=OuterRef("customer"))
    begun = subscriptions.annotate(since=Coalesce(Subquery(invoiced_to), F("starts_at")))
    return Exists(begun.exclude(ends_at=F("starts_at")).filter(since__lt=OuterRef("expires_at")))


def _sum_left(grants: QuerySet[Grant]) -> int:
    sides: dict[str, int | None] = grants.aggregate(credits=Sum("account__credits"), debits=Sum("account__debits"))
    return (sides["credits"] or 0) - (sides["debits"] or 0)
