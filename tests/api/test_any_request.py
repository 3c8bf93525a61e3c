"""Whatever the OpenAPI document allows, and what it does not, is never answered with a failure of ours.

Every operation gets some requests made from the document, one half of them against it, and always the same ones;
PARLEY_FUZZ_EXAMPLES asks for more. Where it can, a request names something that is there: the look-up of an id that
nobody has is soon tested.
"""

import os
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from billing.billing import bill
from billing.models import CreditNote, Grant, Invoice, InvoiceLine, Redemption
from metering.models import Conversation, Event, QuarantinedEvent
from plans.models import Subscription
from tests.cast import LATER, a_plan, acme, report, restore_default_scheme, send, settled, subscribed
from tests.rest import Caller

EXAMPLES = int(os.environ.get("PARLEY_FUZZ_EXAMPLES", "8"))
CODES = {"/v1/coupons": "TEN", "/v1/tier-schemes": "default"}
MOSTLY = st.integers(0, 3).map(bool)
Names = dict[str, str]


@pytest.fixture
def operator(transactional_db, caller) -> Caller:
    """Somebody who may do everything. Not within a transaction: one that fails must not spoil the next request."""
    restore_default_scheme()
    return caller()


@pytest.fixture
def names(operator) -> Names:
    """What is there to be named, by the names that fields and parameters have: one of each."""
    customer, plan = acme(), a_plan()
    subscription = subscribed(customer, plan)
    operator.post("/v1/coupons", {"code": "TEN", "name": "Ten", "duration": "forever", "percent_off": "10"})
    operator.post(f"/v1/subscriptions/{subscription.pk}/discounts", {"coupon": "TEN"})
    operator.post("/v1/wallets/acme/grants", {"kind": "promotional", "amount": "5.00", "name": "Welcome"})
    send([report("e1"), report("e2", 30), report("e3", conversation="other"), report("e4", customer="nobody yet")])
    settled(LATER)
    bill(as_of=LATER, now=LATER)
    invoice = Invoice.objects.earliest("id")
    operator.post("/v1/credit-notes", {"invoice": str(invoice.pk), "reason": "other", "amount": "1.00"})
    there = {
        "key": "acme", "customer": "acme", "conversation": "chat", "reference": "chat", "event_id": "e1",
        "code": "growth", "plan": "growth", "tier_scheme": "default", "version": "1", "tier": "simple", "coupon": "TEN",
        "currency": "USD",
    }  # fmt: skip
    rows = {"subscription_id": Subscription, "redemption_id": Redemption, "grant_id": Grant, "note_id": CreditNote}
    rows |= {"item_id": QuarantinedEvent, "line_id": InvoiceLine}
    ids = {name: str(model.objects.earliest("id").pk) for name, model in rows.items()}
    sitting = str(Conversation.objects.order_by("id")[0].id)
    return there | ids | {"invoice_id": str(invoice.pk), "invoice": str(invoice.pk), "conversation_id": sitting}


@pytest.fixture
def document(names) -> Any:
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", WSGIHandler())


def test_no_request_fails_for_our_part(document, operator, names):
    assert Event.objects.count() == 3
    for found in document.get_all_operations():
        operation = found.ok()
        ask(operation, operator, names | of_path(operation.path))


def of_path(path: str) -> Names:
    """`code` is whose the path says."""
    codes = [code for start, code in CODES.items() if path.startswith(start)]
    return {"code": codes[0]} if codes else {}


def ask(operation: Any, operator: Caller, names: Names) -> None:
    requests = operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        derandomize="PARLEY_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests, st.data())
    def asked(request, data):
        request.path_parameters = named(request.path_parameters, names, data)
        request.query = named(request.query, names, data)
        request.body = named(request.body, names, data)
        answer = request.call(headers=operator.headers)
        assert answer.status_code < 500, f"{request.as_curl_command()}\n{answer.text}"
        if answer.status_code >= 400 and request.method != "HEAD":
            assert answer.headers["content-type"] == ["application/problem+json"], request.as_curl_command()

    asked()


def named(fields: Any, names: Names, data: st.DataObject) -> Any:
    """The fields of a request, most of them naming what is there where they can."""
    if not isinstance(fields, dict):
        return fields
    return {name: names[name] if name in names and data.draw(MOSTLY) else value for name, value in fields.items()}
