"""What is on an invoice of a subscription? For each period on it, what that comes to, less what was billed for it.

A period's base fee is billed in advance, its usage when it is over; a change within it bills the difference it makes to
the fee; and whatever changes a period that has been invoiced becomes one adjustment line. All are the same difference,
between `billing.owing` and the lines that stand; so what a customer is billed in all does not depend on when.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from django.db.models import QuerySet

from billing.models import Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineKind
from billing.owing import rolls_over
from billing.period_lines import advance_lines, closing_lines, corrected_lines, lines_of_no_period
from plans.calendar import Period
from plans.models import PlanVersion, Subscription
from plans.periods import LAST_INSTANT, BillingPeriod, NotInForce, agreement_at, period_of
from plans.publishing import terms_of

ORDER = {kind: place for place, kind in enumerate(LineKind)}
"""The order of the sum; LineKind lists it."""


class PeriodGone(Exception):
    """The subscription does not reach the period any more."""


def draft_start(subscription: Subscription, period: BillingPeriod, *, now: dt.datetime) -> Invoice | None:
    """The first base fee, in advance; None where the plan has none, or a trial goes before it."""
    lines = advance_lines(subscription, period, as_of=period.start)
    return _draft(subscription, InvoiceKind.START, period, lines, now) if lines else None


def draft_change(
    subscription: Subscription, period: BillingPeriod, last_billed: int, *, as_of: dt.datetime, now: dt.datetime
) -> Invoice | None:
    """What a change at `as_of` does to the fees of the period that holds it, and of later ones billed ahead.

    Fees are billed in advance up to period `last_billed`; those before it are closed. None where nothing changes.
    """
    lines: list[InvoiceLine] = []
    for index in range(period.index, last_billed + 1):
        found = period_of(subscription, index)
        if found is None:
            lines += lines_of_no_period(subscription, index)
        elif index < last_billed:
            lines += corrected_lines(subscription, found)
        else:
            lines += advance_lines(subscription, found, as_of=max(as_of, found.start))
    return _draft(subscription, InvoiceKind.CHANGE, period, lines, now) if lines else None


def draft_withdrawal(subscription: Subscription, *, now: dt.datetime) -> Invoice | None:
    """What was billed ahead for a subscription that never began, given back."""
    billed = InvoiceLine.objects.filter(subscription=subscription, period_index__isnull=False)
    indexes = {line.period_index for line in billed if line.period_index is not None}
    lines = [line for index in sorted(indexes) for line in lines_of_no_period(subscription, index)]
    first = Invoice.objects.filter(subscription=subscription).order_by("created_at", "id").first()
    if first is None or not lines:
        return None
    whole = Period(0, first.period_start, first.period_end)
    return _draft(subscription, InvoiceKind.CHANGE, BillingPeriod(0, whole.start, whole.end, whole), lines, now)


def draft_cycle(
    subscription: Subscription, period: BillingPeriod, late_days: Sequence[dt.date], *, now: dt.datetime
) -> Invoice:
    """The invoice of a period that is over; the caller has taken the meter reading."""
    lines: list[InvoiceLine] = []
    following = period_of(subscription, period.index + 1)
    if following is not None:
        lines += advance_lines(subscription, following, as_of=following.start)
    lines += closing_lines(subscription, period)
    lines += _adjustment_lines(subscription, late_days)
    return _draft(subscription, InvoiceKind.CYCLE, period, lines, now)


def draft_adjustment(
    subscription: Subscription, last: BillingPeriod, late_days: Sequence[dt.date], *, now: dt.datetime
) -> Invoice | None:
    """What changed after the last period of an ended subscription was invoiced; None if nothing did."""
    lines = _adjustment_lines(subscription, late_days)
    return _draft(subscription, InvoiceKind.ADJUSTMENT, last, lines, now) if lines else None


def draft_again(voided: Invoice, *, now: dt.datetime) -> Invoice:
    """A new draft in place of a void invoice: all periods that it was about, billed as they stand today.

    Lines that were added by hand are the caller's to copy.
    """
    subscription = voided.subscription
    assert subscription is not None and voided.period_index is not None
    period = period_of(subscription, voided.period_index)
    if period is None:
        raise PeriodGone(f"the period of invoice {voided} has been withdrawn; void it without issuing another")
    draft = _draft(subscription, InvoiceKind(voided.kind), period, [], now, reissue_of=voided)
    periods = voided.lines.exclude(period_index=None).order_by()  # else "distinct" would tell positions apart
    touched = periods.values_list("subscription_id", "period_index").distinct()
    lines: list[InvoiceLine] = []
    for subscription_id, index in sorted(touched, key=str):
        assert index is not None
        owner = subscription if subscription_id == subscription.pk else Subscription.objects.get(pk=subscription_id)
        closes = voided.kind == InvoiceKind.CYCLE and index == period.index
        lines += _lines_again(owner, index, closes=closes, now=now)
    _write_lines(draft, lines)
    return draft


def _lines_again(subscription: Subscription, index: int, *, closes: bool, now: dt.datetime) -> list[InvoiceLine]:
    period = period_of(subscription, index)
    if period is None:
        return lines_of_no_period(subscription, index)
    if closes:
        return closing_lines(subscription, period)
    if _cycles(subscription.customer_id).filter(subscription=subscription, period_index=index).exists():
        return corrected_lines(subscription, period)
    return advance_lines(subscription, period, as_of=min(max(now, period.start), period.end - LAST_INSTANT))


def _adjustment_lines(subscription: Subscription, late_days: Sequence[dt.date]) -> list[InvoiceLine]:
    """One line for each invoiced period of the customer that late usage touches and whose sum changed."""
    lines: list[InvoiceLine] = []
    for invoice in _invoices_touched(subscription, late_days):
        assert invoice.subscription is not None and invoice.period_index is not None
        period = period_of(invoice.subscription, invoice.period_index)
        assert period is not None
        lines += corrected_lines(invoice.subscription, period, invoice=invoice)
    return lines


def _invoices_touched(subscription: Subscription, late_days: Sequence[dt.date]) -> list[Invoice]:
    """The invoices whose period a late day overlaps; where allowance rolls over, those after it too.

    A voided one has given its period up.
    """
    touched: list[Invoice] = []
    rolling: set[object] = set()
    for invoice in _cycles(subscription.customer_id).select_related("subscription").order_by("period_start"):
        if invoice.subscription_id in rolling or any(_overlaps(day, invoice) for day in late_days):
            touched.append(invoice)
            assert invoice.subscription is not None
            if rolls_over(invoice.subscription):
                rolling.add(invoice.subscription_id)
    return touched


def _cycles(customer_id: uuid.UUID) -> QuerySet[Invoice]:
    return Invoice.objects.filter(customer=customer_id, kind=InvoiceKind.CYCLE).exclude(status=InvoiceStatus.VOID)


def _overlaps(day: dt.date, invoice: Invoice) -> bool:
    start = dt.datetime.combine(day, dt.time.min, dt.UTC)
    return start < invoice.period_end and start + dt.timedelta(days=1) > invoice.period_start


def _draft(
    subscription: Subscription,
    kind: InvoiceKind,
    period: BillingPeriod,
    lines: Iterable[InvoiceLine],
    now: dt.datetime,
    *,
    reissue_of: Invoice | None = None,
) -> Invoice:
    version = _version_of(subscription, period)
    earlier = Invoice.objects.filter(subscription=subscription, kind=kind, period_index=period.index)
    invoice = Invoice.objects.create(
        customer_id=subscription.customer_id,
        subscription=subscription,
        plan_version=version,
        kind=kind,
        ordinal=earlier.count(),
        currency=terms_of(version).currency,
        period_index=period.index,
        period_start=period.start,
        period_end=period.end,
        counted_at=now,
        created_at=now,
        reissue_of=reissue_of,
    )
    _write_lines(invoice, lines)
    return invoice


def _version_of(subscription: Subscription, period: BillingPeriod) -> PlanVersion:
    """What was agreed last in a period; of a subscription that never began, at first."""
    try:
        return agreement_at(subscription, period.end - LAST_INSTANT).plan_version
    except NotInForce:
        return subscription.phases.all()[0].plan_version


def _write_lines(invoice: Invoice, lines: Iterable[InvoiceLine]) -> None:
    in_order = sorted(lines, key=lambda line: ORDER[LineKind(line.kind)])
    for position, line in enumerate(in_order):
        line.invoice, line.position = invoice, position
    InvoiceLine.objects.bulk_create(in_order)
    invoice.subtotal = invoice.total = sum(line.amount for line in in_order)
    invoice.save(update_fields=["subtotal", "total"])
