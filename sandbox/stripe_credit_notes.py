"""What is taken back from a finalized invoice? Credit notes, which together never exceed it."""

from sandbox import stripe_objects as shapes
from sandbox.stripe_customers import move_balance
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_invoices import close_payment, mark_paid
from sandbox.stripe_payments import give_back
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object

PLAYED = {
    "amount", "credit_amount", "effective_at", "email_type", "expand", "invoice", "lines", "memo", "metadata",
    "out_of_band_amount", "reason", "refund_amount",
}  # fmt: skip
PLAYED_LINE = {"amount", "description", "invoice_line_item", "metadata", "quantity", "type", "unit_amount"}


def create(desk: Desk, params: Params) -> Object:
    """Lowers what an open invoice asks for; of a paid one, refunds or puts on the balance."""
    for name in params:
        if name not in PLAYED:
            raise not_played(f"the credit note's {name}", name)
    invoice = desk.need("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise Refusal(400, f"You can't credit an invoice that is {invoice['status']}.", param="invoice")
    lines = _lines(desk, invoice, params)
    amount = sum(line["amount"] for line in lines)
    _check_amount(desk, invoice, params, amount)
    earlier = desk.store.count("credit_note", invoice=invoice["id"])
    note = shapes.credit_note(desk.new_id("cn"), desk.now, invoice, f"{invoice['number']}-CN-{earlier + 1:02d}", amount)
    note.update(lines=lines, memo=params.get("memo"), reason=params.get("reason"))
    note["effective_at"] = params.get("effective_at", desk.now)
    merge_metadata(note, params.get("metadata"))
    if invoice["status"] == "paid":
        _credit_paid(desk, invoice, note, params)
    else:
        _credit_open(desk, invoice, note, params)
    desk.save(note)
    desk.emit("credit_note.created", note)
    return note


def void(desk: Desk, params: Params, wanted: str) -> Object:
    """Takes a credit note back; only while its invoice is open."""
    note = desk.need("credit_note", wanted)
    invoice = desk.need("invoice", note["invoice"])
    if note["status"] == "void" or invoice["status"] != "open":
        raise Refusal(400, "You can only void a credit note that is issued for an open invoice.")
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    invoice["amount_due"] += note["amount"]
    invoice["amount_remaining"] += note["amount"]
    note.update(status="void", voided_at=desk.now)
    desk.save(invoice)
    desk.save(note)
    desk.emit("credit_note.voided", note)
    return note


def update(desk: Desk, params: Params, wanted: str) -> Object:
    note = desk.need("credit_note", wanted)
    note["memo"] = params.get("memo", note["memo"])
    merge_metadata(note, params.get("metadata"))
    desk.save(note)
    desk.emit("credit_note.updated", note)
    return note


def _lines(desk: Desk, invoice: Object, params: Params) -> list[Object]:
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
    for name in given:
        if name not in PLAYED_LINE:
            raise not_played(f"a credit note line's {name}", f"{param}[{name}]")
    quantity = given.get("quantity", 1)
    amount = given.get("amount", given.get("unit_amount", 0) * quantity)
    if given["type"] == "invoice_line_item":
        credited = desk.store.get(given.get("invoice_line_item", ""))
        if credited is None or credited.get("invoice") != invoice["id"]:
            raise missing("invoice line item", given.get("invoice_line_item", ""), f"{param}[invoice_line_item]")
        amount = given.get("amount", credited["amount"])
        if amount > credited["amount"]:
            raise Refusal(400, "The credit is larger than the invoice line.", param=f"{param}[amount]")
    line = shapes.credit_note_line(desk.new_id("cnli"), amount)
    line.update(type=given["type"], quantity=quantity, description=given.get("description"))
    line.update(unit_amount=given.get("unit_amount"), invoice_line_item=given.get("invoice_line_item"))
    merge_metadata(line, given.get("metadata"))
    return line


def _check_amount(desk: Desk, invoice: Object, params: Params, amount: int) -> None:
    if amount <= 0:
        raise Refusal(400, "The credit note amount must be positive.", param="amount")
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    most = invoice["total"] - credited if invoice["status"] == "paid" else invoice["amount_remaining"]
    if amount > most:
        raise Refusal(
            400,
            f"The sum of credit notes can't exceed the invoice: {amount} of at most {most} left.",
            param="amount",
        )


def _credit_open(desk: Desk, invoice: Object, note: Object, params: Params) -> None:
    for name in ("refund_amount", "credit_amount", "out_of_band_amount"):
        if params.get(name):
            raise Refusal(400, f"{name} is only for a paid invoice.", param=name)
    note["pre_payment_amount"] = note["amount"]
    invoice["pre_payment_credit_notes_amount"] += note["amount"]
    invoice["amount_due"] -= note["amount"]
    invoice["amount_remaining"] -= note["amount"]
    desk.save(invoice)
    if invoice["amount_remaining"] == 0:
        close_payment(desk, invoice, "abandoned")
        mark_paid(desk, invoice)
    else:
        desk.emit("invoice.updated", invoice)


def _credit_paid(desk: Desk, invoice: Object, note: Object, params: Params) -> None:
    parts = {name: params.get(name, 0) for name in ("refund_amount", "credit_amount", "out_of_band_amount")}
    if min(parts.values()) < 0 or sum(parts.values()) != note["amount"]:
        raise Refusal(
            400,
            f"The sum of refund_amount, credit_amount and out_of_band_amount must equal the credit note amount"
            f" ({note['amount']}).",
        )
    note.update(type="post_payment", post_payment_amount=note["amount"])
    note["out_of_band_amount"] = parts["out_of_band_amount"] or None
    if parts["refund_amount"]:
        note["refunds"] = [_refunded(desk, invoice, parts["refund_amount"])]
    if parts["credit_amount"]:
        move_balance(
            desk,
            invoice["customer"],
            invoice["currency"],
            -parts["credit_amount"],
            "credit_note",
            credit_note=note["id"],
        )
        moves = desk.store.find("customer_balance_transaction", {"credit_note": note["id"]})
        note["customer_balance_transaction"] = moves[0]["id"] if moves else None
    invoice["post_payment_credit_notes_amount"] += note["amount"]
    desk.save(invoice)
    desk.emit("invoice.updated", invoice)


def _refunded(desk: Desk, invoice: Object, amount: int) -> Object:
    payments = desk.store.find("invoice_payment", {"invoice": invoice["id"], "status": "paid"})
    if not payments:
        raise Refusal(400, "There is no charge to refund on this invoice.", param="refund_amount")
    intent = desk.need("payment_intent", payments[0]["payment"]["payment_intent"])
    refund = give_back(desk, desk.need("charge", intent["latest_charge"]), amount)
    return {
        "amount_refunded": amount,
        "refund": refund["id"],
        "payment_record_refund": None,
        "type": "refund",
    }
