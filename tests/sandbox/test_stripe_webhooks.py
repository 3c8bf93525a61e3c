import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from sandbox.stripe_sandbox import StripeSandbox
from sandbox.stripe_webhooks import NotLoopback, signature
from tests.sandbox.stripe_cast import acme, client_of, open_invoice

SECRET = "whsec_for_tests_only"


class Inbox(ThreadingHTTPServer):
    """A product's webhook endpoint that keeps what it got; `refuses` answers are 500 first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Letterbox)
        self.refuses = 0
        self.letters: list[stripe.Event] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/stripe/webhook"

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.letters]


class _Letterbox(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = stripe.Webhook.construct_event(body, self.headers["Stripe-Signature"], SECRET)
        refused = self.server.refuses > 0
        self.server.refuses -= refused
        if not refused:
            self.server.letters.append(event)
        self.send_response(500 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_step_of_a_paid_invoice_is_told_with_a_signature_the_sdk_verifies(client, sandbox, inbox):
    sandbox.deliver_to(inbox.url, SECRET)
    client.v1.invoices.pay(open_invoice(client, acme(client), 900))
    assert sandbox.wait_until_delivered()
    told = [kind for kind in inbox.types if kind.startswith(("invoice", "charge"))]
    assert told == [
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
        "charge.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    event = inbox.letters[-1]
    assert client.v1.events.retrieve(event.id).data.object.status == event.data.object.status == "paid"


def test_an_endpoint_that_fails_is_told_again(client, sandbox, inbox):
    sandbox.deliver_to(inbox.url, SECRET)
    inbox.refuses = 2
    acme(client, card=None)
    assert sandbox.wait_until_delivered()
    assert inbox.types == ["customer.created"]


def test_what_was_not_delivered_is_delivered_after_a_restart(tmp_path, inbox):
    with StripeSandbox(tmp_path) as sandbox:
        sandbox.deliver_to(inbox.url, SECRET)
        sandbox.deliveries(paused=True)
        acme(client_of(sandbox), card=None)
    assert inbox.letters == []
    with StripeSandbox(tmp_path) as sandbox:
        assert sandbox.wait_until_delivered()
    assert inbox.types == ["customer.created"]


def test_deliveries_can_be_doubled_and_shuffled(client, sandbox, inbox):
    sandbox.deliver_to(inbox.url, SECRET)
    sandbox.deliveries(paused=True)
    for _ in range(20):
        acme(client, card=None)
    sandbox.deliveries(duplicate=2, shuffle=True, seed=3)
    assert sandbox.wait_until_delivered()
    order = [event.id for event in inbox.letters]
    happened = [event.id for event in client.v1.events.list({"limit": 100}).data][::-1]
    assert sorted(order) == sorted(happened * 3)
    assert list(dict.fromkeys(order)) != happened


def test_deliveries_can_be_delayed(client, sandbox, inbox):
    sandbox.deliver_to(inbox.url, SECRET)
    sandbox.deliveries(delay_s=0.2, seed=1)
    acme(client, card=None)
    assert sandbox.wait_until_delivered()
    assert inbox.types == ["customer.created"]


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/x", "https://127.0.0.1/x", "http://a@127.0.0.1/", "http://stripe.com/"]
)
def test_only_this_machine_is_called(sandbox, url):
    with pytest.raises(NotLoopback):
        sandbox.deliver_to(url, SECRET)


def test_a_changed_body_does_not_verify():
    header = signature(b'{"id": 1}', SECRET, 1_793_000_000)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header('{"id": 2}', header, SECRET)
