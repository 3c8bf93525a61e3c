"""Which lines bill a period? The difference between what it comes to and the lines that stand.

`advance_lines` bill fees before the period is over, `closing_lines` everything when it is, itemised, and
`corrected_lines` what has changed since. Each line was rounded once, in `plans.period_bill`.
"""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator

from billing.fee_lines import FEE_KINDS, fee_lines
from billing.given_up import given_up, still_to_bill
from billing.models import Invoice, InvoiceKind, InvoiceLine, LineKind
from billing.new_lines import days, new_line
from billing.owing import Owed, owed_for, owed_in_advance
from billing.records import Records
from metering.reading import changed_since
from plans.models import Subscription
from plans.money import format_amount
from plans.period_bill import Charge, Said
from plans.periods import BillingPeriod, Part
from plans.terms import PEAK, POOL

NAMED_CONVERSATIONS = 50
"""How many changed conversations an adjustment names; all of them are in the CSV of its period."""
ITEMISED = {"usage": LineKind.USAGE, "minimum": LineKind.MINIMUM, "maximum": LineKind.MAXIMUM}


def advance_lines(
    subscription: Subscription, period: BillingPeriod, *, as_of: dt.datetime, records: Records
) -> list[InvoiceLine]:
    """The base fees of a period as the agreement stands at an instant, and discounts on them."""
    owed = owed_in_advance(subscription, period, as_of=as_of, records=records)
    billed = records.standing_lines(subscription, period.index)
    lines = [*fee_lines(subscription, owed, billed), *_discount_lines(subscription, owed, billed, records)]
    return [*lines, *_kept_back(subscription, owed, billed, lines)]


def closing_lines(subscription: Subscription, period: BillingPeriod, *, records: Records) -> list[InvoiceLine]:
    """All that a period which is over comes to, item by item, but for what was billed in advance."""
    billed = records.standing_lines(subscription, period.index)
    if any(line.kind not in (*FEE_KINDS, LineKind.DISCOUNT) for line in billed):
        return corrected_lines(subscription, period, records=records)
    owed = owed_for(subscription, period, records=records)
    items = [_item_line(subscription, owed, charge) for charge in owed.bill.charges if charge.kind in ITEMISED]
    discounts = _discount_lines(subscription, owed, billed, records)
    lines = [*fee_lines(subscription, owed, billed), *items, *discounts]
    return [*lines, *_kept_back(subscription, owed, billed, lines)]


def corrected_lines(
    subscription: Subscription, period: BillingPeriod, *, records: Records, invoice: Invoice | None = None
) -> list[InvoiceLine]:
    """What an invoiced period comes to today, less all that was billed for it: nothing, or an adjustment."""
    owed = owed_for(subscription, period, records=records)
    billed = records.standing_lines(subscription, period.index)
    fees = list(fee_lines(subscription, owed, billed))
    rest = still_to_bill(owed.total, billed) - sum(line.amount for line in fees)
    if not rest:
        return fees
    rest_owed = owed.total - sum(charge.amount for charge in owed.bill.charges if charge.kind == "base_fee")
    invoice = invoice or _cycle_invoice(subscription, period.index)
    return [*fees, _adjustment_line(subscription, owed, invoice, rest_owed, rest_owed - rest)]


def lines_of_no_period(subscription: Subscription, index: int, *, records: Records) -> list[InvoiceLine]:
    """What was billed in advance for a period that the subscription does not reach any more, given back."""
    groups: dict[object, list[InvoiceLine]] = defaultdict(list)
    billed = records.standing_lines(subscription, index)
    for line in billed if still_to_bill(0, billed) else []:
        groups[line.phase_id, line.redemption_id].append(line)
    return [_given_back(lines) for lines in groups.values() if sum(line.amount - given_up(line) for line in lines)]


def _cycle_invoice(subscription: Subscription, index: int) -> Invoice:
    cycles = Invoice.objects.filter(subscription=subscription, kind=InvoiceKind.CYCLE, period_index=index)
    return cycles.latest("ordinal")


def _kept_back(
    subscription: Subscription, owed: Owed, billed: list[InvoiceLine], lines: list[InvoiceLine]
) -> Iterator[InvoiceLine]:
    """What new lines would give back, or claim, although it was given up before."""
    difference = still_to_bill(owed.total, billed) - sum(line.amount for line in lines)
    if difference:
        numbers = ", ".join(dict.fromkeys(str(line.invoice) for line in billed if given_up(line)))
        yield new_line(
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


def _item_line(subscription: Subscription, owed: Owed, charge: Charge) -> InvoiceLine:
    """One charge of the period bill as a line; `details` holds the pencil sum."""
    part = _part_of(owed, charge) if charge.segment is not None else None
    tier = "" if charge.meter == POOL else charge.meter.removesuffix(PEAK)
    return new_line(
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


def _discount_lines(
    subscription: Subscription, owed: Owed, billed: Iterable[InvoiceLine], records: Records
) -> Iterator[InvoiceLine]:
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
    names = {str(redemption.pk): redemption.coupon.name for redemption in records.redemptions(subscription)}
    for name, amount in gone.items():
        nothing = Charge(kind="discount", amount=0, discount=name, reckoning=Said(names[name], {}))
        yield _discount_line(subscription, owed.period, nothing, -amount)


def _discount_line(subscription: Subscription, period: BillingPeriod, charge: Charge, amount: int) -> InvoiceLine:
    """A coupon's line; where a part of what it takes off the period stands on an earlier invoice, it says so."""
    earlier, currency = charge.amount - amount, subscription.customer.currency
    taken_before = f", {format_amount(earlier, currency)} {currency} of it taken before" if earlier else ""
    return new_line(
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
    return new_line(
        subscription,
        period.index,
        LineKind.ADJUSTMENT,
        period.start,
        period.end,
        description=(
            f"Usage of {days(subscription, period.start, period.end)} that changed after invoice {invoice}: "
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
