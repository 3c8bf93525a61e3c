"""What does every Stripe operation work with? The store, the clock's reading, ids, and the events it causes."""

import json
import secrets
import string
import time
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe_contract import API_VERSION
from sandbox.stripe_refusal import Refusal, missing
from sandbox.stripe_store import Object, Store

Params = dict[str, Any]

ALPHABET = string.ascii_letters + string.digits
LINES_SHOWN = 10  # an invoice shows its first lines; the others are read from its list
# What is kept in a tax object, and shown only where it is asked for by `expand`, or never.
UNSHOWN = {"line_items", "mode"}


@dataclass
class Desk:
    """One request at work. `now` is the stand-in's own clock in whole seconds since 1970."""

    store: Store
    now: int
    request_id: str = ""
    idempotency_key: str | None = None
    declines_all: bool = False  # a fault: every card says no
    listed_at: int = 0  # a fault: what is created now shows in lists only from then on
    created: list[str] = field(default_factory=list)

    def new_id(self, prefix: str) -> str:
        made = f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(24))}"
        self.created.append(made)
        return made

    def need(self, noun: str, wanted: str, param: str = "id") -> Object:
        """The object, or Refusal 404 `resource_missing`."""
        thing = self.store.get(wanted)
        if thing is None or thing["object"] != noun:
            raise missing(noun.replace(".", " "), wanted, param)
        return thing

    def need_customer(self, wanted: str) -> Object:
        """A customer that is not deleted."""
        customer = self.need("customer", wanted, "customer")
        if customer.get("deleted"):
            raise missing("customer", wanted, "customer")
        return customer

    def save(self, thing: Object) -> None:
        self.store.put(thing, acts_at=self._acts_at(thing), listed_at=self.listed_at)

    def lines_of(self, invoice: str) -> list[Object]:
        return self.store.find("line_item", {"invoice": invoice})

    def shown(self, thing: Object) -> Object:
        """The object as the API answers it: an invoice or credit note comes with its first lines."""
        if thing["object"] == "invoice" and not thing.get("deleted"):
            lines = self.lines_of(thing["id"])
            return {**thing, "lines": page(lines, LINES_SHOWN, f"/v1/invoices/{thing['id']}/lines")}
        if thing["object"] == "credit_note":
            return {
                **thing,
                "lines": page(thing["lines"], LINES_SHOWN, f"/v1/credit_notes/{thing['id']}/lines"),
            }
        if thing["object"].startswith("tax."):
            return {name: value for name, value in thing.items() if name not in UNSHOWN}
        return thing

    def emit(self, kind: str, thing: Object) -> None:
        """Records that something happened; it is delivered to the webhook endpoint once this transaction is on disk."""
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": {"object": self.shown(thing)},
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self.request_id or None, "idempotency_key": self.idempotency_key},
            "type": kind,
        }
        endpoint = self.store.setting("webhook_url")
        if endpoint:
            event["pending_webhooks"] = 1
            self.store.write(
                "INSERT INTO deliveries (event, type, due_at) VALUES (?, ?, ?)",
                event["id"],
                kind,
                time.time(),
            )
        self.store.put(event)

    def _acts_at(self, thing: Object) -> int | None:
        """When Stripe moves it on by itself; refunds of test cards carry that in a setting."""
        if thing["object"] == "refund":
            planned = self.store.setting(f"refund {thing['id']}")
            return int(json.loads(planned)[1]) if planned else None
        if thing["object"] != "invoice":
            return None
        moment = {"draft": "automatically_finalizes_at", "open": "next_payment_attempt"}.get(thing.get("status", ""))
        return thing.get(moment) if moment else None


def page(items: list[Object], limit: int, url: str) -> Object:
    """The first `limit` items as a Stripe list."""
    return {"object": "list", "data": items[:limit], "has_more": len(items) > limit, "url": url}


def merge_metadata(thing: Object, given: object) -> None:
    """Stripe's rule: keys are merged, an empty value removes a key, an empty text removes all."""
    if given == "":
        thing["metadata"] = {}
    elif isinstance(given, dict):
        merged = {**thing["metadata"], **given}
        thing["metadata"] = {name: value for name, value in merged.items() if value != ""}
        if len(thing["metadata"]) > 50:
            raise Refusal(400, "Metadata can have at most 50 keys.", param="metadata")
