"""How is an invoice that is wrong replaced by a right one? It is voided, and drafted anew.

The new draft bills what the periods of the old one come to today, and carries its manual lines; it can be edited until
it is finalized, like any other.
"""

import contextlib
import datetime as dt
import uuid
from decimal import Decimal

from django.db import transaction

from billing.drafting import draft_again
from billing.editing import add_discount, add_line, is_manual
from billing.finalizing import InvoiceNotVoidable, void_invoice
from billing.manual_discounts import NothingToDiscount, allocation_of
from billing.models import BillingSchedule, Invoice, InvoiceKind, InvoiceLine, LineKind
from metering.catching_up import catch_up
from metering.models import MeterReading
from metering.settling import settle_customers
from metering.usage_lock import take_usage_lock


def reissue(invoice_id: uuid.UUID, *, reason: str, now: dt.datetime) -> Invoice:
    """Void an unpaid invoice and return the draft that takes its place. Raises InvoiceNotVoidable."""
    with transaction.atomic():
        invoice = Invoice.objects.get(pk=invoice_id)
        if invoice.kind == InvoiceKind.TOP_UP:
            raise InvoiceNotVoidable(f"invoice {invoice} sells credit: void it, and sell anew")
        _hold_billing(invoice.customer_id)
        _settle_what_was_read(invoice.customer_id, now)
        voided = void_invoice(invoice_id, reason=reason, now=now)
        draft = _one_off_again(voided, now) if voided.subscription_id is None else draft_again(voided, now=now)
        _copy_manual_lines(voided, draft, now)
        return Invoice.objects.get(pk=draft.pk)


def _hold_billing(customer_id: uuid.UUID) -> None:
    """Until this is committed, no bill run reckons with lines of the customer that are being replaced."""
    schedules = BillingSchedule.objects.filter(subscription__customer=customer_id).order_by("pk")
    list(schedules.select_for_update(of=["self"]))


def _settle_what_was_read(customer_id: uuid.UUID, now: dt.datetime) -> None:
    """What came in late for periods that were counted before is counted now; the late days wait for the next bill."""
    take_usage_lock(customer_id)
    catch_up([customer_id], now=now)
    reading = MeterReading.objects.filter(customer=customer_id).first()
    if reading is not None:
        settle_customers([customer_id], as_of=reading.read_to)


def _one_off_again(voided: Invoice, now: dt.datetime) -> Invoice:
    return Invoice.objects.create(
        customer=voided.customer,
        kind=voided.kind,
        ordinal=voided.ordinal + 1,
        currency=voided.currency,
        period_start=now,
        period_end=now,
        counted_at=now,
        reissue_of=voided,
        created_at=now,
    )


def _copy_manual_lines(voided: Invoice, draft: Invoice, now: dt.datetime) -> None:
    """One-off lines as they are; discounts as they were promised, of what the draft comes to now."""
    old_lines = list(voided.lines.all())
    copies = _counterparts(old_lines, list(draft.lines.all()))
    for line in old_lines:
        if is_manual(line) and line.kind == LineKind.ONE_OFF:
            assert line.unit_amount is not None
            copies[line.pk] = add_line(
                draft.pk,
                description=line.description,
                quantity=line.quantity,
                unit_amount=line.unit_amount,
                now=now,
            ).pk
    for line in old_lines:
        if is_manual(line) and line.kind == LineKind.DISCOUNT:
            _discount_again(line, draft, copies, now)


def _counterparts(old: list[InvoiceLine], new: list[InvoiceLine]) -> dict[uuid.UUID, uuid.UUID]:
    """By the old line's id, the line of the draft that bills the same in its place."""
    in_place = {_what(line): line.pk for line in reversed(new) if not is_manual(line)}
    return {line.pk: in_place[_what(line)] for line in old if _what(line) in in_place}


def _what(line: InvoiceLine) -> tuple[object, ...]:
    of = (line.subscription_id, line.period_index, line.phase_id, line.redemption_id)
    return line.kind, *of, line.tier, line.details.get("tier")  # the latter tells hours of the day apart


def _discount_again(
    discount: InvoiceLine, draft: Invoice, copies: dict[uuid.UUID, uuid.UUID], now: dt.datetime
) -> None:
    """A discount on a line that is not billed any more, or on nothing, has gone with it."""
    percent, amount = (discount.details.get(name) for name in ("percent", "amount"))
    line_id = None
    if discount.details["on"] == "line":
        (old_id,) = allocation_of(discount)
        line_id = copies.get(old_id)
        if line_id is None:
            return
    with contextlib.suppress(NothingToDiscount):
        add_discount(
            draft.pk,
            description=discount.description,
            percent=None if percent is None else Decimal(percent),
            amount=None if amount is None else Decimal(amount),
            line_id=line_id,
            now=now,
        )
