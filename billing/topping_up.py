"""When does a customer buy prepaid credit by itself? A rule watches what is available, and fills it up.

Available is what its grants and our credit can still pay, less the usage that is not invoiced yet. When that falls
below `below`, the rule buys what is missing to `up_to`; one purchase at a time, and none within `cool_off` of the one
before, so that a card that fails is not tried again at once.
"""

import datetime as dt
import logging
import uuid

from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing import ledger, wallets
from billing.granting import MOST, give
from billing.models import Grant, GrantKind, Invoice, InvoiceStatus, TopUpRule
from billing.running import unbilled
from metering.catching_up import catch_up
from plans.models import Customer
from plans.money import smallest_charge

log = logging.getLogger(__name__)

NAME = "Automatic top-up"
LEAST_COOL_OFF = dt.timedelta(minutes=1)
LONGEST_COOL_OFF = dt.timedelta(days=366)


class InvalidRule(ValueError):
    """The rule cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


def set_rule(customer: Customer, *, below: int, up_to: int, cool_off: dt.timedelta, now: dt.datetime) -> TopUpRule:
    """The customer's rule from now on (minor units); when it last bought is remembered. Raises InvalidRule."""
    unit = smallest_charge(customer.currency)
    for name, amount in (("below", below), ("up_to", up_to)):
        if not 0 < amount <= MOST or amount % unit:
            raise InvalidRule(f"/{name}", f"must be payable in {customer.currency}: more than nothing, not too fine")
    if up_to <= below:
        raise InvalidRule("/up_to", "must be more than below")
    if not LEAST_COOL_OFF <= cool_off <= LONGEST_COOL_OFF:
        raise InvalidRule("/cool_off", "from one minute to 366 days")
    agreed = {"below": below, "up_to": up_to, "cool_off": cool_off}
    rule, _ = TopUpRule.objects.update_or_create(
        customer=customer, defaults=agreed, create_defaults={**agreed, "created_at": now}
    )
    return rule


def remove_rule(customer: Customer) -> bool:
    """Buy nothing by itself any more; whether there was a rule. What is bought already stays to be paid."""
    deleted, _ = TopUpRule.objects.filter(customer=customer).delete()
    return deleted > 0


def available(customer: Customer, *, at: dt.datetime) -> int:
    """What the customer can still use, in minor units; below zero where usage has outrun it.

    What has lapsed pays for usage not invoiced yet and for nothing else.
    """
    held = wallets.balance(customer, at=at)
    return held.usable + held.credit - max(unbilled(customer, now=at) - held.lapsed, 0)


def top_up_due(*, as_of: dt.datetime, now: dt.datetime) -> list[Invoice]:
    """Buy for every customer whose rule says so, as things are at `as_of`; the invoices."""
    bought = []
    for customer_id in list(_rested(now).values_list("pk", flat=True)):
        try:
            catch_up([customer_id], now=now)  # here, because in there the ledger's accounts are locked already
            invoice = _top_up(customer_id, as_of=as_of, now=now)
        except Exception:
            log.exception("topping up customer %s failed", customer_id)
        else:
            bought += [invoice] if invoice is not None else []
    return bought


def open_purchase(customer: Customer) -> Invoice | None:
    """The invoice of the rule's purchase that is not paid yet."""
    bought = Grant.objects.filter(customer=customer, automatic=True, invoice__status=InvoiceStatus.FINALIZED)
    grant = bought.select_related("invoice").first()
    return grant.invoice if grant is not None else None


def _rested(now: dt.datetime) -> QuerySet[TopUpRule]:
    """The rules whose cool-off is over."""
    rested = Q(last_tried_at=None) | Q(last_tried_at__lte=now - F("cool_off"))
    return TopUpRule.objects.filter(rested, customer__erased_at=None).order_by("pk")


def _top_up(customer_id: uuid.UUID, *, as_of: dt.datetime, now: dt.datetime) -> Invoice | None:
    """The invoice of one customer's purchase; None where none is due, or somebody else is at it."""
    with transaction.atomic():
        locked = _rested(now).select_for_update(of=["self"], skip_locked=True).select_related("customer")
        rule = locked.filter(pk=customer_id).first()
        if rule is None or open_purchase(rule.customer) is not None or _has_left(rule.customer, as_of):
            return None
        # Locks the accounts: nothing is invoiced between the look at the credit and that at the usage.
        credit = ledger.credit_balance(rule.customer, rule.customer.currency)
        there = available(rule.customer, at=as_of)
        if there >= rule.below:
            return None
        rule.last_tried_at = now
        rule.save(update_fields=["last_tried_at"])
        # What we owe the customer counts as available, and is the first to pay for what is bought.
        grant = give(
            rule.customer,
            kind=GrantKind.PAID,
            name=NAME,
            amount=_payable(rule.up_to - there + credit, rule.customer.currency),
            paid="invoice",
            automatic=True,
            now=now,
        )
        return grant.invoice


def _has_left(customer: Customer, at: dt.datetime) -> bool:
    """Whether the customer had subscriptions and none of them goes on; one that is to subscribe may prepay."""
    ends = list(customer.subscriptions.values_list("ends_at", flat=True))
    return bool(ends) and all(end is not None and end <= at for end in ends)


def _payable(amount: int, currency: str) -> int:
    """Rounded up to what can be paid."""
    unit = smallest_charge(currency)
    return -(-amount // unit) * unit
