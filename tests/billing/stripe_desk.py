"""A desk between Parley and a Stripe of its own: finalized invoices at hand, time that passes for both, and webhooks
that are delivered when, how often and in what order a test wants.

Everything goes through the unmodified SDK over HTTP to the stand-in; time is real time plus what a test lets pass.
"""

import datetime as dt
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from billing.collecting import collect_due, ensure_customer
from billing.finalizing import finalize_invoice
from billing.models import Collection, CreditNote, Invoice, InvoiceKind, InvoiceLine, LineKind, StripeCall
from billing.refunding import refund_due
from billing.stripe_gateway import stripe_client
from billing.stripe_inbox import receive, work_off_inbox
from billing.stripe_tax import finalize_due
from billing.stripe_tax_records import record_due
from plans.models import Customer, Plan, Subscription
from plans.subscribing import subscribe
from sandbox.stripe_sandbox import StripeSandbox
from sandbox.stripe_webhooks import signature
from tests.cast import NOON, a_plan, acme

SECRET = "whsec_for_tests_only"
TIERS = ("simple", "standard", "complex", "enterprise")
PREFIXES = (f"T{number}-" for number in itertools.count())
"""Invoice numbers start anew with every test's database, but Stripe wants each only once."""


class Desk:
    """Parley with Stripe behind it; `now` is the time of both."""

    def __init__(self, sandbox: StripeSandbox, clock: "Clock") -> None:
        self.stripe, self.clock = sandbox, clock
        self.client = stripe_client()
        self.seen = next((event.id for event in self.client.v1.events.list({"limit": 1}).data), "")

    @property
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.clock.ahead

    def pass_time(self, **duration: float) -> None:
        """Time goes by on both sides; nobody works meanwhile."""
        passed = dt.timedelta(**duration)
        self.clock.ahead += passed
        self.stripe.move_clock(int(passed.total_seconds()))

    # Customers and what they owe

    def put_card_on_file(self, customer: Customer, card: str = "pm_card_visa") -> str:
        """The customer's default card at Stripe from now on; its id."""
        stripe_id = ensure_customer(self.client, customer, now=self.now)
        method = self.client.v1.payment_methods.attach(card, {"customer": stripe_id})
        self.client.v1.customers.update(stripe_id, {"invoice_settings": {"default_payment_method": method.id}})
        return method.id

    def acme_with_card(self, card: str = "pm_card_visa", **fields: Any) -> Customer:
        customer = acme(**fields)
        self.put_card_on_file(customer, card)
        return customer

    def invoice(self, customer: Customer, *amounts: int) -> Invoice:
        """A finalized invoice with a line a tier of these amounts, in minor units."""
        subscription = Subscription.objects.filter(customer=customer).first() or _subscribe(customer)
        month = Invoice.objects.filter(customer=customer).count()
        period = {"period_index": month, "period_start": NOON, "period_end": NOON + dt.timedelta(days=30)}
        draft = Invoice.objects.create(
            customer=customer,
            subscription=subscription,
            plan_version=subscription.phases.get().plan_version,
            kind=InvoiceKind.CYCLE,
            currency=customer.currency,
            total=sum(amounts),
            counted_at=self.now,
            created_at=self.now,
            **period,
        )
        for position, amount in enumerate(amounts):
            tier = TIERS[position % 4]
            common = {"subscription": subscription, "kind": LineKind.USAGE, "quantity": 1, "unit_amount": None}
            InvoiceLine.objects.create(
                invoice=draft,
                position=position,
                tier=tier,
                description=f"{tier} usage",
                amount=amount,
                **common,
                **period,
            )
        return finalize_invoice(draft.pk, now=self.now)

    # Work

    def collect(self) -> None:
        """The sweeps of this moment that take invoices to Stripe."""
        while collect_due(now=self.now):
            pass

    def give_back(self) -> None:
        """The sweeps of this moment that take credit notes to Stripe."""
        while refund_due(now=self.now):
            pass

    def tax(self) -> None:
        """The sweeps of this moment that ask Stripe for taxes, and tell it of them."""
        while finalize_due(now=self.now) or record_due(now=self.now):
            pass

    def read_inbox(self) -> None:
        while work_off_inbox(now=self.now):
            pass

    def quiesce(self) -> None:
        """The faults end, and days go by in which sweeps run; webhooks are lost."""
        self.stripe.faults.clear()
        for hours in (0.02, 1.1, 25, 1.1):
            self.pass_time(hours=hours)
            self.tax()
            self.collect()
            self.give_back()

    # What Stripe says

    def at_stripe(self, invoice: Invoice) -> stripe.Invoice:
        return self.client.v1.invoices.retrieve(collection_of(invoice).stripe_invoice_id or "")

    def stripe_invoices_of(self, customer: Customer) -> list[stripe.Invoice]:
        """All that any customer of Stripe's has who is this one of ours."""
        known = [found.id for found in self.stripe_customers_of(customer)]
        return [made for one in known for made in self.client.v1.invoices.list({"customer": one, "limit": 100}).data]

    def stripe_customers_of(self, customer: Customer) -> list[stripe.Customer]:
        query = f'metadata["parley_customer"]:"{customer.id}"'
        return self.client.v1.customers.search({"query": query}).data

    def charges_of(self, customer: Customer) -> list[int]:
        """What was really charged for each of the customer's invoices at Stripe, where anything was."""
        journals = [self.stripe.charged(found.id)["invoices"] for found in self.stripe_customers_of(customer)]
        charged = [invoice for journal in journals for invoice in journal.values()]
        assert all(invoice["charges"] == 1 for invoice in charged)
        return [invoice["charged"] for invoice in charged]

    def refunded_to(self, customer: Customer) -> int:
        """What has really arrived on the customer's cards again."""
        return sum(
            self.stripe.charged(found.id)["refunded"].get(customer.currency.lower(), 0)
            for found in self.stripe_customers_of(customer)
        )

    # Webhooks

    def events(self) -> list[dict[str, Any]]:
        """What happened at Stripe since this was asked last, oldest first."""
        newer: Any = {"limit": 100, "ending_before": self.seen} if self.seen else {"limit": 100}
        found = [event.to_dict() for event in self.client.v1.events.list(newer).auto_paging_iter()]
        happened = found if self.seen else found[::-1]
        self.seen = happened[-1]["id"] if happened else self.seen
        return happened

    def deliver(self, *events: dict[str, Any], copies: int = 1, seed: int | None = None) -> None:
        """Stripe's webhooks arrive (by default: all that happened since last time), and the inbox is read."""
        letters = list(events or self.events()) * copies
        if seed is not None:
            random.Random(seed).shuffle(letters)
        for event in letters:
            body = json.dumps(event, default=str).encode()  # the SDK reads decimals from strings
            receive(body, self.sign(body), secret=SECRET, now=self.now)
        self.read_inbox()

    def sign(self, body: bytes) -> str:
        return signature(body, SECRET, int(self.now.timestamp()))


class Clock:
    """How far time has been moved on for the Stripe of this module."""

    ahead = dt.timedelta(0)


@pytest.fixture(scope="module", name="stripe_at_hand")
def start_stripe() -> Iterator[tuple[StripeSandbox, Clock]]:
    with StripeSandbox() as sandbox:
        sandbox._server.store.rows("PRAGMA synchronous=OFF")  # it is killed in tests of its own, not here
        yield sandbox, Clock()


@pytest.fixture(name="desk")
def open_desk(committed: None, settings: Any, stripe_at_hand: tuple[StripeSandbox, Clock]) -> Iterator[Desk]:
    sandbox, clock = stripe_at_hand
    settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "sk_test_parley", sandbox.url
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.INVOICE_NUMBER_PREFIX = next(PREFIXES)
    settings.CREDIT_NOTE_NUMBER_PREFIX = f"CN-{settings.INVOICE_NUMBER_PREFIX}"
    yield Desk(sandbox, clock)
    sandbox.faults.clear()


def _subscribe(customer: Customer) -> Subscription:
    plan = Plan.objects.filter(code=f"in-{customer.currency}".lower()).first()
    plan = plan or a_plan(f"in-{customer.currency}".lower(), currency=customer.currency, base_fee="0")
    return subscribe(customer, plan, version=None, starts_at=NOON, now=NOON)


def collection_of(invoice: Invoice) -> Collection:
    return Collection.objects.get(invoice=invoice.pk)


def status_of(invoice: Invoice) -> str:
    return Invoice.objects.get(pk=invoice.pk).status


def booked(reason: Invoice | CreditNote) -> dict[str, tuple[str, str, int]]:
    """What the ledger holds for an invoice or a credit note: name -> (debited, credited, minor units)."""
    rows = reason.transfers.select_related("debit", "credit").order_by("id")
    return {row.key.split(":", 2)[2]: (row.debit.kind, row.credit.kind, row.amount) for row in rows}


class Killed(BaseException):
    """The process ends here, as far as our code is concerned."""


def kill_at(monkeypatch: pytest.MonkeyPatch, change: int, *, done: bool) -> None:
    """The process dies at its nth request that changes something at Stripe: before it is sent, or once it is `done`."""
    request, changes = stripe.RequestsClient.request, itertools.count(1)

    def deadly(self: Any, method: str, *args: Any) -> Any:
        dies = method != "get" and next(changes) == change
        answer = None if dies and not done else request(self, method, *args)
        if dies:
            raise Killed
        return answer

    monkeypatch.setattr(stripe.RequestsClient, "request", deadly)


def steps_of(invoice) -> list[str]:
    return list(StripeCall.objects.filter(invoice=invoice).order_by("intended_at").values_list("step", flat=True))


def in_its_state(invoice) -> tuple[str, str, str]:
    collection = collection_of(invoice)
    return status_of(invoice), collection.state, collection.stripe_status
