"""Which lines bill the base fees of a period? For each phase in it, its part of the fee less what was billed for it.

Each says from when to when: the time of a fee that is due now, or of one that is not due any more.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from billing.models import InvoiceLine, LineKind
from billing.new_lines import days, new_line
from billing.owing import Owed
from plans.calendar import Period
from plans.models import Subscription, SubscriptionPhase
from plans.money import format_price, to_minor
from plans.periods import BillingPeriod, Part
from plans.proration import accrued, share_of
from plans.publishing import terms_of

FEE_KINDS = (LineKind.BASE_FEE, LineKind.PRORATION)
SHOWN = ("kind", "description", "period_start", "period_end", "unit_amount", "details")
"""What a fee line tells beside its amount and what it is for."""


def fee_lines(subscription: Subscription, owed: Owed, billed: Iterable[InvoiceLine]) -> Iterator[InvoiceLine]:
    """For each phase the base fee of its part of the period, less what was billed for it."""
    due: dict[uuid.UUID, int] = {part.phase.pk: 0 for part in owed.parts}
    for charge in owed.bill.charges:
        if charge.kind == "base_fee" and charge.segment is not None:
            due[owed.parts[charge.segment].phase.pk] += charge.amount
    fees = [line for line in billed if line.kind in FEE_KINDS]
    phases = {part.phase.pk: part.phase for part in owed.parts}
    left = {line.phase_id for line in fees} - phases.keys()
    phases |= {phase.pk: phase for phase in subscription.phases.all() if phase.pk in left}
    for phase_id, phase in phases.items():
        own = [line for line in fees if line.phase_id == phase_id]
        difference = due.get(phase_id, 0) - sum(line.amount for line in own)
        if difference:
            start, end = _fee_span([part for part in owed.parts if part.phase.pk == phase_id], own, difference)
            kind = LineKind.PRORATION if fees else LineKind.BASE_FEE
            yield _fee_line(subscription, owed.period, phase, kind, difference, start, end)


def show_as_before(lines: Iterable[InvoiceLine], before: Iterable[InvoiceLine]) -> None:
    """Let fees that are billed anew, for the same and as much, look as they did; what changed has lines of its own."""
    stood = {_claimed(line): line for line in before if line.kind in FEE_KINDS}
    for line in lines:
        if line.kind in FEE_KINDS and (old := stood.get(_claimed(line))):
            for name in SHOWN:
                setattr(line, name, getattr(old, name))


def _claimed(line: InvoiceLine) -> tuple[object, ...]:
    return line.subscription_id, line.period_index, line.phase_id, line.amount


def _fee_span(parts: Sequence[Part], own: Sequence[InvoiceLine], difference: int) -> tuple[dt.datetime, dt.datetime]:
    """From where to where a fee is due now, or is not due any more; never from an instant to itself."""
    billed_from = min((line.period_start for line in own), default=None)
    billed_to = max((line.period_end for line in own), default=None)
    charged = [part for part in parts if not part.trial and not part.phase.paused]
    if difference > 0 and charged:
        start, end = charged[0].start, charged[-1].end
        return (billed_to if billed_to is not None and start < billed_to < end else start), end
    assert billed_from is not None and billed_to is not None
    since = charged[-1].end if charged else billed_from
    return (since if since < billed_to else billed_from), billed_to


def _fee_line(
    subscription: Subscription,
    period: BillingPeriod,
    phase: SubscriptionPhase,
    kind: LineKind,
    amount: int,
    start: dt.datetime,
    end: dt.datetime,
) -> InvoiceLine:
    terms = terms_of(phase.plan_version)
    fee_in_full = amount == to_minor(terms.base_fee, terms.currency)
    whole = (start, end) == (period.whole.start, period.whole.end) and fee_in_full
    details: dict[str, Any] = {}
    if not whole:
        details = {"base_fee": format_price(terms.base_fee, terms.currency)}
        span = Period(0, start, end)
        inside = period.whole.start <= start and end <= period.whole.end  # not of an interval that was left at once
        if inside and abs(amount) == accrued(terms.base_fee, terms.currency, span, period.whole):
            share = share_of(span, period.whole)
            details["share"] = f"{share.numerator}/{share.denominator}"
    words = f"{phase.plan_version.plan.name}, base fee {days(subscription, start, end)}"
    return new_line(
        subscription,
        period.index,
        kind,
        start,
        end,
        phase=phase,
        description=words if amount > 0 else f"{words}, not used",
        quantity=1,
        unit_amount=terms.base_fee if whole else None,
        amount=amount,
        details=details,
    )
