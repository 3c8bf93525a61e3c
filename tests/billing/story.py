"""A winter of Acme, Bolt and Cleo, in which everything that books can hold happens once, and rightly.

Acme pays by card, and reports late. Bolt has no card and no base fee; a call of Bolt's is voided after it was invoiced,
so that Bolt has credit for a while. Cleo's first invoice is voided, the second given up as uncollectible, the last too
small for Stripe to collect; then Cleo has left. Acme redeems a coupon, and is billed for a set-up, wrongly at first.
Edda has no subscription but a wallet: presents, of which one expires, and prepaid credit that is bought, used,
returned, taken back, and topped up. Frida, Gustav and Hanna pay tax, and get some of their money back (`taking_back`).
"""

import datetime as dt
import json
from decimal import Decimal

from billing.billing import bill
from billing.bringing_home import bring_home
from billing.collecting import ensure_customer
from billing.editing import add_discount
from billing.expiring import expire_grants
from billing.finalizing import finalize_invoice, void_invoice
from billing.granting import void_grant
from billing.models import Collection, Invoice, InvoiceKind
from billing.one_off import OneOff, draft_one_off
from billing.reissuing import reissue
from billing.stripe_gateway import stripe_client
from billing.stripe_inbox import receive, work_off_inbox
from billing.topping_up import set_rule, top_up_due
from metering.corrections import amend_event, void_event
from metering.supplier_models import ALWAYS, SupplierRate
from metering.supplier_rates import forget_book
from plans.customers import create_customer
from plans.models import Customer
from sandbox.stripe_webhooks import signature
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.purse import billed_once, bought, prepaid, present, voided
from tests.billing.taking_back import bill_what_will_be_credited, give_back, give_back_more, sweep
from tests.cast import FLAT_RATES, NOON, a_plan, acme, bolt, canceled, cleo, close, report, send, subscribed

DECEMBER, JANUARY, FEBRUARY = (dt.datetime(2026 + n // 12, n % 12 + 1, 2, 14, tzinfo=dt.UTC) for n in (11, 12, 13))
"""An hour after the grace of a period is over."""
NOW = FEBRUARY + dt.timedelta(hours=1)
"""When the books are looked at."""
SECRET = "whsec_for_tests_only"
PACKAGES = {"included": 1, "price": {"model": "package", "size": 2, "amount": "1.50"}}


def tell_story() -> None:
    """Everything, against the Stripe that the settings name."""
    _begin()
    _november()
    _december()
    _january()


def _begin() -> None:
    prices = dict.fromkeys(("input", "cache_read", "cache_write", "output"), Decimal("0.123456789012"))
    SupplierRate.objects.create(
        source="operator",
        provider="openai",
        model="gpt-5",
        starts_at=ALWAYS,
        usd_per_request=Decimal("0.000000001"),
        **{f"{bucket}_usd_per_million": price for bucket, price in prices.items()},
    )
    forget_book()
    assert send([report("early", 0, conversation="early")], now=NOON) == ["quarantined"]
    subscribed(acme(), a_plan(rates=FLAT_RATES | {"standard": PACKAGES}))
    subscribed(bolt(), a_plan("metered", base_fee="0"))
    subscribed(cleo(timezone="Europe/Berlin"), a_plan("starter", base_fee="10.00"))
    assert len(billed(NOON)) == 2
    coupon = a_coupon(duration="repeating", periods=2, max_redemptions=1)
    redeemed(coupon, acme().subscriptions.get())


def _november() -> None:
    priced = {"provider": "openai", "model": "gpt-5", "tokens": (700, 2_000, 100, 200, 50)}
    send(
        [
            report("a1", 2, turn=1, **priced),
            report("a2", 2.1, turn=1, attempt=2, **priced),
            report("a3", 2.2, turn=2, status="error", **priced),
            report("a4", 2.3, turn=2, outcome="resolved", feature="support", **priced),
            report("a5", 2.4, kind="tool", byok=True, **priced),
            report("a6", 90, outcome="escalated"),
            report("wrong", 3, conversation="wrong"),
            *(report(f"b{n}", n, conversation=f"b{n}", customer="bolt", tokens=(80_000, 0, 0, 0, 0)) for n in range(3)),
            *(report(f"s{n}", n, conversation=f"s{n}", tokens=(9_000, 0, 0, 0, 0)) for n in range(4)),
            report("c1", 5, conversation="c1", customer="cleo", tokens=(90_000, 0, 0, 0, 0)),
        ],
        now=NOON + dt.timedelta(days=5),
    )
    close(2.5, outcome="solved")
    assert len(billed(DECEMBER)) == 3
    void_invoice(_invoice("cleo", InvoiceKind.START, 0).pk, reason="wrong", now=DECEMBER)
    _put_card_on_file(acme())
    _set_up(acme())
    _fill_wallet(edda())
    bill_what_will_be_credited(DECEMBER)
    sweep(DECEMBER)
    _give_up(_invoice("cleo", InvoiceKind.CYCLE, 0))


def _december() -> None:
    """What changes November, after it was invoiced."""
    send([report("late", 4, conversation="late"), report("late-2", 5, conversation="wrong")], now=DECEMBER)
    amend_event(acme(), "wrong", {"input_tokens": 5_000}, reason="miscounted", now=DECEMBER)
    void_event(bolt(), "b2", reason="a test call", now=DECEMBER)
    send([report("c2", DECEMBER, conversation="c2", customer="cleo")], now=DECEMBER)
    canceled(cleo().subscriptions.get(), now=DECEMBER)
    assert [invoice.total for invoice in billed(JANUARY) if invoice.total < 0]
    sweep(JANUARY)


def _january() -> None:
    _use_wallet(edda())
    give_back(JANUARY)
    send([report("b9", JANUARY, conversation="b9", customer="bolt", tokens=(30_000, 0, 0, 0, 0))], now=JANUARY)
    assert [invoice for invoice in billed(FEBRUARY) if invoice.credit_applied]
    give_back_more(FEBRUARY)
    sweep(FEBRUARY)
    send([report("open", NOW - dt.timedelta(minutes=30), conversation="open")], now=NOW)
    sweep(NOW)
    _hear_from_stripe(NOW)


def _set_up(customer: Customer) -> None:
    """Billed once, less a discount by hand; issued anew."""
    lines = [OneOff("Set-up", 1, Decimal("250.00")), OneOff("Training", 3, Decimal("33.335"))]
    draft = draft_one_off(customer, lines, now=DECEMBER)
    add_discount(draft.pk, description="As agreed", percent=Decimal("12.5"), now=DECEMBER)
    wrong = finalize_invoice(draft.pk, now=DECEMBER)
    finalize_invoice(reissue(wrong.pk, reason="an old address", now=DECEMBER).pk, now=DECEMBER)


def edda() -> Customer:
    known = Customer.objects.filter(key="edda").first()
    return known or create_customer(key="edda", currency="USD", now=NOON)


def _fill_wallet(customer: Customer) -> None:
    """What happens to credit in November."""
    _put_card_on_file(customer)
    present(1_000, customer, expires_at=DECEMBER)
    assert billed_once(300, customer).status == "paid"
    bought(2_000, customer, now=DECEMBER)
    voided(bought(500, customer, now=DECEMBER).invoice, now=DECEMBER)
    void_grant(prepaid(600, customer), now=DECEMBER)
    assert expire_grants(as_of=DECEMBER, now=DECEMBER) == 1


def _use_wallet(customer: Customer) -> None:
    """The top-up has been paid: it pays, comes back, pays again, and makes room for the next."""
    present(400, customer, now=JANUARY)
    voided(billed_once(9_000, customer, now=JANUARY), now=JANUARY)
    assert billed_once(2_100, customer, now=JANUARY).status == "paid"
    present(50, customer, now=JANUARY)
    set_rule(customer, below=1_000, up_to=3_000, cool_off=dt.timedelta(days=1), now=JANUARY)
    assert len(top_up_due(as_of=JANUARY, now=JANUARY)) == 1


def billed(as_of: dt.datetime) -> list[Invoice]:
    run = bill(as_of=as_of, now=as_of)
    assert not run.failed
    return list(Invoice.objects.filter(pk__in=run.invoices))


def _invoice(customer: str, kind: str, index: int) -> Invoice:
    return Invoice.objects.get(customer__key=customer, kind=kind, period_index=index)


def _put_card_on_file(customer: Customer) -> None:
    client = stripe_client()
    stripe_id = ensure_customer(client, customer, now=DECEMBER)
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": stripe_id})
    client.v1.customers.update(stripe_id, {"invoice_settings": {"default_payment_method": card.id}})


def _give_up(invoice: Invoice) -> None:
    client = stripe_client()
    stripe_id = Collection.objects.get(pk=invoice.pk).stripe_invoice_id or ""
    client.v1.invoices.mark_uncollectible(stripe_id)
    bring_home(client, stripe_id, now=DECEMBER)


def _hear_from_stripe(now: dt.datetime) -> None:
    """A webhook arrives, as late as ever, about Acme's first invoice."""
    collection = Collection.objects.get(pk=_invoice("acme", InvoiceKind.START, 0).pk)
    event = {"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": collection.stripe_invoice_id}}}
    body = json.dumps(event).encode()
    assert receive(body, signature(body, SECRET, int(now.timestamp())), secret=SECRET, now=now)
    assert work_off_inbox(now=now)
