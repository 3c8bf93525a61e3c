"""What is given back to a card? Refunds, which may wait, and which a bank may refuse long after they had succeeded.

How refunds go is told by the card's number, as with Stripe's test cards, or from outside (`plan`, `move_on`). A refund
that fails gives its amount back to the charge, so that it can be refunded anew. The journal holds what has arrived.
"""

import json

from sandbox import stripe_back_objects as shapes
from sandbox.stripe_desk import Desk, Params, merge_metadata
from sandbox.stripe_refusal import Refusal, missing, not_played
from sandbox.stripe_store import Object, Store

PLAYED = {"amount", "charge", "expand", "metadata", "payment_intent", "reason"}
LATER_S = 60
# Last digits of a card -> how its refunds are born, and what becomes of them LATER_S later.
CARDS = {"5126": ("succeeded", "failed"), "7726": ("pending", "succeeded")}
MOVES = {"pending": ("succeeded", "failed"), "succeeded": ("failed",)}
FAILURES = (
    "lost_or_stolen_card", "expired_or_canceled_card", "charge_for_pending_refund_disputed", "insufficient_funds",
    "declined", "merchant_request", "unknown",
)  # fmt: skip
USUAL_FAILURE = "expired_or_canceled_card"
PLANS = "refunds to come"


class NoSuchCourse(ValueError):
    """Refunds do not go that way: an unknown status or reason, or one that cannot follow."""


def create(desk: Desk, params: Params) -> Object:
    """`POST /v1/refunds`: gives back all or a part of one charge."""
    for name in params:
        if name not in PLAYED:
            raise not_played(f"the refund's {name}", name)
    charge = _charge_meant(desk, params)
    return give_back(desk, charge, params.get("amount"), reason=params.get("reason"), metadata=params.get("metadata"))


def update(desk: Desk, params: Params, wanted: str) -> Object:
    made = desk.need("refund", wanted)
    merge_metadata(made, params.get("metadata"))
    desk.save(made)
    desk.emit("refund.updated", made)
    desk.emit("charge.refund.updated", made)
    return made


def cancel(desk: Desk, params: Params, wanted: str) -> Object:
    """Only what waits for the customer can be canceled, and no card's refund ever does."""
    made = desk.need("refund", wanted)
    raise Refusal(400, f"You can't cancel a refund with a status of {made['status']}.", param="refund")


def give_back(
    desk: Desk, charge: Object, amount: int | None, *, reason: str | None = None, metadata: object = None
) -> Object:
    """A refund of `amount` minor units, by default of everything left; never more than was charged."""
    amount = _check(charge, amount)
    made = shapes.refund(desk.new_id("re"), desk.now, charge, amount)
    status, failure, moves_to = _course(desk, charge)
    made.update(status=status, reason=reason)
    made["pending_reason"] = "processing" if status == "pending" else None
    merge_metadata(made, metadata)
    if moves_to:
        desk.store.set(f"refund {made['id']}", json.dumps([moves_to, desk.now + LATER_S]))
    if status == "failed":
        _note_failure(desk, made, failure)
    else:
        _count(desk, charge, amount)
    desk.save(made)
    if status == "succeeded":
        _journal(desk, "refund", made)
    desk.emit("refund.created", made)
    desk.emit("refund.failed" if status == "failed" else "charge.refunded", made if status == "failed" else charge)
    return made


def move_on(desk: Desk, wanted: str, status: str, reason: str = USUAL_FAILURE) -> Object:
    """The bank has answered: what was pending or had succeeded is now `status`. Raises NoSuchCourse."""
    made = desk.need("refund", wanted)
    before = made["status"]
    if status not in MOVES.get(before, ()) or reason not in FAILURES:
        raise NoSuchCourse(f"{before} -> {status} ({reason})")
    made.update(status=status, pending_reason=None)
    desk.store.set(f"refund {wanted}", "")
    if status == "failed":
        _note_failure(desk, made, reason)
        _count(desk, desk.need("charge", made["charge"]), -made["amount"])
    desk.save(made)
    if status == "succeeded":
        _journal(desk, "refund", made)
    elif before == "succeeded":
        _journal(desk, "refund_failed", made)
    desk.emit("refund.updated", made)
    desk.emit("charge.refund.updated", made)
    if status == "failed":
        desk.emit("refund.failed", made)
    return made


def advance_refund(desk: Desk, wanted: str) -> None:
    """What becomes of a test card's refund when its time has come."""
    status, _ = json.loads(desk.store.setting(f"refund {wanted}"))
    move_on(desk, wanted, status)


def plan(store: Store, status: str, *, reason: str = USUAL_FAILURE, times: int = 1) -> None:
    """The next `times` refunds are born with that status. Raises NoSuchCourse."""
    if status not in ("pending", "succeeded", "failed") or reason not in FAILURES:
        raise NoSuchCourse(f"{status} ({reason})")
    with store.transaction():
        plans = json.loads(store.setting(PLANS, "[]"))
        store.set(PLANS, json.dumps(plans + [[status, reason]] * times))


def not_failed(desk: Desk, charge: str) -> list[Object]:
    """The refunds of a charge that have arrived, or may."""
    return [made for made in desk.store.find("refund", {"charge": charge}) if made["status"] != "failed"]


def _course(desk: Desk, charge: Object) -> tuple[str, str, str]:
    """How this refund is born, why it fails if it does, and what becomes of it later."""
    plans = json.loads(desk.store.setting(PLANS, "[]"))
    if plans:
        desk.store.set(PLANS, json.dumps(plans[1:]))
        status, reason = plans[0]
        return status, reason, ""
    status, moves_to = CARDS.get(charge["payment_method_details"]["card"]["last4"], ("succeeded", ""))
    return status, USUAL_FAILURE, moves_to


def _check(charge: Object, amount: int | None) -> int:
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    if charge["status"] != "succeeded":
        raise Refusal(400, f"This charge did not succeed: {charge['id']}", code="charge_not_refundable", param="charge")
    if left == 0:
        raise Refusal(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount is None else amount
    if amount <= 0:
        raise Refusal(400, "Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise Refusal(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    return amount


def _count(desk: Desk, charge: Object, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    desk.save(charge)


def _note_failure(desk: Desk, made: Object, reason: str) -> None:
    made.update(failure_reason=reason, failure_balance_transaction=desk.new_id("txn"))


def _journal(desk: Desk, kind: str, made: Object) -> None:
    charge = desk.need("charge", made["charge"])
    payments = desk.store.find("invoice_payment", {"payment.payment_intent": charge["payment_intent"]})
    invoice = payments[0]["invoice"] if payments else None
    desk.store.journal(at=desk.now, kind=kind, charge=charge, invoice=invoice, amount=made["amount"])


def _charge_meant(desk: Desk, params: Params) -> Object:
    if "charge" in params and "payment_intent" not in params:
        return desk.need("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise Refusal(
            400,
            "One of the following params should be provided: payment_intent or charge.",
            code="parameter_missing",
        )
    intent = desk.need("payment_intent", params["payment_intent"], "payment_intent")
    if intent["latest_charge"] is None:
        raise missing("charge for payment_intent", intent["id"], "payment_intent")
    return desk.need("charge", intent["latest_charge"])
