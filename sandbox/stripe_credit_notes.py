"""What is taken back from a finalized invoice? Credit notes, which together never exceed it.

A note first lowers what is still asked for (`pre_payment_amount`); what is more than that (`post_payment_amount`) is
refunded, put on the customer's balance or given back outside of Stripe, and the caller says how much of each.
"""

from sandbox import stripe_back_objects as shapes
from sandbox.stripe_credit_note_lines import lines_of
from sandbox.stripe_customers import move_balance
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_invoices import close_payment, mark_paid
from sandbox.stripe_refunds import give_back, not_failed
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object

WAYS_BACK = ("refund_amount", "credit_amount", "out_of_band_amount")
PLAYED = {
    *WAYS_BACK, "amount", "effective_at", "email_type", "expand", "invoice", "lines", "memo", "metadata", "reason",
    "refunds",
}  # fmt: skip
PLAYED_LINK = {"amount_refunded", "refund", "type"}


def create(desk: Desk, params: Params) -> Object:
    """`POST /v1/credit_notes`."""
    note, invoice = _composed(desk, params)
    if note["pre_payment_amount"]:
        invoice["amount_due"] -= note["pre_payment_amount"]
        invoice["amount_remaining"] -= note["pre_payment_amount"]
    if params.get("refund_amount"):
        note["refunds"].append(_refunded(desk, invoice, params["refund_amount"]))
    if params.get("credit_amount"):
        note["customer_balance_transaction"] = _credited(desk, invoice, note, params["credit_amount"])
    for name in ("pre_payment", "post_payment"):
        invoice[f"{name}_credit_notes_amount"] += note[f"{name}_amount"]
    desk.save(invoice)
    desk.save(note)
    desk.emit("credit_note.created", note)
    if note["pre_payment_amount"] and invoice["amount_remaining"] == 0:
        close_payment(desk, invoice, "abandoned")
        mark_paid(desk, invoice)
    else:
        desk.emit("invoice.updated", invoice)
    return note


def preview(desk: Desk, params: Params) -> Object:
    """`GET /v1/credit_notes/preview`: the note as it would be, refused where it would be; nothing is kept."""
    note, _ = _composed(desk, params)
    return note


def preview_lines(desk: Desk, params: Params) -> list[Object]:
    lines: list[Object] = preview(desk, params)["lines"]
    return lines


def void(desk: Desk, params: Params, wanted: str) -> Object:
    """Takes a credit note back; only while its invoice is open."""
    note = desk.need("credit_note", wanted)
    invoice = desk.need("invoice", note["invoice"])
    if note["status"] == "void" or note["type"] != "pre_payment" or invoice["status"] != "open":
        raise Refusal(400, "You can only void a credit note that is issued for an open invoice.")
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    invoice["amount_due"] += note["amount"]
    invoice["amount_remaining"] += note["amount"]
    note.update(status="void", voided_at=desk.now)
    desk.save(invoice)
    desk.save(note)
    desk.emit("credit_note.voided", note)
    desk.emit("invoice.updated", invoice)
    return note


def update(desk: Desk, params: Params, wanted: str) -> Object:
    note = desk.need("credit_note", wanted)
    note["memo"] = params.get("memo", note["memo"])
    merge_metadata(note, params.get("metadata"))
    desk.save(note)
    desk.emit("credit_note.updated", note)
    return note


def _composed(desk: Desk, params: Params) -> tuple[Object, Object]:
    """The note before any money moves, and its invoice."""
    for name in params:
        if name not in PLAYED:
            raise not_played(f"the credit note's {name}", name)
    invoice = desk.need("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise Refusal(400, f"You can't credit an invoice that is {invoice['status']}.", param="invoice")
    lines = lines_of(desk, invoice, params)
    amount = sum(line["amount"] for line in lines)
    links = [_link(desk, invoice, link, place) for place, link in enumerate(params.get("refunds", []))]
    _check_amount(desk, invoice, amount, links)
    earlier = desk.store.count("credit_note", invoice=invoice["id"])
    note = shapes.credit_note(desk.new_id("cn"), desk.now, invoice, f"{invoice['number']}-CN-{earlier + 1:02d}", amount)
    note.update(lines=lines, refunds=links, memo=params.get("memo"), reason=params.get("reason"))
    note["effective_at"] = params.get("effective_at", desk.now)
    merge_metadata(note, params.get("metadata"))
    _divide(note, invoice, params)
    return note, invoice


def _divide(note: Object, invoice: Object, params: Params) -> None:
    before: int = min(note["amount"], invoice["amount_remaining"])
    after: int = note["amount"] - before
    ways = [params.get(name, 0) for name in WAYS_BACK]
    linked = sum(link["amount_refunded"] for link in note["refunds"])
    if min(ways) < 0 or sum(ways) + linked != after:
        raise Refusal(
            400,
            "The sum of refunds, credit_amount and out_of_band_amount must equal the credit note's post payment amount"
            f" ({after}).",
        )
    note.update(pre_payment_amount=before, post_payment_amount=after)
    note["type"] = "mixed" if before and after else "post_payment" if after else "pre_payment"
    note["out_of_band_amount"] = params.get("out_of_band_amount") or None


def _check_amount(desk: Desk, invoice: Object, amount: int, links: list[Object]) -> None:
    if amount <= 0:
        raise Refusal(400, "The credit note amount must be positive.", param="amount")
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    most = invoice["total"] - credited - _refunded_apart(desk, invoice, links)
    if amount > most:
        raise Refusal(
            400,
            f"The sum of credit notes can't exceed the invoice: {amount} of at most {most} left.",
            param="amount",
        )


def _refunded_apart(desk: Desk, invoice: Object, links: list[Object]) -> int:
    """What was refunded of the invoice's payment without any credit note, this one included."""
    charge = _charge_of(desk, invoice)
    if charge is None:
        return 0
    refunded: int = sum(made["amount"] for made in not_failed(desk, charge["id"]))
    linked = links + _links_before(desk, invoice)
    accounted: int = sum(link["amount_refunded"] for link in linked if _is_alive(desk, link))
    return refunded - accounted


def _links_before(desk: Desk, invoice: Object) -> list[Object]:
    notes = desk.store.find("credit_note", {"invoice": invoice["id"]})
    return [link for note in notes for link in note["refunds"]]


def _is_alive(desk: Desk, link: Object) -> bool:
    return bool(desk.need("refund", link["refund"])["status"] != "failed")


def _link(desk: Desk, invoice: Object, given: Params, place: int) -> Object:
    """An existing refund that the note accounts for."""
    param = f"refunds[{place}]"
    for name in given:
        if name not in PLAYED_LINK:
            raise not_played(f"a linked refund's {name}", f"{param}[{name}]")
    made = desk.need("refund", given.get("refund", ""), f"{param}[refund]")
    charge = _charge_of(desk, invoice)
    if charge is None or made["charge"] != charge["id"]:
        raise missing("refund", made["id"], f"{param}[refund]")
    linked = sum(link["amount_refunded"] for link in _links_before(desk, invoice) if link["refund"] == made["id"])
    amount: int = given.get("amount_refunded") or made["amount"]
    if made["status"] == "failed" or not 0 < amount <= made["amount"] - linked:
        raise Refusal(400, f"The refund {made['id']} has less to link than {amount}.", param=param)
    return shapes.credit_note_refund(made["id"], amount)


def _charge_of(desk: Desk, invoice: Object) -> Object | None:
    for payment in desk.store.find("invoice_payment", {"invoice": invoice["id"], "status": "paid"}):
        return desk.need("charge", desk.need("payment_intent", payment["payment"]["payment_intent"])["latest_charge"])
    return None


def _refunded(desk: Desk, invoice: Object, amount: int) -> Object:
    charge = _charge_of(desk, invoice)
    if charge is None:
        raise Refusal(400, "There is no charge to refund on this invoice.", param="refund_amount")
    return shapes.credit_note_refund(give_back(desk, charge, amount)["id"], amount)


def _credited(desk: Desk, invoice: Object, note: Object, amount: int) -> str:
    """Puts it on the balance; answers the id of the move."""
    customer, currency = invoice["customer"], invoice["currency"]
    move_balance(desk, customer, currency, -amount, "credit_note", credit_note=note["id"])
    return str(desk.store.find("customer_balance_transaction", {"credit_note": note["id"]})[-1]["id"])
