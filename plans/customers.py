"""Who is a customer, and what may be changed about one?

The key and the currency are for good: events and invoices name them. Erasing takes away what says who a person is and
keeps what the books need.
"""

import datetime as dt
import unicodedata
from typing import Any

from django.db import IntegrityError, transaction

from api.asking import Question, ask, columns, instance
from plans.calendar import UnknownZone, time_zone
from plans.models import Customer, TaxExempt
from plans.money import UnknownCurrency, minor_digits

BY_KEY = Question(f"SELECT {columns(Customer, 'c')} FROM plans_customer c WHERE key = %(key)s AND erased_at IS NULL")


class CustomerExists(Exception):
    """Another customer has this key."""


class StillSubscribed(Exception):
    """The customer has a subscription that has not ended."""


class InvalidCustomer(ValueError):
    """A field of the customer cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


def create_customer(*, key: str, currency: str, now: dt.datetime, **fields: Any) -> Customer:
    """A new customer; `fields` as in plans.models.Customer. Raises CustomerExists, InvalidCustomer."""
    if key in (".", "..") or any(unicodedata.category(character) == "Cc" for character in key):
        raise InvalidCustomer("/key", "has no control characters and is neither . nor .., to stand in a URL")
    _check(currency=currency, **fields)
    try:
        with transaction.atomic():
            return Customer.objects.create(key=key, currency=currency, created_at=now, **fields)
    except IntegrityError as error:
        raise CustomerExists(f"a customer with the key {key!r} exists") from error


def find_customer(key: str) -> Customer:
    """The customer with this key. Raises Customer.DoesNotExist."""
    rows = ask(BY_KEY, {"key": key})
    if not rows:
        raise Customer.DoesNotExist(f"there is no customer {key!r}")
    return instance(Customer, rows[0])


def change_customer(customer: Customer, **fields: Any) -> Customer:
    """Change contact and tax data, time zone (of later subscriptions) or BYOK (of later events)."""
    _check(**fields)
    for name, value in fields.items():
        setattr(customer, name, value)
    customer.save(update_fields=list(fields))
    return customer


def erase_customer(customer: Customer, *, now: dt.datetime) -> None:
    """Remove personal data; invoices keep their amounts, and the key becomes free for somebody else.

    Raises StillSubscribed: who is erased cannot be billed any more.
    """
    if customer.subscriptions.exclude(ends_at__lte=now).exists():
        raise StillSubscribed(f"{customer.key} has a subscription that has not ended; cancel it first")
    customer.key = f"erased:{customer.id}"
    customer.name = customer.email = customer.tax_id = ""
    customer.erased_at = now
    customer.save(update_fields=["key", "name", "email", "tax_id", "erased_at"])


def _check(**fields: Any) -> None:
    try:
        if "currency" in fields:
            minor_digits(fields["currency"])
    except UnknownCurrency as error:
        raise InvalidCustomer("/currency", str(error)) from error
    try:
        if "timezone" in fields:
            time_zone(fields["timezone"])
    except UnknownZone as error:
        raise InvalidCustomer("/timezone", str(error)) from error
    if fields.get("tax_exempt", TaxExempt.NONE) not in TaxExempt.values:
        raise InvalidCustomer("/tax_exempt", f"one of {', '.join(TaxExempt.values)}")
