"""What may still be changed on a draft? An operator's own lines and discounts, until it is finalized.

What usage and agreement brought stays as it is. An edit holds the invoice's row, as finalizing does: of the two at
once, the edit is on the bill or is refused, never lost. A discount is reckoned when it is given, of what is there then.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from decimal import Decimal, localcontext

from django.db import transaction
from django.db.models import F

from billing.finalizing import InvoiceAlreadyFinalized
from billing.manual_discounts import NoSuchLine, Reduction, allocation_of, discount_line, is_manual_discount
from billing.models import Coupon, Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineKind
from plans.money import EXACT, format_amount, to_minor

MOST_LINES = 200
"""On an invoice to which lines are added by hand; Stripe takes 250."""
LARGEST_AMOUNT = 10**12
"""Of one line, in minor units."""
OUT_OF_THE_WAY = 10_000
"""Added to positions while lines are put into a new order: no two may have the same one, not even for a moment."""
ORDER = tuple(LineKind)
"""The order of the sum; among discounts, those on some lines come before those on all."""


class InvoiceNotEditable(Exception):
    """Credit is sold for what it is worth: nothing is added to a top-up, or taken off it."""


class InvalidLine(ValueError):
    """The line cannot be so; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


class LineNotRemovable(Exception):
    """The line follows from usage or agreement, or a discount is given on it."""


class TooManyLines(Exception):
    """The invoice has as many lines as it may have."""


def add_line(
    invoice_id: uuid.UUID, *, description: str, quantity: int, unit_amount: Decimal, now: dt.datetime
) -> InvoiceLine:
    """Bill `quantity` times `unit_amount` (major units, not negative) once, on a draft.

    Raises InvoiceAlreadyFinalized, InvoiceNotEditable, InvalidLine, TooManyLines.
    """
    with transaction.atomic():
        draft = lock_draft(invoice_id)
        line = one_off_line(draft, description, quantity, unit_amount, now)
        write_lines(draft, [*lines_of(draft), line])
        return line


def add_discount(
    invoice_id: uuid.UUID,
    *,
    description: str,
    now: dt.datetime,
    percent: Decimal | None = None,
    amount: Decimal | None = None,
    line_id: uuid.UUID | None = None,
) -> InvoiceLine:
    """Take `percent` (10 is 10 %) or `amount` (major units) off one line of a draft, or off the draft as a whole.

    Raises InvoiceAlreadyFinalized, InvoiceNotEditable, InvalidReduction, NothingToDiscount, TooManyLines,
    NoSuchLine.
    """
    with transaction.atomic():
        draft = lock_draft(invoice_id)
        reduction = Reduction(currency=draft.currency, percent=percent, amount=amount)
        lines = lines_of(draft)
        line = discount_line(lines, reduction, line_id)
        line.invoice, line.description = draft, description
        line.period_start = line.period_end = now
        write_lines(draft, [*lines, line])
        return line


def remove_line(invoice_id: uuid.UUID, line_id: uuid.UUID) -> None:
    """Take a line that was added by hand off a draft again.

    Raises InvoiceAlreadyFinalized, InvoiceNotEditable, LineNotRemovable, NoSuchLine.
    """
    with transaction.atomic():
        draft = lock_draft(invoice_id)
        lines = {line.pk: line for line in lines_of(draft)}
        if line_id not in lines:
            raise NoSuchLine("The invoice has no such line.")
        line = lines.pop(line_id)
        if not is_manual(line):
            raise LineNotRemovable("only lines that were added by hand can be removed")
        if any(line_id in allocation_of(other) for other in lines.values() if is_manual_discount(other)):
            raise LineNotRemovable("a discount is given on the line; remove that first")
        line.delete()
        write_lines(draft, lines.values())


def is_manual(line: InvoiceLine) -> bool:
    """Whether an operator added the line."""
    return line.kind == LineKind.ONE_OFF or is_manual_discount(line)


def lock_draft(invoice_id: uuid.UUID) -> Invoice:
    """The draft, held until the transaction ends. Raises InvoiceAlreadyFinalized, InvoiceNotEditable."""
    invoice = Invoice.objects.select_for_update(of=["self"]).select_related("customer").get(pk=invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvoiceAlreadyFinalized(f"invoice {invoice} is {invoice.status}")
    if invoice.kind == InvoiceKind.TOP_UP:
        raise InvoiceNotEditable("a top-up sells credit for what it is worth, and stays as it is")
    return invoice


def lines_of(draft: Invoice) -> list[InvoiceLine]:
    """Its lines as they stand, each with what it takes to put it into its place."""
    return list(draft.lines.select_related("redemption__coupon"))


def write_lines(draft: Invoice, lines: Iterable[InvoiceLine]) -> None:
    """Make these the lines of a locked draft, in the order of the sum. Its subtotal follows, its tax is open again."""
    in_order = sorted(lines, key=lambda line: (ORDER.index(LineKind(line.kind)), _is_on_all(line)))
    added = [line for line in in_order if line._state.adding]
    if added and len(in_order) > MOST_LINES:
        raise TooManyLines(f"by hand an invoice can be filled up to {MOST_LINES} lines")
    draft.lines.update(position=F("position") + OUT_OF_THE_WAY)
    for position, line in enumerate(in_order):
        line.position = position
    InvoiceLine.objects.bulk_update([line for line in in_order if not line._state.adding], ["position"])
    InvoiceLine.objects.bulk_create(added)
    draft.subtotal = draft.total = sum(line.amount for line in in_order)
    draft.tax = draft.tax_percent = None
    draft.tax_name = draft.tax_reference = ""
    draft.tax_inclusive = False
    draft.save()


def one_off_line(
    draft: Invoice, description: str, quantity: int, unit_amount: Decimal, now: dt.datetime
) -> InvoiceLine:
    """A line that is billed once, rounded here. Raises InvalidLine."""
    with localcontext(EXACT):
        amount = to_minor(quantity * unit_amount, draft.currency)
    if quantity < 1:
        raise InvalidLine("/quantity", "at least 1")
    if unit_amount < 0:
        raise InvalidLine("/unit_amount", "not negative: what is taken off is a discount")
    if amount > LARGEST_AMOUNT:
        most = format_amount(LARGEST_AMOUNT, draft.currency)
        raise InvalidLine("/unit_amount", f"the line comes to more than {most} {draft.currency}")
    return InvoiceLine(
        invoice=draft,
        kind=LineKind.ONE_OFF,
        description=description,
        quantity=quantity,
        unit_amount=unit_amount,
        amount=amount,
        period_start=now,
        period_end=now,
    )


def _is_on_all(line: InvoiceLine) -> bool:
    """Whether it is a discount on all lines, by hand or by a coupon."""
    if line.redemption is not None:
        return line.redemption.coupon.applies_to == Coupon.Scope.ALL
    return bool(line.details.get("on") == "all")
