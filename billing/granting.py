"""How does credit come into a wallet, and how is it taken out again unused?

Promotional credit is a present. Prepaid credit is sold with an invoice, and usable once that is paid; or it was paid
outside of Parley, and is usable at once. What is taken back of a present was never anybody's money; what is taken back
of prepaid credit is owed to the customer: as credit where an invoice brought it, outside where it came from there.
"""

import datetime as dt
from typing import Literal

from django.db import transaction

from billing import ledger
from billing.finalizing import finalize_invoice
from billing.models import AccountKind, Grant, GrantKind, Invoice, InvoiceKind, InvoiceLine, LineKind, Transfer
from plans.models import Customer
from plans.money import format_amount, smallest_charge, to_major

MOST = 10**12
"""Minor units."""

Paid = Literal["invoice", "outside"]


class InvalidGrant(ValueError):
    """The grant cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class GrantNotVoidable(Exception):
    """The grant is void already, or is to be paid with an invoice that can be voided."""


def give(
    customer: Customer,
    *,
    kind: GrantKind,
    name: str,
    amount: int,
    priority: int = 50,
    effective_at: dt.datetime | None = None,
    expires_at: dt.datetime | None = None,
    paid: Paid | None = None,
    automatic: bool = False,
    now: dt.datetime,
) -> Grant:
    """Put `amount` minor units of the customer's currency into its wallet; `paid` says how prepaid credit is paid.

    With an invoice, that is finalized at once. Raises InvalidGrant.
    """
    grant = Grant(
        customer=customer,
        kind=kind,
        name=name,
        currency=customer.currency,
        amount=amount,
        priority=priority,
        effective_at=effective_at or now,
        expires_at=expires_at,
        automatic=automatic,
        usable_at=None if paid == "invoice" else now,
        created_at=now,
    )
    _check(grant, paid, now)
    with transaction.atomic():
        grant.invoice = _draft_invoice(grant, now) if paid == "invoice" else None
        grant.save(force_insert=True)
        ledger.open_account(grant)
        if grant.invoice is not None:
            finalize_invoice(grant.invoice.pk, now=now)
            grant.refresh_from_db()
        else:
            _post(grant, now)
        return grant


def void_grant(grant: Grant, *, now: dt.datetime) -> Grant:
    """End a grant: what is left of it is taken back, and what voided invoices return to it will be. GrantNotVoidable.

    What has been used stays used.
    """
    with transaction.atomic():
        ledger.hold(grant.customer, grant.currency)  # before the grant is locked
        grant = Grant.objects.select_for_update(of=["self"]).select_related("customer", "invoice").get(pk=grant.pk)
        if grant.voided_at is not None:
            raise GrantNotVoidable("the grant is void already")
        if grant.usable_at is None:
            raise GrantNotVoidable(f"the grant is not paid yet: void its invoice {grant.invoice}")
        take_back(grant, "voided", to=source_of(grant), at=now)
        grant.voided_at = now
        grant.save(update_fields=["voided_at"])
        return grant


def take_back(grant: Grant, why: Literal["expired", "voided"], *, to: AccountKind, at: dt.datetime) -> int:
    """Move all that is left of a grant to another account, and return how much that was (minor units)."""
    with transaction.atomic():
        left = ledger.grant_balances(grant.customer, grant.currency, [grant])[grant.pk]
        if left:
            earlier = Transfer.objects.filter(key__startswith=f"grant:{grant.pk}:{why}:").count()
            _transfer(grant, f"{why}:{earlier + 1}", debit=grant, credit=to, amount=left, at=at)
        return left


def source_of(grant: Grant) -> AccountKind:
    """Where unused credit goes when it is taken back."""
    if grant.kind == GrantKind.PROMOTIONAL:
        return AccountKind.PROMOTION
    return AccountKind.BANK if grant.invoice_id is None else AccountKind.CREDIT


def _post(grant: Grant, now: dt.datetime) -> None:
    _transfer(grant, "given", debit=source_of(grant), credit=grant, amount=grant.amount, at=now)


def _transfer(
    grant: Grant, name: str, *, debit: ledger.Side, credit: ledger.Side, amount: int, at: dt.datetime
) -> None:
    ledger.transfer(
        key=f"grant:{grant.pk}:{name}",
        customer=grant.customer,
        currency=grant.currency,
        debit=debit,
        credit=credit,
        amount=amount,
        invoice=None,
        at=at,
    )


def _draft_invoice(grant: Grant, now: dt.datetime) -> Invoice:
    invoice = Invoice.objects.create(
        customer=grant.customer,
        kind=InvoiceKind.TOP_UP,
        currency=grant.currency,
        period_start=now,
        period_end=now,
        counted_at=now,
        subtotal=grant.amount,
        total=grant.amount,
        created_at=now,
    )
    InvoiceLine.objects.create(
        invoice=invoice,
        position=0,
        kind=LineKind.ONE_OFF,
        description=f"Prepaid credit: {grant.name}",
        quantity=1,
        unit_amount=to_major(grant.amount, grant.currency),
        amount=grant.amount,
        period_start=now,
        period_end=now,
    )
    return invoice


def _check(grant: Grant, paid: Paid | None, now: dt.datetime) -> None:
    if grant.kind == GrantKind.PROMOTIONAL and paid is not None:
        raise InvalidGrant("/paid", "promotional credit is not paid for")
    if grant.kind == GrantKind.PAID and paid is None:
        raise InvalidGrant("/paid", "prepaid credit is paid with an invoice, or outside")
    if not 0 < grant.amount <= MOST:
        raise InvalidGrant("/amount", f"more than nothing, and {format_amount(MOST, grant.currency)} at most")
    if grant.amount % smallest_charge(grant.currency):
        raise InvalidGrant("/amount", f"cannot be paid in {grant.currency}: it is too fine")
    if not 0 <= grant.priority <= 100:
        raise InvalidGrant("/priority", "0 to 100")
    if grant.expires_at is not None and grant.expires_at <= max(grant.effective_at, now):
        raise InvalidGrant("/expires_at", "must lie in the future, and after effective_at")
