"""May a customer start another conversation, and why? By the price path of the invoice, conversations going on counted.

Whoever has a subscription that is in force may: what the allowance does not cover has a price, and plans know no other
limit. An empty wallet is no reason to refuse either, because what it does not pay is on the invoice.

A conversation is charged in the tier it settles in, a day or so after it began. So those going on are taken to use the
allowance already, in the tier they are in now: otherwise a thousand could begin on the last one that is included.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from billing.owing import Basis, Owed
from billing.running import CountsAsOf, usage_now
from metering.reading import added
from metering.watching import watch_if_many
from plans.meters import Meters
from plans.models import Customer
from plans.periods import Agreement
from plans.pricing import PricedTier, metered
from plans.terms import PEAK, POOL, Terms

Reason = Literal[
    "no_subscription",
    "not_started",
    "ended",
    "paused",
    "free_trial",
    "within_allowance",
    "overage",
    "maximum_reached",
]
ENTITLED: tuple[Reason, ...] = ("free_trial", "within_allowance", "overage", "maximum_reached")
NOTHING = Decimal(0)


class UnknownTier(LookupError):
    """The customer's plan has no price for such a tier."""

    def __init__(self, tier: str) -> None:
        super().__init__(f"the plan does not price the tier {tier!r}")
        self.errors = [("?tier", "the plan does not price such a tier")]


class Allowance(NamedTuple):
    """What is left of a tier in the running period, in units of its `meter`: conversations, or credits of the pool.

    A conversation `takes` so many. `remaining` = `included` - `used` - `open`, at least 0. `overage_price` (exact, in
    major units) is what the first conversation beyond it costs, or the next, where nothing is left.
    """

    tier: str
    meter: str
    takes: int
    reason: Reason
    included: int
    used: int
    open: int
    remaining: int
    overage_price: Decimal


class Entitlement(NamedTuple):
    """Whether a conversation may start, as of an instant; with an agreement in force, also what is left."""

    reason: Reason
    as_of: dt.datetime
    agreed: Agreement | None = None
    tiers: tuple[Allowance, ...] = ()

    @property
    def entitled(self) -> bool:
        """Whether the customer may."""
        return self.reason in ENTITLED


def entitlement(customer: Customer, *, tier: str | None = None, now: dt.datetime) -> Entitlement:
    """What the customer is entitled to in a tier, or in all, cheapest first: where every conversation starts.

    Raises UnknownTier.
    """
    found = usage_now(customer, now=now)
    if found is None:
        return Entitlement(_why_not(customer, now), now)
    agreed, asked, still_open, settled = found
    usage = _Usage(settled, agreed, still_open.counts)
    watch_if_many(asked, still_open, usage.settled(), now=now)
    allowances = usage.allowances(_tiers(agreed.terms, tier))
    return Entitlement(allowances[0].reason, still_open.as_of, agreed, allowances)


def _why_not(customer: Customer, now: dt.datetime) -> Reason:
    subscriptions = [each for each in customer.subscriptions.all() if each.ends_at != each.starts_at]
    if any(subscription.starts_at > now for subscription in subscriptions):
        return "not_started"
    return "ended" if subscriptions else "no_subscription"


def _tiers(terms: Terms, tier: str | None) -> list[str]:
    """The tiers that the terms price, or the one that is asked for; "@peak" is the price of one at peak hours."""
    priced = [*(terms.pool.weights if terms.pool else ())]
    for each, rate in terms.rates.items():
        priced += [each, each + PEAK] if rate.peak is not None else [each]
    if tier is not None and tier not in priced:
        raise UnknownTier(tier)
    return priced if tier is None else [tier]


class _Usage:
    """The running period as it is priced, with the conversations going on counted as if they had settled now."""

    def __init__(self, settled: CountsAsOf, agreed: Agreement, open_counts: dict[str, int]) -> None:
        self._settled = settled
        self._agreed = agreed
        self._basis = Basis(agreed.subscription, agreed.period, records=settled)
        self._open_counts = open_counts
        self._owed = self._with(open_counts)
        self._lines = {line.tier: line for line in self._owed.bill.usage[self._running(self._owed)]}

    def settled(self) -> int:
        """How many conversations are."""
        return sum(sum(counts.values()) for counts in self._owed.counts) - sum(self._open_counts.values())

    def allowances(self, tiers: Iterable[str]) -> tuple[Allowance, ...]:
        """What is left of each of these tiers."""
        found = [self._allowance(tier) for tier in tiers]
        prices = self._prices_beyond(found)
        return tuple(allowance._replace(overage_price=prices[allowance.tier]) for allowance in found)

    def _allowance(self, tier: str) -> Allowance:
        meter, takes = self._meter(tier)
        line = self._lines[meter]
        remaining = line.allowance - line.included
        going_on = metered(self._agreed.terms, self._open_counts)[meter]
        quantity, included = self._of_the_period(meter)
        return Allowance(
            tier=tier,
            meter=meter,
            takes=takes,
            reason=self._reason(line, remaining >= takes),
            included=included + remaining,
            used=quantity - going_on,
            open=going_on,
            remaining=remaining,
            overage_price=NOTHING,
        )

    def _meter(self, tier: str) -> tuple[str, int]:
        pool = self._agreed.terms.pool
        return (POOL, pool.weights[tier]) if pool is not None and tier in pool.weights else (tier, 1)

    def _of_the_period(self, meter: str) -> tuple[int, int]:
        """How much of a meter is used, with what goes on, and how much of that is included, in all parts so far."""
        lines = [line for part in self._owed.bill.usage for line in part if line.tier == meter]
        return sum(line.quantity for line in lines), sum(line.included for line in lines)

    def _reason(self, line: PricedTier, covered: bool) -> Reason:
        if self._agreed.phase.paused:
            return "paused"
        if self._is_free():
            return "free_trial"
        if covered:
            return "within_allowance"
        return "maximum_reached" if self._is_at_maximum() else "overage"

    def _is_free(self) -> bool:
        part = self._owed.parts[self._running(self._owed)]
        return part.trial and part.terms.trial_usage == "free"

    def _is_at_maximum(self) -> bool:
        return any(charge.kind == "maximum" for charge in self._owed.bill.charges)

    def _prices_beyond(self, allowances: Sequence[Allowance]) -> dict[str, Decimal]:
        """What a conversation of each tier costs after as many further ones as are covered."""
        prices = {allowance.tier: NOTHING for allowance in allowances}
        if self._is_free() or self._is_at_maximum():
            return prices
        # Each meter is priced by itself, so all at once; but what shares a pool would take from it together.
        own = [allowance for allowance in allowances if allowance.meter != POOL]
        for group in ([own] if own else []) + [[each] for each in allowances if each.meter == POOL]:
            covered = {each.tier: each.remaining // max(each.takes, 1) for each in group}
            before = self._amounts(covered)
            after = self._amounts({tier: further + 1 for tier, further in covered.items()})
            prices |= {each.tier: after[each.meter] - before[each.meter] for each in group}
        return prices

    def _amounts(self, further: dict[str, int]) -> dict[str, Decimal]:
        owed = self._with(added(self._open_counts, further)) if any(further.values()) else self._owed
        return {line.tier: line.amount for line in owed.bill.usage[self._running(owed)]}

    def _with(self, further: dict[str, int]) -> Owed:
        """The running period with further conversations in the part that is running."""
        now = self._settled.now

        def count(customer_id: uuid.UUID, start: dt.datetime, end: dt.datetime, *, meters: Meters) -> dict[str, int]:
            counts = self._settled.count(customer_id, start, end, meters=meters)
            return added(counts, further) if start <= now < end else counts

        return self._basis.owed(count)

    def _running(self, owed: Owed) -> int:
        """The index of the part that is running."""
        now = self._settled.now
        return next(index for index, part in enumerate(owed.parts) if part.start <= now < part.end)
