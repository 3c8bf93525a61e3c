"""How is an amount of money rounded, and how is it written?

Amounts are `Decimal` in major units (12.50 dollars) until the invoice line and whole minor units (1250 cents)
from there on; `to_minor` is the one door between the two and rounds half away from zero. Never a float.

The table below is Stripe's view of currencies, because Stripe collects. It differs from ISO 4217 in the
króna and the Ugandan shilling, which Stripe counts in hundredths although only whole ones can be charged, and
in the three-decimal currencies, of which only hundredths can be charged.
"""

from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    localcontext,
)
from fractions import Fraction
from functools import cache
from typing import Final

EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation, Inexact])
"""Sums and products of money, without Python's default of 28 digits: a result that does not fit is an error.
Use it as `with localcontext(EXACT):`, which copies it; it cannot divide."""

_ROUNDING: Final = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_HALF_UP, traps=[InvalidOperation]
)

_DIGITS_TO_SPARE: Final = 60
"""Digits kept beyond the amount's own when a share of it is taken. A share is a ratio of microseconds, of amounts or
of percents: where it is not exactly half a cent, it misses the half by far more than the last of these digits."""

_ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
_HUNDREDTHS_CHARGED_WHOLE = "ISK UGX"
_TWO_DECIMAL = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF
    CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
    INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD
    NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD
    SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD XCG YER ZAR ZMW
"""
_THREE_DECIMAL_CHARGED_BY_TEN = "BHD JOD KWD OMR TND"

_DIGITS: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), (0, 0)),
    **dict.fromkeys(_HUNDREDTHS_CHARGED_WHOLE.split(), (2, 0)),
    **dict.fromkeys(_TWO_DECIMAL.split(), (2, 2)),
    **dict.fromkeys(_THREE_DECIMAL_CHARGED_BY_TEN.split(), (3, 2)),
}
"""Currency -> (digits of its minor unit, digits that can be charged)."""


class UnknownCurrency(ValueError):
    """Not an upper-case ISO 4217 code of a currency that can be charged."""


def minor_digits(currency: str) -> int:
    """How many decimals the currency's minor unit has: USD 2, JPY 0, KWD 3; or UnknownCurrency."""
    return _digits(currency)[0]


def chargeable_digits(currency: str) -> int:
    """How many decimals an amount to pay may have: mostly `minor_digits`; 0 for ISK and UGX, 2 for KWD."""
    return _digits(currency)[1]


def smallest_charge(currency: str) -> int:
    """The smallest amount that can be paid, in minor units: mostly 1; 100 for ISK and UGX, 10 for KWD."""
    minor, chargeable = _digits(currency)
    return int(10 ** (minor - chargeable))


def round_half_away(amount: Decimal, digits: int) -> Decimal:
    """The one rounding of money: to `digits` decimals, a half goes away from zero. Any size; finite only."""
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount of money")
    rounded = amount.quantize(_unit(digits), context=_ROUNDING)
    return rounded.copy_abs() if rounded.is_zero() else rounded


@cache
def _unit(digits: int) -> Decimal:
    return Decimal((0, (1,), -digits))


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units rounded to the nearest amount that can be charged, in minor units: 12.505 USD -> 1251."""
    minor, chargeable = _digits(currency)
    return int(round_half_away(amount, chargeable).scaleb(minor, context=_ROUNDING))


def to_major(minor: int, currency: str) -> Decimal:
    """Minor units as an exact amount in major units: 1250 USD -> 12.50."""
    return Decimal(minor).scaleb(-minor_digits(currency), context=_ROUNDING)


def take_share(amount: Decimal, share: Fraction) -> Decimal:
    """`amount` x `share`, for the caller to round.

    Exact where the product has a finite decimal, elsewhere so near that it rounds as the exact product would.
    """
    digits = max(len(amount.as_tuple().digits), amount.adjusted() + 1)
    with localcontext(Context(prec=digits + _DIGITS_TO_SPARE)):
        return amount * share.numerator / share.denominator


def format_amount(minor: int, currency: str) -> str:
    """Minor units as the API writes amounts: "12.50" for 1250 USD, "1250" for 1250 JPY; no grouping."""
    return format(to_major(minor, currency), "f")


def format_price(amount: Decimal, currency: str) -> str:
    """An exact amount in major units, with the currency's decimals at least: "0.02", "5.00", "0.0125"."""
    whole, _, decimals = format(amount, "f").partition(".")
    decimals = decimals.rstrip("0").ljust(minor_digits(currency), "0")
    return f"{whole}.{decimals}" if decimals else whole


def _digits(currency: str) -> tuple[int, int]:
    try:
        return _DIGITS[currency]
    except KeyError:
        raise UnknownCurrency(
            f"{currency!r} is not the upper-case ISO 4217 code of a currency that can be charged"
        ) from None
