"""What is asked of the customer, and how far is it? An invoice from draft to open to paid, void or uncollectible."""

from sandbox import stripe_objects as shapes
from sandbox.stripe_customers import balance_of, card_of, move_balance
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_refusal import Refusal, not_played
from sandbox.stripe_store import NumberTaken, Object

DAY, HOUR = 86_400, 3_600
# The least a card can be charged, in minor units; less is carried to the customer's balance.
LEAST_CHARGE = {
    "usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50,
    "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
EDITABLE_WHEN_OPEN = {"auto_advance", "default_payment_method", "expand", "metadata"}
PLAIN = ("description", "footer", "statement_descriptor", "effective_at")
PLAYED = {
    *EDITABLE_WHEN_OPEN, *PLAIN, "automatic_tax", "automatically_finalizes_at", "collection_method", "currency",
    "customer", "days_until_due", "discounts", "due_date", "number", "payment_settings",
    "pending_invoice_items_behavior",
}  # fmt: skip


def create(desk: Desk, params: Params) -> Object:
    _only_played(params)
    if "customer" not in params:
        raise Refusal(400, "Missing required param: customer.", code="parameter_missing", param="customer")
    customer = desk.need_customer(params["customer"])
    currency = (params.get("currency") or customer["currency"] or "usd").lower()
    if customer["currency"] is None:
        customer["currency"] = currency
        desk.save(customer)
    invoice = shapes.invoice(desk.new_id("in"), desk.now, customer, currency)
    _fill(desk, invoice, params)
    _retotal(desk, invoice)
    _save(desk, invoice)
    desk.emit("invoice.created", invoice)
    return invoice


def update(desk: Desk, params: Params, wanted: str) -> Object:
    invoice = desk.need("invoice", wanted, "invoice")
    _only_played(params)
    if invoice["status"] != "draft" and not params.keys() <= EDITABLE_WHEN_OPEN:
        raise not_editable("Finalized invoices can't be updated in this way", min(params.keys() - EDITABLE_WHEN_OPEN))
    _fill(desk, invoice, params)
    if invoice["status"] == "draft":
        _retotal(desk, invoice)
    _save(desk, invoice)
    desk.emit("invoice.updated", invoice)
    return invoice


def delete(desk: Desk, params: Params, wanted: str) -> Object:
    """Only a draft can be deleted; it is gone with its lines."""
    invoice = need_draft(desk, wanted)
    for line in desk.lines_of(wanted):
        desk.store.remove(line["id"])
    desk.emit("invoice.deleted", invoice)
    desk.store.remove(wanted)
    return {"id": wanted, "object": "invoice", "deleted": True}


def finalize(desk: Desk, params: Params, wanted: str) -> Object:
    """Draft to open; to paid at once where nothing is left to charge. Applies the customer's balance."""
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["status"] != "draft":
        raise not_editable("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    invoice["auto_advance"] = params.get("auto_advance", invoice["auto_advance"])
    _retotal(desk, invoice)
    _number(desk, invoice)
    _apply_balance(desk, invoice)
    invoice["status"] = "open"
    invoice["automatically_finalizes_at"] = None
    invoice["effective_at"] = invoice["effective_at"] or desk.now
    invoice["status_transitions"]["finalized_at"] = desk.now
    invoice["hosted_invoice_url"] = f"https://invoice.stripe.example/i/{wanted}"
    invoice["invoice_pdf"] = f"https://invoice.stripe.example/i/{wanted}/pdf"
    if invoice["amount_due"] == 0:
        _save(desk, invoice)
        desk.emit("invoice.finalized", invoice)
        return mark_paid(desk, invoice)
    if invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically":
        invoice["next_payment_attempt"] = desk.now + HOUR
    intent = shapes.payment_intent(desk.new_id("pi"), desk.now, invoice)
    payment = shapes.invoice_payment(desk.new_id("inpay"), desk.now, invoice, intent["id"])
    for thing in (intent, payment):
        desk.save(thing)
    _save(desk, invoice)
    desk.emit("payment_intent.created", intent)
    desk.emit("invoice.finalized", invoice)
    return invoice


def void(desk: Desk, params: Params, wanted: str) -> Object:
    invoice = _need_status(desk, wanted, ("open", "uncollectible"), "voided")
    credit_used = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    close_payment(desk, invoice, "void_invoice")
    invoice["status"] = "void"
    invoice["status_transitions"]["voided_at"] = desk.now
    _stop(invoice)
    _save(desk, invoice)
    move_balance(desk, invoice["customer"], invoice["currency"], credit_used, "unapplied_from_invoice", invoice=wanted)
    desk.emit("invoice.voided", invoice)
    return invoice


def mark_uncollectible(desk: Desk, params: Params, wanted: str) -> Object:
    invoice = _need_status(desk, wanted, ("open",), "marked uncollectible")
    invoice["status"] = "uncollectible"
    invoice["status_transitions"]["marked_uncollectible_at"] = desk.now
    _stop(invoice)
    _save(desk, invoice)
    desk.emit("invoice.marked_uncollectible", invoice)
    return invoice


def send(desk: Desk, params: Params, wanted: str) -> Object:
    """Pretends to mail the invoice; a draft is finalized first, as Stripe does."""
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["collection_method"] != "send_invoice":
        raise Refusal(400, "You can only manually send an invoice if its collection method is 'send_invoice'.")
    if invoice["status"] == "draft":
        invoice = finalize(desk, {}, wanted)
    elif invoice["status"] != "open":
        raise Refusal(400, f"You cannot send an invoice that is {invoice['status']}.")
    desk.emit("invoice.sent", invoice)
    return invoice


def mark_paid(desk: Desk, invoice: Object) -> Object:
    """The last step of an invoice of which nothing is left to pay."""
    invoice["status"] = "paid"
    invoice["attempted"] = True
    invoice["status_transitions"]["paid_at"] = desk.now
    _stop(invoice)
    _save(desk, invoice)
    desk.emit("invoice.paid", invoice)
    desk.emit("invoice.payment_succeeded", invoice)
    return invoice


def close_payment(desk: Desk, invoice: Object, reason: str) -> None:
    """Cancels what was prepared to collect the invoice and is not needed any more."""
    for payment in desk.store.find("invoice_payment", {"invoice": invoice["id"], "status": "open"}):
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = desk.now
        desk.save(payment)
        intent = desk.need("payment_intent", payment["payment"]["payment_intent"])
        intent.update(status="canceled", canceled_at=desk.now, cancellation_reason=reason)
        desk.save(intent)
        desk.emit("payment_intent.canceled", intent)


def need_draft(desk: Desk, wanted: str) -> Object:
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["status"] != "draft":
        raise not_editable("Finalized invoices can't be changed; this invoice is no longer a draft.")
    return invoice


def save_draft(desk: Desk, invoice: Object) -> Object:
    """Adds the draft's lines up again and keeps it."""
    _retotal(desk, invoice)
    _save(desk, invoice)
    desk.emit("invoice.updated", invoice)
    return invoice


def not_editable(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, code="invoice_not_editable", param=param)


def _need_status(desk: Desk, wanted: str, allowed: tuple[str, ...], verb: str) -> Object:
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["status"] not in allowed:
        raise Refusal(
            400,
            f"This invoice can't be {verb}: its status is {invoice['status']}, not {' or '.join(allowed)}.",
        )
    return invoice


def _stop(invoice: Object) -> None:
    invoice["auto_advance"] = False
    invoice["next_payment_attempt"] = None


def _only_played(params: Params) -> None:
    for name in params:
        if name not in PLAYED:
            raise not_played(f"the invoice's {name}", name)
    if params.get("automatic_tax", {}).get("enabled"):
        raise not_played("automatic tax", "automatic_tax[enabled]")
    if params.get("discounts"):
        raise not_played("discounts", "discounts")


def _fill(desk: Desk, invoice: Object, params: Params) -> None:
    for name in PLAIN:
        if name in params:
            invoice[name] = params[name] or None
    for name in ("auto_advance", "collection_method", "number"):
        invoice[name] = params.get(name, invoice[name])
    if params.get("default_payment_method"):
        card_of(desk, invoice["customer"], params["default_payment_method"])
        invoice["default_payment_method"] = params["default_payment_method"]
    invoice["payment_settings"].update(params.get("payment_settings", {}))
    merge_metadata(invoice, params.get("metadata"))
    _check_due(invoice, params)
    if invoice["status"] == "draft":
        chosen = params.get("automatically_finalizes_at", invoice["created"] + HOUR)
        invoice["automatically_finalizes_at"] = chosen if invoice["auto_advance"] else None
    elif invoice["status"] != "open":
        invoice["auto_advance"] = False


def _check_due(invoice: Object, params: Params) -> None:
    sent = invoice["collection_method"] == "send_invoice"
    given = [name for name in ("days_until_due", "due_date") if name in params]
    if given and not sent:
        raise Refusal(400, "You can only set a due date if 'collection_method' is 'send_invoice'.", param=given[0])
    if "days_until_due" in params:
        invoice["due_date"] = invoice["created"] + params["days_until_due"] * DAY
    invoice["due_date"] = params.get("due_date", invoice["due_date"])
    if sent and invoice["due_date"] is None:
        raise Refusal(
            400,
            "If invoice collection_method is send_invoice, you must specify either due_date or days_until_due.",
            param="due_date",
        )


def _retotal(desk: Desk, invoice: Object) -> None:
    total = sum(line["amount"] for line in desk.lines_of(invoice["id"]))
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        invoice[name] = total
    customer = desk.need("customer", invoice["customer"])
    invoice["starting_balance"] = balance_of(customer, invoice["currency"])
    due, _ = due_and_balance(total, invoice["starting_balance"], invoice["currency"])
    invoice["amount_due"] = invoice["amount_remaining"] = due


def due_and_balance(total: int, balance: int, currency: str) -> tuple[int, int]:
    """What is to be charged and what stays on the balance, in minor units. The two always sum to total + balance."""
    wanted = total + balance
    return (wanted, 0) if wanted >= LEAST_CHARGE.get(currency, 50) else (0, wanted)


def _apply_balance(desk: Desk, invoice: Object) -> None:
    before, currency = invoice["starting_balance"], invoice["currency"]
    _, after = due_and_balance(invoice["total"], before, currency)
    invoice["ending_balance"] = after
    kind = "invoice_too_small" if after > max(before, 0) else "applied_to_invoice"
    move_balance(desk, invoice["customer"], currency, after - before, kind, invoice=invoice["id"])


def _number(desk: Desk, invoice: Object) -> None:
    if invoice["number"]:
        return
    customer = desk.need("customer", invoice["customer"])
    while not invoice["number"] or desk.store.count("invoice", number=invoice["number"]):
        invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        customer["next_invoice_sequence"] += 1
    desk.save(customer)


def _save(desk: Desk, invoice: Object) -> None:
    try:
        desk.save(invoice)
    except NumberTaken as problem:
        raise Refusal(400, f"The invoice number {invoice['number']} is already in use.", param="number") from problem
