import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stripe
from stripe import StripeClient

from tests.sandbox.stripe_cast import acme, open_invoice

ROOT = Path(__file__).parents[2]


def run(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], StripeClient, int]:
    """The stand-in as a process of its own; the client talks to it."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "sandbox.stripe_server",
        "--data",
        folder,
        "--port",
        port,
        "--port-file",
        port_file,
    ]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT)
    deadline = time.monotonic() + 15
    while not port_file.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    port = int(port_file.read_text())
    address = f"http://127.0.0.1:{port}"
    return process, StripeClient("sk_test_x", base_addresses={"api": address}, max_network_retries=0), port


def control(url: str, what: str, asked: dict[str, object] | None = None) -> dict[str, object]:
    body = json.dumps(asked).encode() if asked is not None else None
    request = urllib.request.Request(f"{url}/_sandbox/{what}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def test_what_was_answered_survives_a_kill_and_the_key_still_replays(tmp_path):
    process, client, port = run(tmp_path)
    customer = acme(client)
    invoice = open_invoice(client, customer, 900)
    client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"})
    process.kill()
    process.wait()
    process, client, _ = run(tmp_path, port)
    again = client.v1.invoices.pay(invoice, {}, {"idempotency_key": "pay"})
    assert (again.status, again.last_response.headers["Idempotent-Replayed"]) == ("paid", "true")
    assert control(f"http://127.0.0.1:{port}", f"charged?customer={customer}")["charged"] == {"usd": 900}
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_it_imports_nothing_of_the_house():
    house = ("django", "config", "console", "portal", "refinery", "billing", "metering", "plans", "api")
    code = "import sys, sandbox.stripe_server, sandbox.stripe_sandbox; print(*{n.split('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(house) & set(loaded.stdout.split())


def test_faults_cards_and_the_clock_are_steered_over_http(client, sandbox):
    control(sandbox.url, "faults", {"operation": "GET /v1/customers", "fault": "503", "times": 2})
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.list()
    assert client.v1.customers.list().data == []
    card = client.v1.customers.retrieve(acme(client)).invoice_settings.default_payment_method
    control(sandbox.url, "cards", {"payment_method": card, "decline": "insufficient_funds"})
    control(sandbox.url, "webhooks", {"duplicate": 1, "shuffle": True})
    before = control(sandbox.url, "clock", {"advance": 0})["now"]
    assert control(sandbox.url, "clock", {"advance": 86_400})["now"] == before + 86_400


@pytest.mark.parametrize("wrong", [{"operation": "*", "fault": "sulks"}, {"fault": "503"}, {"seed": "x", "rate": 1}])
def test_a_wrong_control_is_refused(sandbox, wrong):
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(sandbox.url, "faults", wrong)
    refused.value.close()
    assert refused.value.code == 400


def test_a_person_can_look_and_names_are_harmless(client, sandbox):
    customer = acme(client, name="<script>alert(1)</script>")
    open_invoice(client, customer, 1250, number="P-9")
    with urllib.request.urlopen(f"{sandbox.url}/_sandbox/", timeout=5) as answer:
        page = answer.read().decode()
    assert "P-9" in page and "12.50 USD" in page and "&lt;script&gt;" in page
    assert "<script" not in page


def test_many_clients_at_once_lose_nothing(sandbox, client):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda place: client.v1.customers.create({"name": f"Bolt {place}"}).id, range(80)))
    assert len(set(made)) == sandbox.count("customer") == 80


def test_another_host_name_is_not_served(sandbox):
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/", headers={"Host": "evil.test:80"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    refused.value.close()
    assert refused.value.code == 400
