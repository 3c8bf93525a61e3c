"""What does the usage of a period come to, segment by segment?

Each meter has one account for the period: its allowance and what was committed to are used in order of time, a later
unit is priced at its position in the period, and what has come together is rounded as a whole, the difference to the
line before being the line. So a period that is cut without a change of terms costs the same to the cent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from plans.allowances import Layer, Layers, carry, committed_to, granted
from plans.charges import Charge, Said, Segment
from plans.money import EXACT, format_price, to_minor
from plans.price_steps import Own
from plans.pricing import PricedTier, metered, price_free, price_tier, rounding_in_words, units_in_words
from plans.proration import Span, share_of
from plans.terms import PEAK, POOL, Flat, Price, Rate, meters


class UsageBill(NamedTuple):
    """Charges in the order of segments and meters; every meter of every segment, priced; what is left over."""

    charges: list[Charge]
    priced: tuple[tuple[PricedTier, ...], ...]
    rolled: Layers


def bill_usage(segments: Sequence[Segment], whole: Span, rolled: Layers) -> UsageBill:
    """The usage of a period whose segments are in order of time. Raises UnpricedTier."""
    accounts = _open_accounts(segments, whole, rolled)
    charges: list[list[Charge]] = []
    priced: list[tuple[PricedTier, ...]] = []
    for index, segment in enumerate(segments):
        used = metered(segment.terms, segment.counts)
        lines = [
            price_free(meter, used[meter]) if segment.free else accounts[meter].price(rate, used[meter])
            for meter, rate in meters(segment.terms).items()
        ]
        priced.append(tuple(lines))
        charges.append([_usage_charge(index, segment, line, accounts[line.tier]) for line in lines if line.quantity])
    # Only now, because usage in a later pause or trial counts towards what was committed to as well.
    for account in accounts.values():
        for true_up in account.true_ups(segments[0].terms.currency):
            charges[true_up.segment or 0].append(true_up)
    return UsageBill(list(chain.from_iterable(charges)), tuple(priced), _left_over(segments, accounts))


class _Account:
    """One meter through a period: what is left of its allowance and commitments, what it was charged so far.

    Commitments of the same unit price are one, in whichever segments they were agreed.
    """

    def __init__(self, meter: str, layers: tuple[Layer, ...]) -> None:
        self.meter = meter
        self.layers = layers
        self.rolled_over = sum(layer.quantity for layer in layers)
        self.allowance = 0
        self.committed: dict[Decimal, int] = {}
        self.committed_left: dict[Decimal, int] = {}
        self.last_committed: dict[Decimal, int] = {}
        self.before = 0
        self.own: dict[Price, Own] = {}
        self.charged = Decimal(0)
        self.billed = 0

    def price(self, rate: Rate, quantity: int) -> PricedTier:
        """The next `quantity` units of the period."""
        unit = rate.committed.unit if rate.committed else None
        line = price_tier(
            self.meter,
            rate,
            quantity,
            allowance=self.rolled_over + self.allowance,
            rolled_over=self.rolled_over,
            before=self.before,
            own=self._own(rate.price),
            committed=0 if unit is None else self.committed_left[unit],
        )
        self.rolled_over -= line.rolled_over
        self.allowance -= line.included - line.rolled_over
        units = line.overage - line.committed
        self.before += units
        if units:
            self.own[rate.price] = Own(self.own.get(rate.price, Own(0, 0)).units + units, self.before)
        if unit is not None:
            self.committed_left[unit] -= line.committed
        return line

    def _own(self, price: Price) -> Own | None:
        """What this price has charged before; None where that is all there was, as when terms do not change."""
        own = self.own.get(price, Own(0, 0))
        return None if own.units == self.before else own

    def charge(self, amount: Decimal, currency: str) -> int:
        """What a further exact amount (major units) comes to in minor units, rounded together with those before."""
        with localcontext(EXACT):
            self.charged += amount
        before, self.billed = self.billed, to_minor(self.charged, currency)
        return self.billed - before

    def true_ups(self, currency: str) -> Iterator[Charge]:
        """What was committed to and not used, for the last segment in which it accrued."""
        for unit, missing in self.committed_left.items():
            due, price = self.committed[unit], format_price(unit, currency)
            if not missing or not unit:
                continue
            with localcontext(EXACT):
                exact = missing * unit
            amount = self.charge(exact, currency)
            yield Charge(
                kind="minimum",
                segment=self.last_committed[unit],
                meter=self.meter,
                quantity=missing,
                unit_amount=unit,
                amount=amount,
                reckoning=Said(
                    f"committed to {units_in_words(self.meter, due)}, {due - missing:,} used: {missing:,} x {price} = "
                    f"{rounding_in_words(exact, amount, currency)} {currency}",
                    {"committed": due, "used": due - missing, "unit": price},
                ),
            )


def _open_accounts(segments: Sequence[Segment], whole: Span, rolled: Layers) -> dict[str, _Account]:
    shares = [share_of(segment, whole) for segment in segments]
    rates = [meters(segment.terms) for segment in segments]
    accounts = {}
    for meter in dict.fromkeys(meter for of_segment in rates for meter in of_segment):
        account = accounts[meter] = _Account(meter, rolled.get(meter, ()))
        having = [
            (index, of_segment[meter], shares[index]) for index, of_segment in enumerate(rates) if meter in of_segment
        ]
        account.allowance = granted((share, rate.included) for index, rate, share in having if segments[index].grants)
        _commit(account, [(index, rate, share) for index, rate, share in having if not segments[index].free], segments)
    return accounts


def _commit(account: _Account, having: list[tuple[int, Rate, Fraction]], segments: Sequence[Segment]) -> None:
    parts: dict[Decimal, list[tuple[Fraction, int]]] = {}
    for index, rate, share in having:
        if rate.committed is not None:
            due = parts.setdefault(rate.committed.unit, [])
            if segments[index].owes:
                due.append((share, rate.committed.quantity))
                account.last_committed[rate.committed.unit] = index
    account.committed = {unit: committed_to(due) for unit, due in parts.items()}
    account.committed_left = dict(account.committed)


def _usage_charge(index: int, segment: Segment, line: PricedTier, account: _Account) -> Charge:
    """A meter's usage in a segment."""
    price = meters(segment.terms)[line.tier].price
    amount = account.charge(line.amount, segment.terms.currency)
    return Charge(
        kind="usage",
        segment=index,
        meter=line.tier,
        quantity=line.quantity,
        unit_amount=price.unit if isinstance(price, Flat) and not line.committed else None,
        amount=amount,
        reckoning=_UsageReckoning(segment, line, amount),
    )


@dataclass(frozen=True)
class _UsageReckoning:
    """How the usage of a meter came to an amount in minor units; of a pool, also which conversations took credits.

    Put into words only when asked: of a forecast, an entitlement or what is rolled over, nobody reads them, and there
    are more of these sentences than of all others. The segment's counts must stay as they are until then.
    """

    segment: Segment
    line: PricedTier
    amount: int

    @cached_property
    def explanation(self) -> str:
        """The sentence of the line; of a pool "40 simple x 1 + 20 complex x 5 = 140 credits; 140 credits: ..."."""
        own = self.line.explain(self.segment.terms.currency, self.amount)
        return f"{_credits_in_words(self._taken())}; {own}" if self.line.tier == POOL else own

    @property
    def details(self) -> dict[str, Any]:
        """The figures of the line; of a pool also what was `taken`."""
        taken = {"taken": self._taken()} if self.line.tier == POOL else {}
        return {**self.line.figures(self.segment.terms.currency), "explanation": self.explanation, **taken}

    def _taken(self) -> dict[str, dict[str, int]]:
        terms, counts = self.segment.terms, self.segment.counts
        return {
            tier: {"quantity": count, "weight": weight}
            for tier, weight in (terms.pool.weights if terms.pool else {}).items()
            if (count := sum(counts.get(counted, 0) for counted in (tier, tier + PEAK)))
        }


def _credits_in_words(taken: Mapping[str, Mapping[str, int]]) -> str:
    in_words = " + ".join(f"{each['quantity']:,} {tier} x {each['weight']:,}" for tier, each in taken.items())
    credits = sum(each["quantity"] * each["weight"] for each in taken.values())
    return f"{in_words} = {units_in_words(POOL, credits)}"


def _left_over(segments: Sequence[Segment], accounts: dict[str, _Account]) -> Layers:
    """By the terms of the last segment: what they do not roll over, or do not price, lapses."""
    terms = segments[-1].terms if segments else None
    if terms is None or terms.rollover is None:
        return {}
    left = {}
    for meter in meters(terms):
        account = accounts[meter]
        used = sum(layer.quantity for layer in account.layers) - account.rolled_over
        left[meter] = carry(account.layers, used=used, fresh=account.allowance, rollover=terms.rollover)
    return {meter: layers for meter, layers in left.items() if layers}
