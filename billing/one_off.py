"""What is billed beside any subscription? Invoices of lines that an operator writes."""

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from billing.editing import InvalidLine, lock_draft, one_off_line, write_lines
from billing.finalizing import finalize_invoice
from billing.models import Invoice, InvoiceKind
from plans.models import Customer


class NotAOneOff(Exception):
    """Only an invoice that was written by hand can be thrown away."""


class OneOff(NamedTuple):
    """`quantity` times `unit_amount`, in major units."""

    description: str
    quantity: int
    unit_amount: Decimal


def draft_one_off(customer: Customer, lines: Sequence[OneOff], *, now: dt.datetime, finalize: bool = False) -> Invoice:
    """An invoice of these lines, in the customer's currency; a draft unless it is to be finalized at once.

    Raises InvalidLine, whose pointers begin with /lines, and TooManyLines.
    """
    with transaction.atomic():
        draft = Invoice.objects.create(
            customer=customer,
            kind=InvoiceKind.ONE_OFF,
            currency=customer.currency,
            period_start=now,
            period_end=now,
            counted_at=now,
            created_at=now,
        )
        written = []
        for index, line in enumerate(lines):
            try:
                written.append(one_off_line(draft, *line, now))
            except InvalidLine as error:
                raise InvalidLine(f"/lines/{index}{error.errors[0][0]}", str(error)) from error
        write_lines(draft, written)
        return finalize_invoice(draft.pk, now=now) if finalize else draft


def discard_one_off(invoice_id: uuid.UUID) -> None:
    """Throw a one-off draft away. Raises InvoiceAlreadyFinalized, InvoiceNotEditable, NotAOneOff."""
    with transaction.atomic():
        draft = lock_draft(invoice_id)
        if draft.kind != InvoiceKind.ONE_OFF:
            raise NotAOneOff("the draft bills what was agreed; only one-off drafts can be thrown away")
        draft.delete()
