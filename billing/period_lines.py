"""Which lines bill a period? The difference between what it comes to and the lines that stand.

`advance_lines` bill fees before the period is over, `closing_lines` everything when it is, itemised, and
`corrected_lines` what has changed since. Each line was rounded once, in `plans.period_bill`.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from billing.given_up import given_up, standing_lines, still_to_bill
from billing.models import Invoice, InvoiceKind, InvoiceLine, LineKind, Redemption
from billing.owing import Owed, owed_for, owed_in_advance
from metering.reading import changed_since
from plans.calendar import Period, time_zone
from plans.models import Subscription, SubscriptionPhase
from plans.money import format_amount, format_price
from plans.period_bill import Charge
from plans.periods import LAST_INSTANT, BillingPeriod, Part
from plans.proration import share_of
from plans.publishing import terms_of
from plans.terms import PEAK, POOL

NAMED_CONVERSATIONS = 50
"""How many changed conversations an adjustment names; all of them are in the CSV of its period."""
FEE_KINDS = (LineKind.BASE_FEE, LineKind.PRORATION)
ITEMISED = {"usage": LineKind.USAGE, "minimum": LineKind.MINIMUM, "maximum": LineKind.MAXIMUM}


def advance_lines(subscription: Subscription, period: BillingPeriod, *, as_of: dt.datetime) -> list[InvoiceLine]:
    """The base fees of a period as the agreement stands at an instant, and discounts on them."""
    owed = owed_in_advance(subscription, period, as_of=as_of)
    billed = standing_lines(subscription, period.index)
    lines = [*_fee_lines(subscription, owed, billed), *_discount_lines(subscription, owed, billed)]
    return [*lines, *_kept_back(subscription, owed, billed, lines)]


def closing_lines(subscription: Subscription, period: BillingPeriod) -> list[InvoiceLine]:
    """All that a period which is over comes to, item by item, but for what was billed in advance."""
    billed = standing_lines(subscription, period.index)
    if any(line.kind not in (*FEE_KINDS, LineKind.DISCOUNT) for line in billed):
        return corrected_lines(subscription, period)
    owed = owed_for(subscription, period)
    items = [_item_line(subscription, owed, charge) for charge in owed.bill.charges if charge.kind in ITEMISED]
    lines = [*_fee_lines(subscription, owed, billed), *items, *_discount_lines(subscription, owed, billed)]
    return [*lines, *_kept_back(subscription, owed, billed, lines)]


def corrected_lines(
    subscription: Subscription, period: BillingPeriod, *, invoice: Invoice | None = None
) -> list[InvoiceLine]:
    """What an invoiced period comes to today, less all that was billed for it: nothing, or an adjustment."""
    owed = owed_for(subscription, period)
    billed = standing_lines(subscription, period.index)
    fees = list(_fee_lines(subscription, owed, billed))
    rest = still_to_bill(owed.total, billed) - sum(line.amount for line in fees)
    if not rest:
        return fees
    rest_owed = owed.total - sum(charge.amount for charge in owed.bill.charges if charge.kind == "base_fee")
    invoice = invoice or _cycle_invoice(subscription, period.index)
    return [*fees, _adjustment_line(subscription, owed, invoice, rest_owed, rest_owed - rest)]


def lines_of_no_period(subscription: Subscription, index: int) -> list[InvoiceLine]:
    """What was billed in advance for a period that the subscription does not reach any more, given back."""
    groups: dict[object, list[InvoiceLine]] = defaultdict(list)
    billed = standing_lines(subscription, index)
    for line in billed if still_to_bill(0, billed) else []:
        groups[line.phase_id, line.redemption_id].append(line)
    return [_given_back(lines) for lines in groups.values() if sum(line.amount - given_up(line) for line in lines)]


def _cycle_invoice(subscription: Subscription, index: int) -> Invoice:
    cycles = Invoice.objects.filter(subscription=subscription, kind=InvoiceKind.CYCLE, period_index=index)
    return cycles.latest("ordinal")


# --- base fees --------------------------------------------------------------------------------------------------------


def _fee_lines(subscription: Subscription, owed: Owed, billed: Iterable[InvoiceLine]) -> Iterator[InvoiceLine]:
    """For each phase the base fee of its part of the period, less what was billed for it."""
    due: dict[uuid.UUID, int] = {part.phase.pk: 0 for part in owed.parts}
    for charge in owed.bill.charges:
        if charge.kind == "base_fee":
            due[_part_of(owed, charge).phase.pk] += charge.amount
    fees = [line for line in billed if line.kind in FEE_KINDS]
    phases = {part.phase.pk: part.phase for part in owed.parts}
    phases |= {line.phase_id: line.phase for line in fees if line.phase is not None and line.phase_id is not None}
    for phase_id, phase in phases.items():
        own = [line for line in fees if line.phase_id == phase_id]
        difference = due.get(phase_id, 0) - sum(line.amount for line in own)
        if difference:
            start, end = _fee_span([part for part in owed.parts if part.phase.pk == phase_id], own, difference)
            kind = LineKind.PRORATION if fees else LineKind.BASE_FEE
            yield _fee_line(subscription, owed.period, phase, kind, difference, start, end)


def _fee_span(parts: list[Part], own: list[InvoiceLine], difference: int) -> tuple[dt.datetime, dt.datetime]:
    """From where to where a fee is due now, or is not due any more."""
    billed_to = max((line.period_end for line in own), default=None)
    charged = [part for part in parts if not part.trial and not part.phase.paused]
    if difference < 0:
        assert billed_to is not None
        return (charged[-1].end if charged else min(line.period_start for line in own)), billed_to
    start, end = charged[0].start, charged[-1].end
    return (billed_to if billed_to is not None and start < billed_to < end else start), end


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
    whole = (start, end) == (period.whole.start, period.whole.end) and amount > 0
    fee = format_price(terms.base_fee, terms.currency)
    details: dict[str, Any] = {}
    if not whole:
        details = {"base_fee": fee}
        if period.whole.start <= start and end <= period.whole.end:  # not of an interval that was left again at once
            share = share_of(Period(0, start, end), period.whole)
            details["share"] = f"{share.numerator}/{share.denominator}"
    words = f"{phase.plan_version.plan.name}, base fee {_days(subscription, start, end)}"
    return _line(
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


def _kept_back(
    subscription: Subscription, owed: Owed, billed: list[InvoiceLine], lines: list[InvoiceLine]
) -> Iterator[InvoiceLine]:
    """What new lines would give back, or claim, although it was given up before."""
    difference = still_to_bill(owed.total, billed) - sum(line.amount for line in lines)
    if difference:
        numbers = ", ".join(dict.fromkeys(str(line.invoice) for line in billed if given_up(line)))
        yield _line(
            subscription,
            owed.period.index,
            LineKind.PRORATION,
            owed.period.start,
            owed.period.end,
            description=f"Given up before, with {numbers}, so neither billed nor given back",
            quantity=1,
            amount=difference,
        )


def _given_back(lines: list[InvoiceLine]) -> InvoiceLine:
    """Lines for a period that is not to come, taken together, with the opposite sign."""
    first = lines[0]
    return InvoiceLine(
        subscription_id=first.subscription_id,
        phase_id=first.phase_id,
        redemption_id=first.redemption_id,
        kind=LineKind.DISCOUNT if first.redemption_id else LineKind.PRORATION,
        description=f"{first.description}, not used",
        quantity=1,
        amount=-sum(line.amount - given_up(line) for line in lines),
        period_index=first.period_index,
        period_start=min(line.period_start for line in lines),
        period_end=max(line.period_end for line in lines),
    )


# --- the rest ---------------------------------------------------------------------------------------------------------


def _item_line(subscription: Subscription, owed: Owed, charge: Charge) -> InvoiceLine:
    """One charge of the period bill as a line; `details` holds the pencil sum."""
    part = _part_of(owed, charge) if charge.segment is not None else None
    tier = "" if charge.meter == POOL else charge.meter.removesuffix(PEAK)
    return _line(
        subscription,
        owed.period.index,
        ITEMISED[charge.kind],
        part.start if part else owed.period.start,
        part.end if part else owed.period.end,
        phase=part.phase if part else None,
        tier=tier,
        description=charge.explanation,
        quantity=charge.quantity,
        unit_amount=charge.unit_amount,
        amount=charge.amount,
        details=charge.details,
    )


def _discount_lines(subscription: Subscription, owed: Owed, billed: Iterable[InvoiceLine]) -> Iterator[InvoiceLine]:
    """What each coupon takes off the period, less what it has taken off before."""
    taken: dict[str, int] = defaultdict(int)
    for line in billed:
        if line.kind == LineKind.DISCOUNT:
            taken[str(line.redemption_id)] += line.amount
    charges = [charge for charge in owed.bill.charges if charge.kind == "discount"]
    for charge in charges:
        if charge.amount != taken[charge.discount]:
            yield _discount_line(subscription, owed.period, charge, charge.amount - taken[charge.discount])
    gone = {name: amount for name, amount in taken.items() if amount and name not in {c.discount for c in charges}}
    for name, amount in gone.items():
        coupon = Redemption.objects.select_related("coupon").get(pk=name).coupon
        nothing = Charge(kind="discount", amount=0, discount=name, explanation=coupon.name)
        yield _discount_line(subscription, owed.period, nothing, -amount)


def _discount_line(subscription: Subscription, period: BillingPeriod, charge: Charge, amount: int) -> InvoiceLine:
    """A coupon's line; where a part of what it takes off the period stands on an earlier invoice, it says so."""
    earlier, currency = charge.amount - amount, subscription.customer.currency
    taken_before = f", {format_amount(earlier, currency)} {currency} of it taken before" if earlier else ""
    return _line(
        subscription,
        period.index,
        LineKind.DISCOUNT,
        period.start,
        period.end,
        redemption_id=uuid.UUID(charge.discount),
        description=charge.explanation + taken_before,
        quantity=1,
        amount=amount,
        details=charge.details,
    )


def _adjustment_line(
    subscription: Subscription, owed: Owed, invoice: Invoice, rest_owed: int, rest_billed: int
) -> InvoiceLine:
    """A period priced from today's counts, minus all that was billed for it; it names the conversations."""
    period, currency = owed.period, invoice.currency
    changed = changed_since(subscription.customer_id, period.start, period.end, invoice.counted_at)
    now, before = format_amount(rest_owed, currency), format_amount(rest_billed, currency)
    return _line(
        subscription,
        period.index,
        LineKind.ADJUSTMENT,
        period.start,
        period.end,
        description=(
            f"Usage of {_days(subscription, period.start, period.end)} that changed after invoice {invoice}: "
            f"{now} instead of {before} {currency}"
        ),
        quantity=1,
        amount=rest_owed - rest_billed,
        details={
            "invoice": str(invoice),
            "counts": _added(owed.counts),
            "owed": now,
            "billed": before,
            "charges": [charge.explanation for charge in owed.bill.charges if charge.kind != "base_fee"],
            "conversations": changed[:NAMED_CONVERSATIONS],
            "conversations_changed": len(changed),
        },
    )


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for counted in counts:
        for meter, number in counted.items():
            total[meter] += number
    return dict(total)


def _part_of(owed: Owed, charge: Charge) -> Part:
    assert charge.segment is not None
    return owed.parts[charge.segment]


def _line(
    subscription: Subscription,
    index: int,
    kind: LineKind,
    start: dt.datetime,
    end: dt.datetime,
    *,
    unit_amount: Decimal | None = None,
    **fields: Any,
) -> InvoiceLine:
    return InvoiceLine(
        subscription=subscription,
        period_index=index,
        kind=kind,
        period_start=start,
        period_end=end,
        unit_amount=unit_amount,
        **fields,
    )


def _days(subscription: Subscription, start: dt.datetime, end: dt.datetime) -> str:
    """The days of a span as the customer's calendar shows them, the last one included."""
    zone = time_zone(subscription.timezone)
    first, last = start.astimezone(zone), (end - LAST_INSTANT).astimezone(zone)
    return f"{first:%d %b %Y} to {last:%d %b %Y}"
