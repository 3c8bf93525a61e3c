"""Which tax is due on an invoice?

None, a percentage of the seller's own by the customer's country, or what Stripe Tax says (settings.TAX). It is worked
out once, on all that the lines come to after promotional credit. A customer that is exempt pays none, nor does one that
accounts for the tax itself.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from billing.models import Invoice, InvoiceKind, TaxRate
from plans.models import Customer, TaxExempt
from plans.taxing import Tax, gross_of, tax_on

NO_TAX = Tax("", Decimal(0))
REVERSE_CHARGE = Tax("Reverse charge", Decimal(0))


class TaxRateExists(Exception):
    """The country has another rate from this instant on; rates are never changed, later ones take over."""


class InvalidTaxRate(ValueError):
    """The rate cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class Taxing(NamedTuple):
    """How an invoice is taxed, in minor units.

    `gross` turns a subtotal into what is to be paid for it. `apply` writes the tax on a subtotal down on the invoice,
    and says whether it is known: if not, Stripe is to be asked first.
    """

    gross: Callable[[int], int]
    apply: Callable[[int], bool]


Rates = dict[str, TaxRate]
"""The rate in force by country; that of "" is for all others."""


def rates_in_force(now: dt.datetime) -> Rates:
    """The seller's own rates: the newest of each country that has begun; none where others see to the tax."""
    if settings.TAX != "fixed":
        return {}
    return {rate.country: rate for rate in TaxRate.objects.filter(starts_at__lte=now).order_by("starts_at")}


def taxing_of(invoice: Invoice, rates: Rates) -> Taxing:
    """How a draft would be taxed if it were finalized now. A top-up is not taxed: what it pays for will be."""
    if settings.TAX == "stripe" and invoice.kind != InvoiceKind.TOP_UP:
        return Taxing(partial(_gross_at_stripe, invoice), partial(_apply_stripes, invoice))
    tax = NO_TAX if invoice.kind == InvoiceKind.TOP_UP else tax_of(invoice.customer, rates)
    return Taxing(lambda subtotal: gross_of(tax, subtotal, invoice.currency), partial(_apply, invoice, tax))


def tax_of(customer: Customer, rates: Rates) -> Tax:
    """The seller's own tax for a customer: by the rate for its country, else by that for all countries."""
    if settings.TAX != "fixed" or customer.tax_exempt == TaxExempt.EXEMPT:
        return NO_TAX
    if customer.tax_exempt == TaxExempt.REVERSE:
        return REVERSE_CHARGE
    rate = rates.get(customer.country) or rates.get("")
    return NO_TAX if rate is None else Tax(rate.name, rate.percent, rate.inclusive)


def add_tax_rate(
    *, country: str, name: str, percent: Decimal, inclusive: bool, starts_at: dt.datetime, now: dt.datetime
) -> TaxRate:
    """A rate from `starts_at` on, until a later one for the country. Raises InvalidTaxRate, TaxRateExists."""
    try:
        Tax(name, percent, inclusive)
    except ValueError as error:
        raise InvalidTaxRate("/percent", str(error)) from error
    try:
        with transaction.atomic():
            return TaxRate.objects.create(
                country=country, name=name, percent=percent, inclusive=inclusive, starts_at=starts_at, created_at=now
            )
    except IntegrityError as error:
        raise TaxRateExists(f"{country or 'everywhere else'} has a rate from {starts_at.isoformat()} on") from error


def _apply(invoice: Invoice, tax: Tax, subtotal: int) -> bool:
    taxed = tax != NO_TAX
    invoice.tax = tax_on(tax, subtotal, invoice.currency)
    invoice.tax_name, invoice.tax_percent = tax.name, tax.percent if taxed else None
    invoice.tax_inclusive, invoice.tax_reference = tax.inclusive, ""
    return True


def _apply_stripes(invoice: Invoice, subtotal: int) -> bool:
    """What Stripe found is on the draft already, if it was asked about this subtotal; nothing needs no asking."""
    if subtotal == 0:
        return _apply(invoice, NO_TAX, subtotal)
    return subtotal == asked_about(invoice)


def asked_about(invoice: Invoice) -> int | None:
    """The subtotal whose tax by Stripe is on the draft, in minor units; None: there is none."""
    return invoice.total - (invoice.tax or 0) if invoice.tax_reference else None


def _gross_at_stripe(invoice: Invoice, subtotal: int) -> int:
    """Stripe has said what one subtotal costs with tax. More is reckoned in proportion, which is near enough to see
    how much is still to be paid; less is as good as nothing, so that credit does not lead away from what is known.
    """
    asked = asked_about(invoice)
    if asked is None or invoice.tax is None:
        return subtotal
    return 0 if subtotal < asked else subtotal + in_proportion(invoice.tax, asked, subtotal)


def in_proportion(tax: int, known: int, subtotal: int) -> int:
    """The tax on a subtotal, by that on another one; minor units. It never falls as the subtotal grows."""
    return (2 * tax * subtotal + known) // (2 * known)
