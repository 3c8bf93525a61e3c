"""What does Parley do, in one go? A month of one customer's conversations, from traffic over REST to a paid invoice.

Everything here goes through the same doors as a user's: the REST contract, the commands, Stripe's API. It can be run
again: what exists is left as it is, events sent again are duplicates, and the bill is the same.
"""

import datetime as dt
import json
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import stripe
from django.core.management import call_command
from django.utils import timezone

from api.keys import create_key
from billing.billing import bill
from billing.collecting import collect_due, ensure_customer
from billing.models import Invoice, InvoiceKind, InvoiceStatus
from billing.stripe_gateway import ask, stripe_client
from parley_client import Api, RequestRefused
from plans.customers import find_customer
from plans.money import format_amount
from refinery.margin import invoice_margin
from sandbox.traffic import Mix, month_of_traffic

CUSTOMER = {"key": "acme", "name": "Acme Inc", "email": "ap@acme.test", "currency": "USD"}
PLAN = {"code": "growth", "name": "Growth"}
TERMS = {
    "currency": "USD",
    "interval": "month",
    "base_fee": "49.00",
    "rates": {
        "simple": {"included": 1000, "price": {"model": "flat", "unit": "0.02"}},
        "standard": {"included": 200, "price": {"model": "flat", "unit": "0.05"}},
        "complex": {"included": 0, "price": {"model": "flat", "unit": "0.15"}},
        "enterprise": {"included": 0, "price": {"model": "flat", "unit": "0.50"}},
    },
}
MIX = Mix(questions=1_200, talks=300, cases=40, projects=2)
SCOPES = ["ingest", "read", "manage", "backfill"]
KEY_LIVES = dt.timedelta(hours=1)
PAYMENT_PATIENCE_S = 90.0

Say = Callable[[str], object]


class NotPaid(Exception):
    """Stripe's payment did not come home in time."""


def demonstrate(url: str, *, say: Say) -> Invoice:
    """Run the story against a served Parley; returns the paid invoice of last month. Raises NotPaid."""
    now = timezone.now()
    month = (now.replace(day=1) - dt.timedelta(days=1)).date().replace(day=1)
    _, key = create_key("demo", SCOPES, expires_at=now + KEY_LIVES, now=now)
    api = Api(url, key, patience_s=30)
    try:
        say("1. Acme agrees to a plan and puts a card on file.")
        agree(api, month)
        say(f"2. Acme's product reports its conversations of {month:%B %Y} over REST, a few of the calls twice.")
        report_usage(url, key, month)
    finally:
        api.close()
    say("3. The month is over: conversations settle, the period is counted, priced and invoiced.")
    call_command("settle")
    bill(as_of=now, now=now)
    say("4. Stripe collects, and its webhooks bring the payment home.")
    return wait_until_paid(month)


def agree(api: Api, month: dt.date) -> None:
    """Customer, card, plan and subscription, as far as they do not exist."""
    _post(api, "/v1/customers", CUSTOMER)
    _put_card_on_file()
    if _post(api, "/v1/plans", PLAN):
        _post(api, f"/v1/plans/{PLAN['code']}/versions", TERMS)
        _post(api, f"/v1/plans/{PLAN['code']}/versions/1/publish", {})
    subscription = {
        "customer": CUSTOMER["key"],
        "plan": PLAN["code"],
        "starts_at": f"{month.isoformat()}T00:00:00Z",
    }
    known = api.request("GET", f"/v1/subscriptions?customer={quote(CUSTOMER['key'])}").body["data"]
    if not known:
        _post(api, "/v1/subscriptions", subscription)


def report_usage(url: str, key: str, month: dt.date) -> None:
    """Send the month's events; those sent before are duplicates."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"acme-{month:%Y-%m}.ndjson"
        events = month_of_traffic(CUSTOMER["key"], month, MIX, seed="parley")
        file.write_text("".join(json.dumps(event) + "\n" for event in events))
        call_command("replay", str(file), url=url, key=key)


def wait_until_paid(month: dt.date) -> Invoice:
    """Wait for the webhook that says so, sending the invoices on their way meanwhile."""
    start = dt.datetime.combine(month, dt.time(), dt.UTC)
    give_up_at_s = time.monotonic() + PAYMENT_PATIENCE_S
    while time.monotonic() < give_up_at_s:
        collect_due(now=timezone.now())
        invoice = Invoice.objects.get(customer__key=CUSTOMER["key"], kind=InvoiceKind.CYCLE, period_start=start)
        if invoice.status == InvoiceStatus.PAID:
            return invoice
        time.sleep(0.3)
    raise NotPaid(f"{invoice} is still {invoice.status}")


def bill_text(invoice: Invoice) -> str:
    """The bill as a person reads it."""
    currency, margin = invoice.currency, invoice_margin(invoice)
    last_day = invoice.period_end - dt.timedelta(seconds=1)
    start = Invoice.objects.filter(subscription=invoice.subscription, kind=InvoiceKind.START).first()
    assert invoice.plan_version is not None  # the invoice of a period
    rows: list[tuple[str, ...]] = [("", "used", "included", "overage", "amount")]
    for line in invoice.lines.all():
        details = line.details
        counts = [f"{details[name]:,}" for name in ("quantity", "included", "overage")] if details else ["", "", ""]
        rows.append((line.tier or line.description, *counts, format_amount(line.amount, currency)))
    width = max(len(row[0]) for row in rows)
    table = [f"  {row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    rule = "  " + "-" * (width + 44)
    return "\n".join(
        [
            f"Invoice {invoice.number} to {invoice.customer.name}, "
            f"{invoice.plan_version.plan.name} plan, {invoice.period_start:%d %b} to {last_day:%d %b %Y}",
            rule,
            *table,
            rule,
            f"  {'total ' + currency:<{width}}{format_amount(invoice.total, currency):>44}",
            "",
            *(f"  {line.description}" for line in invoice.lines.all() if line.tier),
            f"  Base fees are due in advance: {start} charged the first." if start else "",
            "",
            f"  supplier cost  {_dollars(margin.cost_nanos)} USD, of it {_dollars(margin.retry_nanos)} "
            "wasted on failed and repeated calls",
            f"  margin         {'unknown' if margin.share is None else f'{margin.share:.1%}'}",
            f"  Stripe         {invoice.collection.stripe_invoice_id}, {invoice.collection.stripe_status}",
        ]
    )


def _dollars(nanos: int) -> str:
    return f"{Decimal(nanos).scaleb(-9):.2f}"


def _post(api: Api, path: str, body: dict[str, Any]) -> bool:
    """Create something; False where it exists. Raises RequestRefused."""
    reply = api.request("POST", path, json.dumps(body).encode())
    if reply.status not in (200, 201, 409):
        raise RequestRefused(f"{path}: {reply.reason}")
    return reply.status != 409


def _put_card_on_file() -> None:
    """What Acme does in Stripe's own pages: a card that always pays becomes its default."""
    client = stripe_client()
    stripe_id = ensure_customer(client, find_customer(CUSTOMER["key"]), now=timezone.now())
    settings = ask(lambda: client.v1.customers.retrieve(stripe_id)).invoice_settings
    if settings and settings.default_payment_method:
        return
    card: stripe.PaymentMethod = ask(lambda: client.v1.payment_methods.attach("pm_card_visa", {"customer": stripe_id}))
    ask(lambda: client.v1.customers.update(stripe_id, {"invoice_settings": {"default_payment_method": card.id}}))
