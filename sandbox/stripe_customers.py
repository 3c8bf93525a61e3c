"""Who pays, with which card, and what is on their balance? Customers and payment methods."""

from sandbox import stripe_objects as shapes
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_refusal import Refusal, card_declined, missing, not_played
from sandbox.stripe_store import Object

PLAIN = ("address", "description", "email", "name", "phone", "preferred_locales", "tax_exempt")
PLAYED = {*PLAIN, "balance", "expand", "invoice_prefix", "invoice_settings", "metadata", "payment_method"}

# Test cards that can be attached: name -> (brand, last four digits, how a charge ends; "" is success).
ATTACHABLE = {
    "pm_card_visa": ("visa", "4242", ""),
    "pm_card_visa_debit": ("visa", "5556", ""),
    "pm_card_mastercard": ("mastercard", "4444", ""),
    "pm_card_amex": ("amex", "8431", ""),
    "pm_card_us": ("visa", "4242", ""),
    "pm_card_chargeCustomerFail": ("visa", "0341", "generic_decline"),
    "pm_card_authenticationRequired": ("visa", "3184", "authentication_required"),
    "pm_card_refundFail": ("visa", "5126", ""),
    "pm_card_pendingRefund": ("visa", "7726", ""),
}
# Test cards that the bank declines already when they are attached.
DECLINED_ON_ATTACH = {
    "chargeDeclined": "generic_decline",
    "chargeDeclinedInsufficientFunds": "insufficient_funds",
    "chargeDeclinedLostCard": "lost_card",
    "chargeDeclinedStolenCard": "stolen_card",
    "chargeDeclinedExpiredCard": "expired_card",
    "chargeDeclinedIncorrectCvc": "incorrect_cvc",
    "chargeDeclinedProcessingError": "processing_error",
    "chargeDeclinedVelocityLimitExceeded": "card_velocity_exceeded",
}


def create(desk: Desk, params: Params) -> Object:
    _only_played(params)
    made = desk.new_id("cus")
    customer = shapes.customer(made, desk.now, made[-8:].upper())
    _fill(customer, params)
    desk.save(customer)
    desk.emit("customer.created", customer)
    if "payment_method" in params:
        method = attach(desk, {"customer": made}, params["payment_method"])
        customer["invoice_settings"]["default_payment_method"] = method["id"]
        desk.save(customer)
    if params.get("balance"):
        customer = move_balance(desk, made, _settled_currency(params), params["balance"], "adjustment")
    return customer


def update(desk: Desk, params: Params, wanted: str) -> Object:
    _only_played(params)
    customer = desk.need_customer(wanted)
    chosen = (params.get("invoice_settings") or {}).get("default_payment_method")
    if chosen:
        card_of(desk, wanted, chosen)
    _fill(customer, params)
    desk.save(customer)
    if "balance" in params:
        change = params["balance"] - customer["balance"]
        customer = move_balance(desk, wanted, _settled_currency(customer), change, "adjustment")
    desk.emit("customer.updated", customer)
    return customer


def delete(desk: Desk, params: Params, wanted: str) -> Object:
    """Leaves only a tombstone, as Stripe does; invoices stay."""
    customer = desk.need_customer(wanted)
    desk.save({"id": wanted, "object": "customer", "deleted": True})
    desk.emit("customer.deleted", customer)
    return {"id": wanted, "object": "customer", "deleted": True}


def _only_played(params: Params) -> None:
    for name in params:
        if name not in PLAYED:
            raise not_played(f"the customer's {name}", name)


def _fill(customer: Object, params: Params) -> None:
    for name in PLAIN:
        if name in params:
            customer[name] = params[name] or None
    if len(params.get("name", "")) > 256 or len(params.get("email", "")) > 512:
        raise Refusal(400, "Invalid string: name and email have at most 256 and 512 characters.")
    customer["invoice_prefix"] = params.get("invoice_prefix") or customer["invoice_prefix"]
    customer["invoice_settings"].update(params.get("invoice_settings", {}))
    merge_metadata(customer, params.get("metadata"))


def _settled_currency(thing: Object) -> str:
    return str(thing.get("currency") or "usd")


# Balance: negative is a credit to the customer, positive is owed by the customer


def balance_of(customer: Object, currency: str) -> int:
    """The customer's balance in minor units; below zero the customer has credit."""
    return -int(customer.get("invoice_credit_balance", {}).get(currency, 0))


def move_balance(desk: Desk, wanted: str, currency: str, amount: int, kind: str, **references: str | None) -> Object:
    """Adds `amount` (negative: credit) to the balance and records why; answers the customer."""
    customer = desk.need("customer", wanted)
    if amount == 0 or customer.get("deleted"):
        return customer
    after = balance_of(customer, currency) + amount
    customer["invoice_credit_balance"][currency] = -after
    customer["currency"] = customer["currency"] or currency
    if customer["currency"] == currency:
        customer["balance"] = after
    desk.save(customer)
    record = shapes.balance_transaction(desk.new_id("cbtxn"), desk.now, wanted, currency, amount, kind)
    desk.save({**record, "ending_balance": after, **references})
    desk.emit("customer.updated", customer)
    return customer


def adjust_balance(desk: Desk, params: Params, wanted: str) -> Object:
    """`POST /v1/customers/{customer}/balance_transactions`."""
    desk.need_customer(wanted)
    move_balance(
        desk,
        wanted,
        params["currency"].lower(),
        params["amount"],
        "adjustment",
        description=params.get("description"),
    )
    return desk.store.find("customer_balance_transaction", {"customer": wanted})[-1]


# Payment methods


def attach(desk: Desk, params: Params, wanted: str) -> Object:
    """Gives the customer a card: one of Stripe's test names makes a new card, an id attaches what exists."""
    if "customer" not in params:
        raise Refusal(400, "Missing required param: customer.", code="parameter_missing", param="customer")
    desk.need_customer(params["customer"])
    refused = DECLINED_ON_ATTACH.get(wanted.removeprefix("pm_card_").removeprefix("visa_"))
    if refused:
        raise card_declined(refused, keeps_changes=False)
    if wanted in ATTACHABLE:
        brand, last4, outcome = ATTACHABLE[wanted]
        method = shapes.payment_method(desk.new_id("pm"), desk.now, brand, last4)
        desk.store.set(f"card {method['id']}", outcome)
    else:
        method = desk.need("payment_method", wanted, "payment_method")
        if method["customer"] is not None:
            raise Refusal(400, "The payment method you provided has already been attached to a customer.")
    method["customer"] = params["customer"]
    desk.save(method)
    desk.emit("payment_method.attached", method)
    return method


def detach(desk: Desk, params: Params, wanted: str) -> Object:
    method = desk.need("payment_method", wanted, "payment_method")
    if method["customer"] is None:
        raise Refusal(400, "The payment method you provided is not attached to a customer.")
    customer = desk.need("customer", method["customer"])
    if customer.get("invoice_settings", {}).get("default_payment_method") == wanted:
        customer["invoice_settings"]["default_payment_method"] = None
        desk.save(customer)
    method["customer"] = None
    desk.save(method)
    desk.emit("payment_method.detached", method)
    return method


def card_of(desk: Desk, customer: str, wanted: str) -> Object:
    """The customer's own card, or Refusal."""
    method = desk.store.get(wanted)
    if method is None or method["object"] != "payment_method":
        raise missing("PaymentMethod", wanted, "payment_method")
    if method["customer"] != customer:
        raise Refusal(
            400,
            f"The customer does not have a payment method with the ID {wanted}."
            " The payment method must be attached to the customer.",
            code="resource_missing",
            param="payment_method",
        )
    return method
