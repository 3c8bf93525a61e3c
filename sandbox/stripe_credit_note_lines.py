"""What does a credit note take back? Its lines: a sum, a part of an invoice's line, or something of its own."""

from decimal import ROUND_HALF_UP, Decimal

from sandbox import stripe_back_objects as shapes
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object

PLAYED = {
    "amount", "description", "invoice_line_item", "metadata", "quantity", "type", "unit_amount", "unit_amount_decimal",
}  # fmt: skip
ONLY_CUSTOM = ("description", "unit_amount", "unit_amount_decimal")
ONLY_INVOICED = ("amount", "invoice_line_item")


def lines_of(desk: Desk, invoice: Object, params: Params) -> list[Object]:
    """The lines for the given parameters; amounts in minor units."""
    if "lines" not in params:
        if "amount" not in params:
            raise Refusal(400, "One of amount, lines, or shipping_cost must be provided.", code="parameter_missing")
        line = shapes.credit_note_line(desk.new_id("cnli"), params["amount"])
        return [{**line, "description": f"Credit for invoice {invoice['number']}", "quantity": 1}]
    lines = [_line(desk, invoice, given, f"lines[{place}]") for place, given in enumerate(params["lines"])]
    if "amount" in params and params["amount"] != sum(line["amount"] for line in lines):
        raise Refusal(400, "The amount must equal the sum of the lines.", param="amount")
    return lines


def _line(desk: Desk, invoice: Object, given: Params, param: str) -> Object:
    custom = given["type"] == "custom_line_item"
    for name in given:
        if name not in PLAYED:
            raise not_played(f"a credit note line's {name}", f"{param}[{name}]")
        if name in (ONLY_INVOICED if custom else ONLY_CUSTOM):
            raise Refusal(400, f"You can't give {name} for a line of type {given['type']}.", param=f"{param}[{name}]")
    if given.get("quantity", 1) < 1:
        raise Refusal(400, "Invalid positive integer", code="parameter_invalid_integer", param=f"{param}[quantity]")
    line = _custom(desk, given, param) if custom else _invoiced(desk, invoice, given, param)
    merge_metadata(line, given.get("metadata"))
    return line


def _custom(desk: Desk, given: Params, param: str) -> Object:
    if ("unit_amount" in given) == ("unit_amount_decimal" in given):
        raise Refusal(400, "Give exactly one of unit_amount and unit_amount_decimal.", param=param)
    unit = Decimal(given["unit_amount"]) if "unit_amount" in given else given["unit_amount_decimal"]
    quantity = given.get("quantity", 1)
    amount = int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))
    line = shapes.credit_note_line(desk.new_id("cnli"), amount)
    line.update(description=given.get("description"), quantity=quantity, unit_amount=given.get("unit_amount"))
    line["unit_amount_decimal"] = str(unit)
    return line


def _invoiced(desk: Desk, invoice: Object, given: Params, param: str) -> Object:
    credited = desk.store.get(given.get("invoice_line_item", ""))
    if credited is None or credited.get("invoice") != invoice["id"]:
        raise missing("invoice line item", given.get("invoice_line_item", ""), f"{param}[invoice_line_item]")
    if ("amount" in given) == ("quantity" in given):
        raise Refusal(400, "Give exactly one of amount and quantity.", code="parameters_exclusive", param=param)
    if given.get("quantity", 1) > credited["quantity"]:
        raise Refusal(400, "The credit is larger than the invoice line.", param=f"{param}[quantity]")
    part = Decimal(credited["amount"]) * given.get("quantity", 1) / credited["quantity"]
    amount = given.get("amount", int(part.quantize(Decimal(1), ROUND_HALF_UP)))
    if amount > credited["amount"]:
        raise Refusal(400, "The credit is larger than the invoice line.", param=f"{param}[amount]")
    line = shapes.credit_note_line(desk.new_id("cnli"), amount)
    line.update(type="invoice_line_item", invoice_line_item=credited["id"], description=credited["description"])
    line["quantity"] = given.get("quantity")
    return line
