"""What is on an invoice of a subscription? For each period on it, what that comes to, less what was billed for it.

A period's base fee is billed in advance, its usage when it is over; a change within it bills the difference it makes to
the fee; and whatever changes a period that has been invoiced becomes one adjustment line. All are the same difference,
between `billing.owing` and the lines that stand; so what a customer is billed in all does not depend on when.

An invoice is first an outline, which says what it bills. `draft` reads what all outlines need, of one customer or of
hundreds, and makes bills of them, which are not written yet.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from billing.bills import Bill, bill_of, write
from billing.fee_lines import show_as_before
from billing.given_up import PeriodKey
from billing.late import standing_cycles
from billing.models import Invoice, InvoiceKind, InvoiceLine
from billing.owing import counted_for
from billing.period_lines import advance_lines, closing_lines, corrected_lines, lines_of_no_period
from billing.records import Records
from metering.counting import Span
from plans.calendar import Period
from plans.models import PlanVersion, Subscription
from plans.periods import LAST_INSTANT, BillingPeriod, NotInForce, agreement_at, period_of
from plans.publishing import terms_of


class PeriodGone(Exception):
    """The subscription does not reach the period any more."""


class Claim(NamedTuple):
    """A period that is on an invoice: its key, the usage that is counted for it, and how its lines are made."""

    period: PeriodKey
    counted: Iterable[Span]
    lines: Callable[..., list[InvoiceLine]]


class Outline(NamedTuple):
    """An invoice of a subscription's period to be drafted, and the periods it claims something for."""

    subscription: Subscription
    kind: InvoiceKind
    period: BillingPeriod
    claims: Sequence[Claim]


def outline_start(subscription: Subscription, period: BillingPeriod) -> Outline:
    """The first base fee, in advance; no invoice where the plan has none, or a trial goes before it."""
    return Outline(subscription, InvoiceKind.START, period, [_in_advance(subscription, period, as_of=period.start)])


def outline_change(
    subscription: Subscription, period: BillingPeriod, last_billed: int, *, as_of: dt.datetime
) -> Outline:
    """What a change at `as_of` does to the fees of the period that holds it, and of later ones billed ahead.

    Fees are billed in advance up to period `last_billed`; those before it are closed. No invoice where nothing changes.
    """
    claims = []
    for index in range(period.index, last_billed + 1):
        found = period_of(subscription, index)
        if found is None:
            claims.append(_gone(subscription, index))
        elif index < last_billed:
            claims.append(_corrected(subscription, found))
        else:
            claims.append(_in_advance(subscription, found, as_of=max(as_of, found.start)))
    return Outline(subscription, InvoiceKind.CHANGE, period, claims)


def outline_withdrawal(subscription: Subscription) -> Outline | None:
    """What was billed ahead for a subscription that never began, given back."""
    billed = InvoiceLine.objects.filter(subscription=subscription, period_index__isnull=False)
    indexes = {line.period_index for line in billed if line.period_index is not None}
    first = Invoice.objects.filter(subscription=subscription).order_by("created_at", "id").first()
    if first is None:
        return None
    whole = Period(0, first.period_start, first.period_end)
    period = BillingPeriod(0, whole.start, whole.end, whole)
    return Outline(subscription, InvoiceKind.CHANGE, period, [_gone(subscription, index) for index in sorted(indexes)])


def outline_cycle(subscription: Subscription, period: BillingPeriod, touched: Iterable[Invoice]) -> Outline:
    """The invoice of a period that is over; the caller has taken the meter reading and knows what came late."""
    following = period_of(subscription, period.index + 1)
    ahead = [] if following is None else [_in_advance(subscription, following, as_of=following.start)]
    claims = [*ahead, _closing(subscription, period), *_adjusted(touched)]
    return Outline(subscription, InvoiceKind.CYCLE, period, claims)


def outline_adjustment(subscription: Subscription, last: BillingPeriod, touched: Iterable[Invoice]) -> Outline:
    """What changed after the last period of an ended subscription was invoiced; no invoice if nothing did."""
    return Outline(subscription, InvoiceKind.ADJUSTMENT, last, [*_adjusted(touched)])


def draft(outlines: Sequence[Outline], *, now: dt.datetime) -> list[Bill]:
    """The bills of these outlines, one a subscription, in their order, but for those that come to no line."""
    records = _read([claim for outline in outlines for claim in outline.claims])
    ordinals = _ordinals(outlines)
    bills = []
    for outline, ordinal in zip(outlines, ordinals, strict=True):
        lines = [line for claim in outline.claims for line in claim.lines(records=records)]
        if lines or outline.kind == InvoiceKind.CYCLE:
            bills.append(bill_of(_invoice(outline, ordinal, now), lines))
    return bills


def draft_again(voided: Invoice, *, now: dt.datetime) -> Invoice:
    """A new draft in place of a void invoice, written: all periods that it was about, billed as they stand today.

    Lines that were added by hand are the caller's to copy.
    """
    subscription = voided.subscription
    assert subscription is not None and voided.period_index is not None
    period = period_of(subscription, voided.period_index)
    if period is None:
        raise PeriodGone(f"the period of invoice {voided} has been withdrawn; void it without issuing another")
    empty = Outline(subscription, InvoiceKind(voided.kind), period, [])
    (ordinal,) = _ordinals([empty])
    invoice = _invoice(empty, ordinal, now)
    invoice.reissue_of = voided
    write([Bill(invoice, [])])  # from here on the lines of the void one do not stand any more
    claims = list(_claims_again(voided, period, now))
    records = _read(claims)
    lines = [line for claim in claims for line in claim.lines(records=records)]
    show_as_before(lines, voided.lines.all())
    write([bill_of(invoice, lines)])
    return invoice


# --- claims -----------------------------------------------------------------------------------------------------------


def _in_advance(subscription: Subscription, period: BillingPeriod, *, as_of: dt.datetime) -> Claim:
    return Claim((subscription.pk, period.index), (), partial(advance_lines, subscription, period, as_of=as_of))


def _closing(subscription: Subscription, period: BillingPeriod) -> Claim:
    counted = counted_for(subscription, period)
    return Claim((subscription.pk, period.index), counted, partial(closing_lines, subscription, period))


def _corrected(subscription: Subscription, period: BillingPeriod, invoice: Invoice | None = None) -> Claim:
    counted, lines = counted_for(subscription, period), partial(corrected_lines, subscription, period, invoice=invoice)
    return Claim((subscription.pk, period.index), counted, lines)


def _gone(subscription: Subscription, index: int) -> Claim:
    return Claim((subscription.pk, index), (), partial(lines_of_no_period, subscription, index))


def _adjusted(touched: Iterable[Invoice]) -> Iterator[Claim]:
    """One line for each invoiced period of the customer that late usage touches and whose sum changed."""
    for invoice in touched:
        assert invoice.subscription is not None and invoice.period_index is not None
        period = period_of(invoice.subscription, invoice.period_index)
        assert period is not None
        yield _corrected(invoice.subscription, period, invoice)


def _claims_again(voided: Invoice, period: BillingPeriod, now: dt.datetime) -> Iterator[Claim]:
    own = voided.subscription
    assert own is not None
    periods = voided.lines.exclude(period_index=None).order_by()  # else "distinct" would tell positions apart
    touched = periods.values_list("subscription_id", "period_index").distinct()
    for subscription_id, index in sorted(touched, key=str):
        assert index is not None
        owner = own if subscription_id == own.pk else Subscription.objects.get(pk=subscription_id)
        found = period_of(owner, index)
        if found is None:
            yield _gone(owner, index)
        elif voided.kind == InvoiceKind.CYCLE and index == period.index:
            yield _closing(owner, found)
        elif standing_cycles().filter(subscription=owner, period_index=index).exists():
            yield _corrected(owner, found)
        else:
            yield _in_advance(owner, found, as_of=min(max(now, found.start), found.end - LAST_INSTANT))


# --- invoices ---------------------------------------------------------------------------------------------------------


def _read(claims: Sequence[Claim]) -> Records:
    records = Records()
    records.read_ahead([claim.period for claim in claims], [span for claim in claims for span in claim.counted])
    return records


def _ordinals(outlines: Sequence[Outline]) -> list[int]:
    """How many invoices of the kind each period has by now."""
    subscriptions = {outline.subscription.pk for outline in outlines}
    indexes = {outline.period.index for outline in outlines}
    there = Invoice.objects.filter(subscription__in=subscriptions, period_index__in=indexes)
    number: Counter[object] = Counter(there.values_list("subscription_id", "kind", "period_index"))
    return [number[outline.subscription.pk, outline.kind, outline.period.index] for outline in outlines]


def _invoice(outline: Outline, ordinal: int, now: dt.datetime) -> Invoice:
    subscription, period = outline.subscription, outline.period
    version = _version_of(subscription, period)
    return Invoice(
        customer=subscription.customer,
        subscription=subscription,
        plan_version=version,
        kind=outline.kind,
        ordinal=ordinal,
        currency=terms_of(version).currency,
        period_index=period.index,
        period_start=period.start,
        period_end=period.end,
        counted_at=now,
        created_at=now,
    )


def _version_of(subscription: Subscription, period: BillingPeriod) -> PlanVersion:
    """What was agreed last in a period; of a subscription that never began, at first."""
    try:
        return agreement_at(subscription, period.end - LAST_INSTANT).plan_version
    except NotInForce:
        return subscription.phases.all()[0].plan_version
