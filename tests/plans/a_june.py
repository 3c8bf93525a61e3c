"""A month to be billed: its terms, its segments, discounts on it, and what is on its bill."""

import datetime as dt
from decimal import Decimal
from typing import Any

from plans.calendar import Period
from plans.period_bill import Charge, PeriodBill, PeriodDiscount, Segment
from plans.terms import Terms
from plans.terms_reading import parse_terms


def june(day: int) -> dt.datetime:
    return dt.datetime(2026, 6, day, tzinfo=dt.UTC)


JUNE = Period(0, june(1), dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
MIDDLE = june(16)


def flat(unit: str, included: int = 0, **more: Any) -> dict[str, Any]:
    return {"included": included, "price": {"model": "flat", "unit": unit}, **more}


def agreed(base_fee: str = "0.00", currency: str = "USD", **more: Any) -> Terms:
    return parse_terms({"currency": currency, "interval": "month", "base_fee": base_fee, **more})


GROWTH = agreed("49.00", rates={"simple": flat("0.02", 1000), "standard": flat("0.05", 200)})
SCALE = agreed("199.00", rates={"simple": flat("0.01", 5000), "standard": flat("0.04", 1000)})


def whole(terms: Terms, counts: dict[str, int] | None = None, **more: Any) -> list[Segment]:
    return [Segment(start=JUNE.start, end=JUNE.end, terms=terms, counts=counts or {}, **more)]


def halves(first: dict[str, Any], second: dict[str, Any]) -> list[Segment]:
    return [Segment(start=JUNE.start, end=MIDDLE, **first), Segment(start=MIDDLE, end=JUNE.end, **second)]


def lines(bill: PeriodBill) -> list[tuple[str, int | None, str, int]]:
    return [(charge.kind, charge.segment, charge.meter, charge.amount) for charge in bill.charges]


def the(kind: str, bill: PeriodBill) -> Charge:
    (charge,) = [charge for charge in bill.charges if charge.kind == kind]
    return charge


def percent(number: str, on: Any = "all", **more: Any) -> PeriodDiscount:
    return PeriodDiscount(id=f"{on}{number}", name="Loyal", percent=Decimal(number), on=on, **more)


def fixed(amount: int, on: Any = "all", **more: Any) -> PeriodDiscount:
    return PeriodDiscount(id=f"{on}{amount}", name="Welcome", amount=amount, on=on, **more)
