"""Whose events does a replay send? Its customers, made and subscribed through the REST API where they are missing."""

import datetime as dt
import hashlib
import json
from urllib.parse import quote

from parley_client import Api, Reply, RequestRefused

FALLBACK_CURRENCY = "USD"


def currency_of(api: Api, plan: str) -> str:
    """The currency of the plan's published version; FALLBACK_CURRENCY if this key may not read it.

    Raises RequestRefused where there is no such plan, ServerSilent.
    """
    reply = api.request("GET", f"/v1/plans/{quote(plan, safe='')}")
    if reply.status == 404:
        raise RequestRefused(f"There is no plan {plan}.")
    version = reply.body.get("published_version") if reply.status == 200 else None
    if version is not None:
        reply = api.request("GET", f"/v1/plans/{quote(plan, safe='')}/versions/{version}")
    known = reply.status == 200 and version is not None
    return str(reply.body["terms"]["currency"]) if known else FALLBACK_CURRENCY


def create_customer(api: Api, key: str, *, currency: str, plan: str, starts_at: dt.datetime) -> bool:
    """Create and subscribe a customer; False if it was there, which is then left as it is.

    The Idempotency-Keys are made from what is asked for, so that a replay that broke off between the two steps goes on
    where it was. Raises RequestRefused, ServerSilent.
    """
    terms = {"customer": key, "plan": plan, "starts_at": starts_at.isoformat()}
    created = _create(api, "/v1/customers", {"key": key, "name": key, "currency": currency}, terms)
    if created.status == 409:
        return False
    subscribed = _create(api, "/v1/subscriptions", terms, terms)
    return subscribed.status == 201 and not subscribed.replayed


def _create(api: Api, path: str, body: dict[str, str], identity: dict[str, str]) -> Reply:
    fingerprint = hashlib.sha256(json.dumps([path, identity], sort_keys=True).encode()).hexdigest()
    reply = api.request("POST", path, json.dumps(body).encode(), idempotency_key=f"replay-{fingerprint}")
    if reply.status not in (201, 409):
        raise RequestRefused(f"{path} for {identity['customer']}: {reply.reason}")
    return reply
