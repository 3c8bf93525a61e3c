"""Whose money moved? Collecting invoices from cards, and what Stripe does by itself when its time comes.

Every charge is journalled in the same transaction as the objects that show it.
"""

from sandbox import stripe_objects as shapes
from sandbox.stripe_customers import card_of
from sandbox.stripe_desk import Desk, Params
from sandbox.stripe_invoices import DAY, close_payment, finalize, mark_paid
from sandbox.stripe_refusal import Refusal, card_declined, not_played
from sandbox.stripe_store import Object

MAX_ATTEMPTS = 4
RETRY_AFTER = 3 * DAY
THREE_DECIMALS = {"bhd", "jod", "kwd", "omr", "tnd"}


def pay(desk: Desk, params: Params, wanted: str) -> Object:
    """`POST /v1/invoices/{invoice}/pay`: charges the card now, or notes that it was paid elsewhere."""
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["status"] == "paid":
        raise Refusal(400, "Invoice is already paid")
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refusal(400, f"An invoice that is {invoice['status']} can't be paid; it must be finalized and open.")
    for name in ("source", "mandate", "forgive"):
        if params.get(name):
            raise not_played(f"paying with {name}", name)
    if params.get("paid_out_of_band"):
        return _paid_elsewhere(desk, invoice)
    return _collect(desk, invoice, _chosen_card(desk, invoice, params.get("payment_method")))


def advance_invoice(desk: Desk, wanted: str) -> None:
    """What Stripe does by itself when an invoice's time has come: finalizes a draft, collects an open one."""
    invoice = desk.need("invoice", wanted, "invoice")
    if invoice["status"] == "draft":
        finalize(desk, {}, wanted)
        return
    attempts = invoice["attempt_count"] + 1
    invoice["next_payment_attempt"] = desk.now + RETRY_AFTER if attempts < MAX_ATTEMPTS else None
    desk.save(invoice)
    try:
        _collect(desk, invoice, _chosen_card(desk, invoice, None))
    except Refusal:
        if invoice["attempt_count"] < attempts:  # there was no card to try
            invoice["attempt_count"], invoice["attempted"] = attempts, True
            desk.save(invoice)
            desk.emit("invoice.payment_failed", invoice)


def _chosen_card(desk: Desk, invoice: Object, asked: str | None) -> Object:
    customer = desk.need("customer", invoice["customer"])
    default = customer.get("invoice_settings", {}).get("default_payment_method")
    chosen = asked or invoice["default_payment_method"] or default
    if not chosen:
        raise Refusal(
            400,
            "This customer has no attached payment source or default payment method."
            " Please consider adding a default payment method.",
            code="resource_missing",
        )
    return card_of(desk, invoice["customer"], chosen)


def _collect(desk: Desk, invoice: Object, card: Object) -> Object:
    if invoice["currency"] in THREE_DECIMALS and invoice["amount_remaining"] % 10:
        raise Refusal(
            400,
            f"Invalid amount: charges in {invoice['currency']} must end in 0 (three-decimal currency).",
            code="invalid_charge_amount",
            param="amount",
        )
    payment = desk.store.find("invoice_payment", {"invoice": invoice["id"], "status": "open"})[0]
    intent = desk.need("payment_intent", payment["payment"]["payment_intent"])
    intent["amount"] = payment["amount_requested"] = invoice["amount_remaining"]
    charge = shapes.charge(desk.new_id("ch"), desk.now, intent, card)
    intent.update(payment_method=card["id"], latest_charge=charge["id"])
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    declined = "generic_decline" if desk.declines_all else desk.store.setting(f"card {card['id']}")
    if declined:
        raise _declined(desk, invoice, intent, charge, declined)
    return _succeeded(desk, invoice, payment, intent, charge)


def _succeeded(desk: Desk, invoice: Object, payment: Object, intent: Object, charge: Object) -> Object:
    amount = intent["amount"]
    charge.update(status="succeeded", paid=True, captured=True, amount_captured=amount)
    intent.update(status="succeeded", amount_received=amount, last_payment_error=None)
    payment.update(status="paid", amount_paid=amount)
    payment["status_transitions"]["paid_at"] = desk.now
    invoice["amount_paid"] += amount
    invoice["amount_remaining"] = 0
    for thing in (charge, intent, payment):
        desk.save(thing)
    desk.store.journal(at=desk.now, kind="charge", charge=charge, invoice=invoice["id"], amount=amount)
    desk.emit("charge.succeeded", charge)
    desk.emit("payment_intent.succeeded", intent)
    desk.emit("invoice_payment.paid", payment)
    return mark_paid(desk, invoice)


def _declined(desk: Desk, invoice: Object, intent: Object, charge: Object, decline_code: str) -> Refusal:
    refusal = card_declined(decline_code, keeps_changes=True, charge=charge["id"])
    error = refusal.body["error"]
    acts = decline_code == "authentication_required"
    charge.update(failure_code=error["code"], failure_message=error["message"])
    charge["outcome"] = {
        "network_status": "declined_by_network",
        "reason": decline_code,
        "type": "issuer_declined",
    }
    intent["status"] = "requires_action" if acts else "requires_payment_method"
    intent["last_payment_error"] = dict(error)
    for thing in (charge, intent, invoice):
        desk.save(thing)
    desk.emit("charge.failed", charge)
    desk.emit("payment_intent.requires_action" if acts else "payment_intent.payment_failed", intent)
    desk.emit("invoice.payment_failed", invoice)
    if acts:
        desk.emit("invoice.payment_action_required", invoice)
    return refusal


def _paid_elsewhere(desk: Desk, invoice: Object) -> Object:
    close_payment(desk, invoice, "abandoned")
    invoice["amount_paid"] = invoice["amount_paid_off_stripe"] = invoice["amount_due"]
    invoice["amount_remaining"] = 0
    return mark_paid(desk, invoice)
