"""How is Stripe asked to change something, once, whatever happens on the way?

`once` commits the intent, sends the call under an idempotency key made only from our object's identity and the step,
and commits the outcome. When the outcome stays unknown (time-out, broken answer, 5xx) the next try first looks whether
the change is there, and sends the same call under the same key only if it is not. 400, 402 and 404 are answers:
nothing changed. `intend` commits the intent with whatever gives rise to it, for a sweep to make the call later.
"""

import datetime as dt
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import stripe
from django.conf import settings

from billing.models import CreditNote, Invoice, StripeCall
from plans.models import Customer

TIMEOUT_S = 10
SANDBOX_KEY = "sk_test_sandbox"
FIRST_RETRY = dt.timedelta(seconds=5)
LONGEST_RETRY = dt.timedelta(hours=1)
CLOCKS_DIFFER_BY = dt.timedelta(hours=1)
"""How far Stripe's clock may be from ours, where something is looked for by when it was made."""
DELETED = "deleted"
"""Our word for the status of an invoice at Stripe that Stripe does not know any more."""

T = TypeVar("T")
Send = Callable[[stripe.RequestOptions], str]
"""Makes the call and returns the id of the Stripe object it made or changed."""
Find = Callable[[dt.datetime], str | None]
"""Looks whether the change has happened, not before that moment; returns the object's id if it has."""


class StripeNotConfigured(Exception):
    """There is neither a Stripe key nor a running sandbox."""


class StripeUnavailable(Exception):
    """Stripe did not answer, or not clearly; the call is to be tried again."""


class StripeRefused(Exception):
    """Stripe answered no; trying the same again gives the same answer."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def stripe_client() -> stripe.StripeClient:
    """The client for the configured account, else for the sandbox that `manage.py serve` runs beside this one."""
    if settings.STRIPE_API_KEY:
        return _client(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE)
    served = Path(settings.DATA_DIR) / "serve.json"
    base = json.loads(served.read_text()).get("stripe_url") if served.exists() else None
    if not base:
        raise StripeNotConfigured("set STRIPE_API_KEY, or run `manage.py serve` for the sandbox")
    return _client(SANDBOX_KEY, base)


@lru_cache(maxsize=4)
def _client(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else {},
        max_network_retries=0,  # our own rows decide about the next try
        http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
    )


def key_of(step: str, *, invoice: Invoice | None = None, credit_note: CreditNote | None = None) -> str:
    """The idempotency key of a step that an invoice or a credit note takes once."""
    if credit_note is not None:
        return f"credit_note:{credit_note.pk}:{step}"
    assert invoice is not None
    return f"invoice:{invoice.pk}:{step}"


def intend(
    step: str,
    customer: Customer,
    *,
    invoice: Invoice | None = None,
    credit_note: CreditNote | None = None,
    now: dt.datetime,
) -> None:
    """Have a sweep make this call, once the transaction is committed."""
    StripeCall.objects.create(
        pk=key_of(step, invoice=invoice, credit_note=credit_note),
        step=step,
        customer=customer,
        invoice=invoice,
        credit_note=credit_note,
        not_before=now,
        intended_at=now,
    )


def once(
    key: str,
    *,
    step: str,
    customer: Customer,
    invoice: Invoice | None = None,
    credit_note: CreditNote | None = None,
    send: Send,
    find: Find,
    now: dt.datetime,
) -> str:
    """Have the call made exactly once; returns the Stripe id it gave. Outside any transaction.

    Raises StripeUnavailable (unknown, try again), StripeRefused (a definite no, remembered).
    """
    about = {"customer": customer, "invoice": invoice, "credit_note": credit_note}
    call, _ = StripeCall.objects.get_or_create(pk=key, defaults={"step": step, **about, "intended_at": now})
    if call.state == StripeCall.State.DONE:
        return call.stripe_id
    if call.state == StripeCall.State.REFUSED:
        raise StripeRefused(call.error)
    tried_before = call.attempts > 0
    call.attempts += 1
    call.save(update_fields=["attempts"])
    try:
        stripe_id = ask(lambda: find(call.intended_at - CLOCKS_DIFFER_BY)) if tried_before else None
        if stripe_id is None:
            stripe_id = ask(lambda: send({"idempotency_key": key}))
    except StripeUnavailable as error:
        StripeCall.objects.filter(pk=key).update(error=str(error))
        raise
    except StripeRefused as error:
        _finish(key, now, state=StripeCall.State.REFUSED, error=str(error))
        raise
    _finish(key, now, state=StripeCall.State.DONE, stripe_id=stripe_id, error="")
    return stripe_id


def metadata_of(found: Any) -> dict[str, str]:
    """The metadata of a Stripe object, as a dict (the SDK's objects are none)."""
    return found.metadata.to_dict() if found.metadata else {}


def ask(call: Callable[[], T]) -> T:
    """Make one call of the SDK, with its errors sorted into unavailable and refused."""
    try:
        return call()
    except stripe.CardError as error:
        raise StripeRefused(error.user_message or str(error), error.code or "card_error") from error
    except stripe.InvalidRequestError as error:
        if error.http_status in (400, 404):
            raise StripeRefused(str(error), error.code or "") from error
        raise StripeUnavailable(str(error)) from error
    except stripe.StripeError as error:
        # Connection, 409, 429, 5xx; also a wrong key (401, 403), which the operator mends without losing work.
        raise StripeUnavailable(f"{type(error).__name__}: {error}") from error


def retry_delay(failures: int) -> dt.timedelta:
    """How long to wait after so many failures: twice as long each time, an hour at the most."""
    doubled: int = 2 ** min(failures, 10)
    return min(FIRST_RETRY * doubled, LONGEST_RETRY)


def _finish(key: str, now: dt.datetime, **fields: Any) -> None:
    StripeCall.objects.filter(pk=key, state=StripeCall.State.INTENT).update(finished_at=now, **fields)
