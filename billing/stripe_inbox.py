"""What does Stripe tell us? Webhooks: verified, stored once, answered, and only then looked into.

A webhook says that something happened to an object; the object is fetched and its state applied (`bringing_home` for
invoices, `refunding` for refunds).
"""

import datetime as dt
import logging
from typing import Any

import stripe
from django.db import transaction
from django.db.models import F

from api.strict_json import BadJson, decode_tree
from billing.bringing_home import CannotBe, NotOurs, bring_home
from billing.models import StripeEvent
from billing.refunding import bring_refund_home
from billing.stripe_gateway import StripeRefused, StripeUnavailable, retry_delay, stripe_client

log = logging.getLogger(__name__)

TOLERANCE_S = 300
"""How far a signature's time may be from ours, either way."""
LEASE = dt.timedelta(minutes=1)
BATCH = 50
MAX_KEYS = 500
"""Of one object in an event; an invoice of Stripe's has about eighty."""


class BadWebhook(Exception):
    """The request was not signed by Stripe for us, not just now, or holds no event."""


def receive(body: bytes, signature: str, *, secret: str, now: dt.datetime) -> bool:
    """Verify a delivery and store its event; returns whether it is new. Raises BadWebhook."""
    event = _verified(body, signature, secret, now)
    _, created = StripeEvent.objects.get_or_create(
        pk=event["id"],
        defaults={
            "type": event["type"],
            "object_id": _object_id(event),
            "payload": event,
            "received_at": now,
            "not_before": now,
        },
    )
    return created


def _verified(body: bytes, signature: str, secret: str, now: dt.datetime) -> dict[str, Any]:
    if not secret:
        raise BadWebhook("no webhook secret is configured")
    try:
        text = body.decode()
        stripe.WebhookSignature.verify_header(text, signature, secret, tolerance=None)
        (signed_at,) = [int(part[2:]) for part in signature.split(",") if part.startswith("t=")]
        event = decode_tree(body, max_keys=MAX_KEYS)
    except (stripe.SignatureVerificationError, ValueError, TypeError, BadJson) as error:
        # TypeError: a signature that is not ASCII. ValueError: a body that is not UTF-8, or two times to choose from.
        raise BadWebhook("the signature or the body cannot be read") from error
    if abs(int(now.timestamp()) - signed_at) > TOLERANCE_S:
        raise BadWebhook("signed too long ago, or in the future")
    if not _is_event(event):
        raise BadWebhook("not an event")
    return event  # type: ignore[no-any-return]


def _is_event(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and isinstance(event.get("id"), str)
        and 0 < len(event["id"]) <= 255
        and isinstance(event.get("type"), str)
        and len(event["type"]) <= 100
        and isinstance(event.get("data"), dict)
        and isinstance(event["data"].get("object"), dict)
    )


def _object_id(event: dict[str, Any]) -> str:
    """Empty for objects without one, like an upcoming invoice."""
    given = event["data"]["object"].get("id")
    return given if isinstance(given, str) and len(given) <= 255 else ""


def work_off_inbox(*, now: dt.datetime) -> int:
    """Apply stored events that are due; returns how many were looked at. Raises StripeNotConfigured."""
    client = stripe_client()
    events = _lease(now)
    for event in events:
        try:
            if event.type.startswith("invoice.") and event.object_id:
                bring_home(client, event.object_id, now=now)
            elif event.type.startswith(("refund.", "charge.refund.")) and event.object_id:
                bring_refund_home(client, event.object_id, now=now)
            _note(event, StripeEvent.State.DONE)
        except NotOurs as error:
            _note(event, StripeEvent.State.DONE, error)
        except (CannotBe, StripeRefused) as error:
            _note(event, StripeEvent.State.PARKED, error)
        except StripeUnavailable as error:
            _retry_later(event, error, now)
        except Exception as error:
            log.exception("applying Stripe's event %s failed", event.pk)
            _retry_later(event, error, now)
    return len(events)


def _lease(now: dt.datetime) -> list[StripeEvent]:
    with transaction.atomic():
        new = StripeEvent.objects.filter(state=StripeEvent.State.NEW, not_before__lte=now)
        leased = list(new.select_for_update(skip_locked=True).order_by("received_at")[:BATCH])
        StripeEvent.objects.filter(pk__in=[event.pk for event in leased]).update(not_before=now + LEASE)
    return leased


def _note(event: StripeEvent, state: StripeEvent.State, error: Exception | None = None) -> None:
    StripeEvent.objects.filter(pk=event.pk).update(state=state, error=str(error) if error else "")


def _retry_later(event: StripeEvent, error: Exception, now: dt.datetime) -> None:
    StripeEvent.objects.filter(pk=event.pk).update(
        attempts=F("attempts") + 1, not_before=now + retry_delay(event.attempts), error=str(error)
    )
