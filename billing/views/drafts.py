"""`/v1/invoices/{id}/lines` and `/discounts`: what an operator adds to a draft, or takes off it again."""

import uuid
from decimal import Decimal
from typing import Annotated

from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.endpoints import Answer, Endpoint, operation
from api.strict_json import Body, Price
from billing.editing import (
    InvalidLine,
    InvoiceNotEditable,
    LineNotRemovable,
    TooManyLines,
    add_discount,
    add_line,
    remove_line,
)
from billing.finalizing import InvoiceAlreadyFinalized
from billing.manual_discounts import InvalidReduction, NoSuchLine, NothingToDiscount
from billing.views.coupons import Percent
from billing.views.invoices import InvoiceOut, NewLine, get_invoice, invoice_out

Description = Annotated[str, Meta(min_length=1, max_length=500)]
EDITING = {InvoiceAlreadyFinalized: 409, InvoiceNotEditable: 409, TooManyLines: 409}


class NewInvoiceDiscount(Body):
    """`percent` or `amount` off one `line` (its id), or off the draft as a whole."""

    description: Description
    percent: Percent | None = None
    amount: Price | None = None
    line: uuid.UUID | None = None


class InvoiceLines(Endpoint):
    """`/v1/invoices/{id}/lines`"""

    @operation(
        scope="manage",
        body=NewLine,
        returns=InvoiceOut,
        status=201,
        problems={**EDITING, InvalidLine: 400},
        summary="Add a line to a draft",
    )
    def post(self, request: Request, invoice_id: uuid.UUID, body: NewLine) -> Answer:
        add_line(
            get_invoice(invoice_id).pk,
            description=body.description,
            quantity=body.quantity,
            unit_amount=Decimal(body.unit_amount),
            now=timezone.now(),
        )
        return Answer(invoice_out(get_invoice(invoice_id)), location=f"/v1/invoices/{invoice_id}")


class OneInvoiceLine(Endpoint):
    """`/v1/invoices/{id}/lines/{id}`"""

    @operation(
        scope="manage",
        status=204,
        problems={**EDITING, LineNotRemovable: 409, NoSuchLine: 404},
        summary="Remove a line from a draft",
        description="Only one that was added by hand, and on which no discount is given.",
    )
    def delete(self, request: Request, invoice_id: uuid.UUID, line_id: uuid.UUID) -> None:
        remove_line(get_invoice(invoice_id).pk, line_id)


class InvoiceDiscounts(Endpoint):
    """`/v1/invoices/{id}/discounts`"""

    @operation(
        scope="manage",
        body=NewInvoiceDiscount,
        returns=InvoiceOut,
        status=201,
        problems={**EDITING, NothingToDiscount: 409, InvalidReduction: 400, NoSuchLine: 404},
        summary="Take a discount off a draft",
        description="It is reckoned now, on what other discounts have left, and is never more than that.",
    )
    def post(self, request: Request, invoice_id: uuid.UUID, body: NewInvoiceDiscount) -> Answer:
        add_discount(
            get_invoice(invoice_id).pk,
            description=body.description,
            percent=None if body.percent is None else Decimal(body.percent),
            amount=None if body.amount is None else Decimal(body.amount),
            line_id=body.line,
            now=timezone.now(),
        )
        return Answer(invoice_out(get_invoice(invoice_id)), location=f"/v1/invoices/{invoice_id}")
