"""What does an invoice charge for? The lines of a draft; each amount is an integer of minor units."""

from decimal import ROUND_HALF_UP, Decimal

from sandbox import stripe_objects as shapes
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_invoices import need_draft, save_draft
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object

MAX_LINES = 250
PLAYED = {
    "amount",
    "description",
    "discountable",
    "metadata",
    "period",
    "price_data",
    "quantity",
    "quantity_decimal",
}


def add(desk: Desk, params: Params, wanted: str) -> Object:
    """`POST /v1/invoices/{invoice}/add_lines`."""
    invoice = need_draft(desk, wanted)
    if desk.store.count("line_item", invoice=wanted) + len(params["lines"]) > MAX_LINES:
        raise Refusal(400, f"Invoices can have at most {MAX_LINES} line items.", param="lines")
    for place, given in enumerate(params["lines"]):
        line = shapes.line(desk.new_id("il"), desk.new_id("ii"), invoice)
        _fill(line, given, f"lines[{place}]", needs_amount=True)
        desk.save(line)
    merge_metadata(invoice, params.get("invoice_metadata"))
    return save_draft(desk, invoice)


def update_many(desk: Desk, params: Params, wanted: str) -> Object:
    """`POST /v1/invoices/{invoice}/update_lines`."""
    invoice = need_draft(desk, wanted)
    for place, given in enumerate(params["lines"]):
        changes = {name: value for name, value in given.items() if name != "id"}
        _change(desk, wanted, given["id"], changes, f"lines[{place}]")
    merge_metadata(invoice, params.get("invoice_metadata"))
    return save_draft(desk, invoice)


def update_one(desk: Desk, params: Params, wanted: str, line: str) -> Object:
    """`POST /v1/invoices/{invoice}/lines/{line_item}`."""
    invoice = need_draft(desk, wanted)
    changes = {name: value for name, value in params.items() if name != "expand"}
    changed = _change(desk, wanted, line, changes, "")
    save_draft(desk, invoice)
    return changed


def remove(desk: Desk, params: Params, wanted: str) -> Object:
    """`POST /v1/invoices/{invoice}/remove_lines`."""
    invoice = need_draft(desk, wanted)
    for given in params["lines"]:
        desk.store.remove(_line(desk, wanted, given["id"])["id"])
    merge_metadata(invoice, params.get("invoice_metadata"))
    return save_draft(desk, invoice)


def _line(desk: Desk, invoice: str, wanted: str) -> Object:
    line = desk.store.get(wanted)
    if line is None or line["object"] != "line_item" or line["invoice"] != invoice:
        raise missing("invoice line item", wanted, "lines")
    return line


def _change(desk: Desk, invoice: str, wanted: str, given: Params, param: str) -> Object:
    line = _line(desk, invoice, wanted)
    _fill(line, given, param, needs_amount=False)
    desk.save(line)
    return line


def _fill(line: Object, given: Params, param: str, *, needs_amount: bool) -> None:
    for name in given:
        if name not in PLAYED:
            raise not_played(f"an invoice line's {name}", f"{param}[{name}]")
    if "amount" in given and "price_data" in given:
        raise Refusal(
            400,
            "You may only specify one of these parameters: amount, price_data.",
            code="parameters_exclusive",
        )
    line["description"] = given.get("description") or line["description"]
    line["discountable"] = given.get("discountable", line["discountable"])
    if "period" in given:
        if given["period"]["end"] < given["period"]["start"]:
            raise Refusal(400, "The period end must not be before its start.", param=f"{param}[period]")
        line["period"] = given["period"]
    if "price_data" in given:
        _price(line, given, param)
    elif "amount" in given:
        _flat(line, given, param)
    elif needs_amount:
        raise Refusal(
            400, "You must specify an amount or a price for each line.", code="parameter_missing", param=param
        )
    merge_metadata(line, given.get("metadata"))


def _flat(line: Object, given: Params, param: str) -> None:
    if "quantity" in given or "quantity_decimal" in given:
        raise Refusal(
            400,
            "You may only specify one of these parameters: amount, quantity.",
            code="parameters_exclusive",
            param=param,
        )
    line["amount"] = line["subtotal"] = given["amount"]
    line["pricing"] = None


def _price(line: Object, given: Params, param: str) -> None:
    price = given["price_data"]
    if price["currency"].lower() != line["currency"]:
        raise Refusal(400, "The currency of the price must be the invoice's.", param=f"{param}[price_data][currency]")
    if ("unit_amount" in price) == ("unit_amount_decimal" in price):
        raise Refusal(400, "Give exactly one of unit_amount and unit_amount_decimal.", param=f"{param}[price_data]")
    unit = Decimal(price["unit_amount"]) if "unit_amount" in price else price["unit_amount_decimal"]
    quantity = given["quantity_decimal"] if "quantity_decimal" in given else Decimal(given.get("quantity", 1))
    amount = int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))
    product = price.get("product") or f"prod_{line['id'].removeprefix('il_')}"
    line["amount"] = line["subtotal"] = amount
    line["quantity"], line["quantity_decimal"] = int(quantity), str(quantity)
    line["pricing"] = {
        "price_details": {"price": f"price_{line['id'].removeprefix('il_')}", "product": product},
        "type": "price_details",
        "unit_amount_decimal": str(unit),
    }
    line["description"] = line["description"] or price.get("product_data", {}).get("name")
