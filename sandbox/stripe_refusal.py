"""How does the Stripe stand-in say no? One exception that carries Stripe's error body."""

from typing import Any


class Refusal(Exception):
    """An answer other than 2xx, as Stripe words it.

    `keeps_changes` tells that what happened up to the refusal stays (a declined card leaves a failed charge behind).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        keeps_changes: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps_changes = keeps_changes
        error = {"message": message, "type": kind, "code": code, "param": param, **more}
        self.body: dict[str, Any] = {"error": {name: value for name, value in error.items() if value is not None}}


def missing(noun: str, wanted: str, param: str = "id") -> Refusal:
    """404: there is no such object."""
    return Refusal(404, f"No such {noun}: '{wanted}'", code="resource_missing", param=param)


def unknown_address(method: str, path: str) -> Refusal:
    """404: Stripe has no such operation."""
    return Refusal(404, f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs.")


def not_played(what: str, param: str | None = None) -> Refusal:
    """Stripe knows it, this stand-in does not; refused loudly because ignoring it would hide a difference."""
    status = 400 if param else 404
    return Refusal(status, f"The Stripe stand-in does not play {what}.", code="sandbox_not_played", param=param)


def card_declined(decline_code: str, *, keeps_changes: bool, **more: Any) -> Refusal:
    """402: the card said no. `decline_code` is Stripe's, for instance `insufficient_funds`."""
    code, message = CARD_REFUSALS.get(decline_code, ("card_declined", "Your card was declined."))
    return Refusal(
        402,
        message,
        kind="card_error",
        code=code,
        decline_code=decline_code,
        keeps_changes=keeps_changes,
        **more,
    )


CARD_REFUSALS = {
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "Your card has expired."),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "processing_error": (
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "authentication_required": (
        "invoice_payment_intent_requires_action",
        "This payment requires additional user action before it can be completed successfully.",
    ),
}
