import time
import urllib.error
import urllib.request

import pytest
import stripe
from stripe import StripeClient

from sandbox.stripe_contract import Contract, operations
from sandbox.stripe_form import decode
from sandbox.stripe_refusal import Refusal
from sandbox.stripe_routes import PLAYED
from tests.sandbox.stripe_cast import acme, draft


def refused(method: str, path: str, sent: str) -> dict[str, str]:
    contract = Contract()
    operation, _ = contract.find(method, path)
    with pytest.raises(Refusal) as refusal:
        contract.check(operation, decode(sent))
    return refusal.value.body["error"]


def test_every_operation_of_the_sdk_is_known_and_all_that_is_played_exists():
    known = {operation.name for operation in operations()}
    assert len(known) > 640
    assert PLAYED.keys() <= known


def test_the_parameters_of_every_operation_can_be_read():
    contract = Contract()
    for operation in operations():
        try:
            contract.check(operation, {})
        except Refusal as refusal:
            assert refusal.body["error"]["code"] == "parameter_missing"


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ("colour=red", "parameter_unknown", "colour"),
        ("automatic_tax[enable]=true", "parameter_unknown", "automatic_tax[enable]"),
        ("collection_method=by_pigeon", None, "collection_method"),
        ("auto_advance=yes", None, "auto_advance"),
        ("days_until_due=soon", "parameter_invalid_integer", "days_until_due"),
        ("days_until_due=1.0", "parameter_invalid_integer", "days_until_due"),
        ("customer=", "parameter_invalid_empty", "customer"),
        ("customer[id]=x", None, "customer"),
        ("metadata=x", None, "metadata"),
        ("expand=customer", None, "expand"),
    ],
)
def test_what_the_sdk_does_not_allow_is_refused_by_name(sent, code, param):
    error = refused("POST", "/v1/invoices", sent)
    assert (error.get("code"), error["param"]) == (code, param)


def test_a_missing_parameter_is_named():
    assert refused("POST", "/v1/credit_notes", "amount=3")["param"] == "invoice"


def test_metadata_has_limits():
    assert "500" in refused("POST", "/v1/customers", f"metadata[a]={'x' * 501}")["message"]


def test_what_passes_is_typed():
    contract = Contract()
    operation, ids = contract.find("POST", "/v1/invoices/in_1/add_lines")
    sent = "lines[0][amount]=-5&lines[0][period][start]=1&lines[0][period][end]=2&lines[1][quantity_decimal]=1.5"
    first, second = contract.check(operation, decode(sent))["lines"]
    assert ids == ["in_1"]
    assert first == {"amount": -5, "period": {"start": 1, "end": 2}}
    assert str(second["quantity_decimal"]) == "1.5"


def test_checking_is_fast():
    contract = Contract()
    sent = "customer=cus_1&currency=usd&number=P-1&auto_advance=false&metadata[parley]=x"
    operation, _ = contract.find("POST", "/v1/invoices")
    contract.check(operation, decode(sent))
    started = time.perf_counter()
    for _ in range(200):
        operation, _ = contract.find("POST", "/v1/invoices")
        contract.check(operation, decode(sent))
    assert (time.perf_counter() - started) / 200 < 0.002


def test_what_stripe_has_but_the_stand_in_does_not_play_is_never_ignored(client):
    customer = acme(client, card=None)
    with pytest.raises(stripe.InvalidRequestError, match="does not play"):
        draft(client, customer, automatic_tax={"enabled": True})
    with pytest.raises(stripe.InvalidRequestError, match="does not play"):
        client.v1.products.create({"name": "Growth"})


def test_a_real_key_or_none_is_refused(sandbox):
    live = StripeClient("sk_live_x", base_addresses={"api": sandbox.url}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError) as refusal:
        live.v1.customers.list()
    assert "sk_live_x" not in str(refusal.value)
    with pytest.raises(urllib.error.HTTPError) as refused_without:
        urllib.request.urlopen(f"{sandbox.url}/v1/customers", timeout=5)
    refused_without.value.close()
    assert refused_without.value.code == 401


def test_an_unknown_address_and_an_unknown_object_are_404(client):
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.raw_request("get", "/v1/conversations")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.invoices.retrieve("in_nothing")
    assert (unknown.value.http_status, missing.value.http_status) == (404, 404)
    assert missing.value.code == "resource_missing"
