import threading
import time

import pytest
import stripe

from sandbox.stripe_faults import FAULTS, UnknownFault
from sandbox.stripe_sandbox import StripeSandbox
from tests.sandbox.stripe_cast import acme, client_of, open_invoice

CREATE = "POST /v1/customers"
PAY = "POST /v1/invoices/{invoice}/pay"


def create(client, key="k1", name="Acme"):
    return client.v1.customers.create({"name": name}, {"idempotency_key": key})


def test_the_same_key_and_parameters_replay_the_first_answer(client, sandbox):
    first, again = create(client), create(client)
    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert sandbox.count("customer") == 1


def test_the_same_key_with_other_parameters_is_refused(client, sandbox):
    create(client)
    with pytest.raises(stripe.IdempotencyError):
        create(client, name="Bolt")
    assert sandbox.count("customer") == 1


def test_a_refusal_after_work_began_is_replayed_too(client):
    invoice = open_invoice(client, acme(client, card="pm_card_chargeCustomerFail"), 900)
    for _ in range(3):
        with pytest.raises(stripe.CardError):
            client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"})
    assert client.v1.invoices.retrieve(invoice).attempt_count == 1


def test_a_refused_parameter_is_not_stored_under_the_key(client):
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"nonsense": "x"}, {"idempotency_key": "k1"})
    assert create(client).name == "Acme"


def test_a_key_is_forgotten_after_a_day_and_then_executes_again(client, sandbox, clock):
    create(client)
    clock.seconds += 86_399
    create(client)
    assert sandbox.count("customer") == 1
    clock.seconds += 1
    create(client)
    assert sandbox.count("customer") == 2


def test_a_second_request_with_a_key_in_flight_gets_409(client, sandbox):
    sandbox.faults.plan(CREATE, "slow", seconds=0.4)
    slow = threading.Thread(target=create, args=(client,))
    slow.start()
    time.sleep(0.15)
    with pytest.raises(stripe.StripeError) as refused:
        create(client_of(sandbox))
    slow.join()
    assert (refused.value.http_status, refused.value.error.code) == (409, "idempotency_key_in_use")
    assert sandbox.count("customer") == 1


@pytest.mark.parametrize(
    ("fault", "status", "customers", "replayed"),
    [
        ("reset-before", None, 0, False),
        ("500-before", 500, 0, False),
        ("502-html", 502, 0, False),
        ("503", 503, 0, False),
        ("429", 429, 0, False),
        ("429-lock-timeout", 429, 0, False),
        ("409", 409, 0, False),
        ("500-should-retry-false", 500, 0, False),
        ("ok-then-reset", None, 1, True),
        ("ok-then-timeout", None, 1, True),
        ("ok-then-500", 500, 1, True),
        ("truncated-json", None, 1, True),
    ],
)
def test_the_same_key_after_a_fault_gives_one_customer(client, sandbox, fault, status, customers, replayed):
    sandbox.faults.plan(CREATE, fault, seconds=0.05)
    with pytest.raises(stripe.StripeError) as failed:
        create(client)
    assert failed.value.http_status == status or (fault == "truncated-json" and failed.value.http_status == 200)
    assert sandbox.count("customer") == customers
    assert create(client).last_response.headers.get("Idempotent-Replayed") == ("true" if replayed else None)
    assert sandbox.count("customer") == 1


def test_a_stored_500_is_replayed_although_the_work_was_done(client, sandbox):
    sandbox.faults.plan(CREATE, "ok-but-500-stored")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            create(client)
        assert failed.value.http_status == 500
    assert failed.value.headers["Idempotent-Replayed"] == "true"
    assert sandbox.count("customer") == 1


def test_a_lost_answer_to_a_payment_charges_once(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 900)
    sandbox.faults.plan(PAY, "ok-then-reset")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"})
    assert client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"}).status == "paid"
    assert sandbox.charged(customer)["invoices"][invoice]["charges"] == 1


def test_a_good_card_can_be_declined_once(client, sandbox):
    invoice = open_invoice(client, acme(client), 900)
    sandbox.faults.plan(PAY, "402-card-declined")
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(invoice)
    assert client.v1.invoices.pay(invoice).attempt_count == 2


def test_a_new_object_can_be_missing_from_lists_for_a_minute(client, sandbox, clock):
    sandbox.faults.plan(CREATE, "list-lags")
    customer = create(client)
    assert client.v1.customers.list().data == []
    assert client.v1.customers.retrieve(customer.id).name == "Acme"
    clock.seconds += 60
    assert len(client.v1.customers.list().data) == 1


def test_doubled_headers_are_survived(client, sandbox):
    sandbox.faults.plan("*", "duplicate-header")
    assert create(client).name == "Acme"


def test_the_same_seed_gives_the_same_faults(tmp_path):
    def run(folder):
        with StripeSandbox(folder) as sandbox:
            sandbox.faults.draw_from(seed=7, rate=0.5, kinds=["503", "429", "500-before"])
            for _ in range(20):
                try:
                    client_of(sandbox).v1.customers.list()
                except stripe.StripeError:
                    continue
            return sandbox.faults.happened

    first = run(tmp_path / "a")
    assert first == run(tmp_path / "b")
    assert 0 < len(first) < 20


def test_through_a_storm_of_faults_the_invoice_is_charged_once(client, sandbox):
    customer = acme(client)
    invoice = open_invoice(client, customer, 900)
    # With a 500 stored for ever, sending again is not enough.
    sandbox.faults.draw_from(seed=11, rate=0.9, kinds=FAULTS.keys() - {"ok-but-500-stored", "402-card-declined"})
    for _ in range(60):
        try:
            assert client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"}).status == "paid"
        except stripe.StripeError:
            continue
    assert len(sandbox.faults.happened) > 30
    assert sandbox.charged(customer)["charged"] == {"usd": 900}


def test_an_unknown_fault_is_refused(sandbox):
    with pytest.raises(UnknownFault):
        sandbox.faults.plan("*", "sulks")
    assert all(FAULTS.values())
