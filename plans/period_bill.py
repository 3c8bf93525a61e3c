"""What does a period cost, all in all?

The one way to a bill: preview, quote, running usage, invoice, adjustment and the check of the books call `bill_period`.
Base fees come first, a segment at a time, then usage, discounts, and last what lifts the bill to the minimum or brings
it down to the maximum. Each charge is rounded once.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from plans.allowances import NOTHING_ROLLED, Layer, Layers
from plans.charges import Charge, PeriodBill, PeriodDiscount, Said, Segment
from plans.discounting import take_discounts
from plans.money import format_amount, format_price, to_minor
from plans.proration import Span, accrued, prorate
from plans.usage_charges import bill_usage

__all__ = [
    "NOTHING_ROLLED",
    "Charge",
    "InvalidSegments",
    "Layer",
    "Layers",
    "PeriodBill",
    "PeriodDiscount",
    "Said",
    "Segment",
    "bill_period",
]


class InvalidSegments(ValueError):
    """The segments of a period are out of order, overlap, or are in different currencies."""


def bill_period(
    segments: Sequence[Segment],
    whole: Span,
    *,
    discounts: Iterable[PeriodDiscount] = (),
    rolled: Layers = NOTHING_ROLLED,
    complete: bool = True,
) -> PeriodBill:
    """All charges of a period. `whole` is what the shares of its segments are shares of; they need not fill it.

    `rolled` is what the period before handed on. Without `complete` it is the view in advance, base fees and the
    discounts on them. Raises UnpricedTier, InvalidSegments, PartOutsidePeriod.
    """
    if not segments:
        return PeriodBill(charges=())
    currency = _currency(segments)
    fees = [fee for index, segment in enumerate(segments) if segment.owes and (fee := _base_fee(index, segment, whole))]
    if not complete:
        taken, _ = take_discounts(fees, discounts, currency)
        return PeriodBill(charges=(*fees, *taken))
    usage = bill_usage(segments, whole, rolled)
    owed = [*fees, *usage.charges]
    taken, left = take_discounts(owed, discounts, currency)
    net = [0] * len(segments)
    for charge, amount in zip(owed, left, strict=True):
        if charge.segment is not None:
            net[charge.segment] += amount
    limits = _limits(segments, whole, net)
    return PeriodBill(charges=(*owed, *taken, *limits), usage=usage.priced, rolled=usage.rolled)


def _currency(segments: Sequence[Segment]) -> str:
    if any(earlier.end > later.start for earlier, later in pairwise(segments)):
        raise InvalidSegments("segments must follow each other in order of time")
    currencies = {segment.terms.currency for segment in segments}
    if len(currencies) > 1:
        raise InvalidSegments(f"a period is billed in one currency, not in {' and '.join(sorted(currencies))}")
    return segments[0].terms.currency


def _base_fee(index: int, segment: Segment, whole: Span) -> Charge | None:
    """A segment's share of its base fee; None where that is nothing."""
    fee, currency = segment.terms.base_fee, segment.terms.currency
    amount = accrued(fee, currency, segment, whole)
    if not amount:
        return None
    full = (segment.start, segment.end) == (whole.start, whole.end)
    explanation, details = f"base fee {format_price(fee, currency)} {currency}", {}
    if not full:
        part, of = _seconds(segment), _seconds(whole)
        alone = amount == to_minor(prorate(fee, segment, whole), currency)
        explanation = (
            f"base fee {format_price(fee, currency)} x {part:,f} of {of:,f} seconds = "
            f"{format_amount(amount, currency)} {currency}{'' if alone else ', rounded with the parts before'}"
        )
        details = {"base_fee": format_price(fee, currency), "seconds": f"{part:f}", "of_seconds": f"{of:f}"}
    return Charge(
        kind="base_fee",
        segment=index,
        unit_amount=fee if full else None,
        amount=amount,
        reckoning=Said(explanation, details),
    )


def _seconds(span: Span) -> Decimal:
    length = span.end - span.start
    seconds = Decimal(length.days * 86_400 + length.seconds)
    return seconds + Decimal(length.microseconds).scaleb(-6).normalize() if length.microseconds else seconds


def _limits(segments: Sequence[Segment], whole: Span, net: Sequence[int]) -> list[Charge]:
    """What `net` (base fee and usage after discounts, by segment) lacks to the minimum or exceeds the maximum by.

    Each limit accrues, and looks at what is owed, in the segments whose terms have it.
    """
    currency = segments[0].terms.currency
    owing = [(index, segment) for index, segment in enumerate(segments) if segment.owes]
    minima = {index: accrued(least, currency, s, whole) for index, s in owing if (least := s.terms.minimum) is not None}
    maxima = {index: accrued(most, currency, s, whole) for index, s in owing if (most := s.terms.maximum) is not None}
    minimum, owed = sum(minima.values()), sum(net[index] for index in minima)
    lacking = max(0, minimum - owed)
    # Both round in parts, so the lesser may come out a cent above the greater; the minimum holds.
    maximum = max(sum(maxima.values()), sum(minima[index] for index in minima.keys() & maxima.keys()))
    capped = sum(net[index] for index in maxima) + (lacking if minima.keys() <= maxima.keys() else 0)
    excess = max(0, capped - maximum) if maxima else 0
    lifted = [_limit("minimum", minimum, owed, lacking, currency)] if lacking else []
    return [*lifted, _limit("maximum", maximum, capped, -excess, currency)] if excess else lifted


def _limit(kind: Literal["minimum", "maximum"], limit: int, owed: int, amount: int, currency: str) -> Charge:
    limit_in_words, owed_in_words = format_amount(limit, currency), format_amount(owed, currency)
    return Charge(
        kind=kind,
        amount=amount,
        reckoning=Said(
            f"{kind} {limit_in_words} - {owed_in_words} = {format_amount(amount, currency)} {currency}",
            {kind: limit_in_words, "owed": owed_in_words},
        ),
    )
