"""How a field case becomes a bill of ours: terms with the case's price and fee, one period, and `bill_period`."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from plans.calendar import Period
from plans.money import to_major
from plans.period_bill import PeriodBill, PeriodDiscount, Segment, bill_period
from plans.terms import Flat, Graduated, Price, Step, Terms, TierRate, Volume

MONTH = Period(0, dt.datetime(2026, 6, 1, tzinfo=dt.UTC), dt.datetime(2026, 7, 1, tzinfo=dt.UTC))


def agreed(*prices: Price, currency: str = "USD", base_fee: str = "0", included: int = 0, **more: Any) -> Terms:
    """Terms with these prices, of the tiers "0", "1" and so on."""
    rates = {str(number): TierRate(included=included, price=price) for number, price in enumerate(prices)}
    return Terms(currency=currency, interval="month", base_fee=Decimal(base_fee), rates=rates, **more)


def fee(amount: str) -> Terms:
    """Terms with nothing but a base fee, of any number of decimals."""
    return agreed(base_fee=amount)


def priced(*amounts: str) -> list[Flat]:
    """A price for each: conversations that cost so much."""
    return [Flat(unit=Decimal(amount)) for amount in amounts]


def steps_of(tiers: list[dict[str, Any]]) -> tuple[Step, ...]:
    return tuple(
        Step(
            up_to=None if tier["up_to"] is None else int(tier["up_to"]),
            unit=Decimal(tier["unit_amount"]),
            flat=Decimal(tier["flat_amount"]),
        )
        for tier in tiers
    )


def graduated(inputs: dict[str, Any]) -> Graduated:
    return Graduated(steps=steps_of(inputs["tiers"]))


def volume(inputs: dict[str, Any]) -> Volume:
    return Volume(steps=steps_of(inputs["tiers"]))


def bill(terms: Terms, *quantities: int, discounts: Sequence[PeriodDiscount] = (), complete: bool = True) -> PeriodBill:
    """A whole month with so many conversations in the tiers, in their order."""
    counts = {str(number): quantity for number, quantity in enumerate(quantities)}
    segment = Segment(start=MONTH.start, end=MONTH.end, terms=terms, counts=counts)
    return bill_period([segment], MONTH, discounts=discounts, complete=complete)


def amount_of(found: PeriodBill, *kinds: str) -> Decimal:
    """What charges of these kinds come to, in major units of a currency with cents; all of them, if none is named."""
    return to_major(sum(charge.amount for charge in found.charges if charge.kind in kinds or not kinds), "USD")
