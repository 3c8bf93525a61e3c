"""How is the stand-in itself steered and looked at? Everything under `/_sandbox`, which the real Stripe does not have.

GET  /_sandbox/                     a page for people
GET  /_sandbox/charged?customer=    what was really charged and refunded
GET  /_sandbox/faults               known faults, and those that happened
POST /_sandbox/faults               {"operation", "fault", "times", "seconds"}
                                        | {"seed", "rate", "kinds"} | {"clear": true}
GET  /_sandbox/webhooks             how many deliveries wait
POST /_sandbox/webhooks             {"url", "secret"} | {"resend": event}
                                        | {"duplicate", "shuffle", "delay_s", "paused", "seed"}
POST /_sandbox/cards                {"payment_method", "decline": "insufficient_funds" | null}
POST /_sandbox/clock                {"advance": seconds}
GET  /_sandbox/tax                  where the seller is, and the rate it collects in each country
POST /_sandbox/tax                  {"rates": {"DE": "19", "US": null}} | {"home": "DE"}
POST /_sandbox/refunds              {"status": "pending" | "failed", "times": 1}  how the next refunds are born
                                        | {"refund": id, "status": "succeeded" | "failed"}  what becomes of one
                                        (with "failed" also "reason")
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import parse_qs

from sandbox.stripe_faults import FAULTS, Faults, UnknownFault
from sandbox.stripe_page import overview
from sandbox.stripe_refunds import plan
from sandbox.stripe_refusal import Refusal
from sandbox.stripe_store import Store
from sandbox.stripe_tax_rates import HOME, rates, set_home, set_rate
from sandbox.stripe_till import Answer, Request, Till
from sandbox.stripe_webhooks import Courier, NotLoopback

PREFIX = "/_sandbox"


class Control:
    """Answers the requests under `/_sandbox`."""

    def __init__(self, store: Store, till: Till, faults: Faults, courier: Courier) -> None:
        self._store, self._till, self._faults, self._courier = store, till, faults, courier

    def answer(self, request: Request) -> Answer:
        """Reads with GET; changes with POST of a JSON object, so that no web page of another site can cause them."""
        what = request.path.removeprefix(PREFIX).strip("/")
        try:
            if request.method == "GET":
                return self._look(what, {name: values[-1] for name, values in parse_qs(request.sent).items()})
            if not request.headers.get("content-type", "").startswith("application/json"):
                return _json(415, {"error": "send application/json"})
            asked = json.loads(request.sent)
            if request.method != "POST" or not isinstance(asked, dict):
                return _json(400, {"error": "POST a JSON object"})
            return self._change(what, asked)
        except (ValueError, KeyError, TypeError, UnknownFault, NotLoopback, Refusal) as problem:
            return _json(400, {"error": f"{type(problem).__name__}: {problem}"})

    def _look(self, what: str, query: Mapping[str, str]) -> Answer:
        if what == "":
            return Answer(
                200,
                overview(self._store, self._till.now()).encode(),
                {
                    "Content-Type": "text/html; charset=utf-8",
                    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
                },
            )
        if what == "charged":
            return _json(200, self._store.charged(query["customer"]))
        if what == "faults":
            return _json(200, {"known": FAULTS, "happened": self._faults.happened})
        if what == "webhooks":
            return _json(200, {"waiting": self._courier.waiting(), **asdict(self._courier.conduct)})
        if what == "tax":
            return _json(200, {"home": self._store.setting("tax home", HOME), "rates": rates(self._store)})
        return _json(404, {"error": "no such page"})

    def _change(self, what: str, asked: dict[str, Any]) -> Answer:
        if what == "faults":
            self._plan_faults(asked)
        elif what == "webhooks" and "url" in asked:
            self._courier.deliver_to(asked["url"], asked["secret"])
        elif what == "webhooks" and "resend" in asked:
            self._courier.resend(asked["resend"])
        elif what == "webhooks":
            self._courier.behave(replace(self._courier.conduct, **asked))
        elif what == "cards":
            with self._store.transaction():
                self._store.set(f"card {asked['payment_method']}", asked["decline"] or "")
        elif what == "clock":
            self._till.move_clock(int(asked["advance"]))
        elif what == "refunds":
            self._steer_refunds(asked)
        elif what == "tax":
            self._steer_tax(asked)
        else:
            return _json(404, {"error": "no such control"})
        return _json(200, {"ok": True, "now": self._till.now()})

    def _steer_refunds(self, asked: dict[str, Any]) -> None:
        reason = {"reason": asked["reason"]} if "reason" in asked else {}
        if "refund" in asked:
            self._till.move_refund(asked["refund"], asked["status"], **reason)
        else:
            plan(self._store, asked["status"], times=int(asked.get("times", 1)), **reason)

    def _steer_tax(self, asked: dict[str, Any]) -> None:
        for country, percent in asked.get("rates", {}).items():
            set_rate(self._store, country, percent)
        if "home" in asked:
            set_home(self._store, asked["home"])

    def _plan_faults(self, asked: dict[str, Any]) -> None:
        if asked.get("clear"):
            self._faults.clear()
        elif "seed" in asked:
            self._faults.draw_from(int(asked["seed"]), float(asked["rate"]), asked.get("kinds", ()))
        else:
            self._faults.plan(
                asked["operation"],
                asked["fault"],
                times=int(asked.get("times", 1)),
                seconds=float(asked.get("seconds", 1.0)),
            )


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
