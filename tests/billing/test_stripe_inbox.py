"""Webhooks: nobody else's is stored, none is lost, and it does not matter how often and in what order they come."""

import json
import time
from typing import Any

import pytest
from django.test import Client

from billing.models import StripeEvent, Transfer
from billing.stripe_inbox import BadWebhook, receive, work_off_inbox
from billing.views.stripe_webhook import MAX_BODY
from config.celery import app
from sandbox.stripe_sandbox import StripeSandbox
from sandbox.stripe_webhooks import signature
from tests.billing.stripe_desk import SECRET, Desk, booked, collection_of, open_desk, start_stripe, status_of  # noqa: F401
from tests.cast import NOON, acme
from tests.metering.conftest import Sessions


def an_event(event_id: str = "evt_1", kind: str = "invoice.paid", **about) -> bytes:
    event = {"id": event_id, "type": kind, "data": {"object": {"id": "in_1", **about}}}
    return json.dumps(event).encode()


def post(body: bytes, header: str | None):
    headers = {} if header is None else {"Stripe-Signature": header}
    return Client().post("/stripe/webhook", body, content_type="application/json", headers=headers)


# Who may tell us something


@pytest.fixture
def at_the_door(db: None, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = SECRET


BODY = an_event()
BAD = {
    "missing": lambda now: None,
    "empty": lambda now: "",
    "garbage": lambda now: "x" * 5000,
    "no time": lambda now: signature(BODY, SECRET, now).split(",")[1],
    "no signature": lambda now: f"t={now}",
    "bare words": lambda now: "t,v1",
    "other body": lambda now: signature(b"{}", SECRET, now),
    "other secret": lambda now: signature(BODY, "whsec_other", now),
    "expired": lambda now: signature(BODY, SECRET, now - 302),
    "future": lambda now: signature(BODY, SECRET, now + 302),
    "expired, with a new time behind": lambda now: f"{signature(BODY, SECRET, now - 9000)},t={now}",
    "expired, with a new time before": lambda now: f"t={now},{signature(BODY, SECRET, now - 9000)}",
    "other time": lambda now: f"t={now}," + signature(BODY, SECRET, now - 1).split(",")[1],
    "not ASCII": lambda now: f"t={now},v1=\xe9\xe9",
    "old scheme": lambda now: signature(BODY, SECRET, now).replace("v1", "v0"),
    "time too long": lambda now: f"t={'9' * 5000},v1=00",
}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD.keys())
def test_what_is_not_signed_by_stripe_just_now_is_400_and_not_stored(at_the_door, header):
    assert post(BODY, header(int(time.time()))).status_code == 400
    assert not StripeEvent.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"null", b"7", b'"x"', b"", b"{}", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"id": NaN}', b"[" * 50_000,
        b'{"id": "evt_1", "type": "x", "data": []}', b'{"id": "evt_1", "type": "x", "data": {"object": []}}',
        b'{"id": 7, "type": "x", "data": {"object": {}}}', b'{"id": "", "type": "x", "data": {"object": {}}}',
        an_event("e" * 256), an_event(kind="k" * 101), an_event("evt_\0"), an_event(name="\ud800"),
        an_event(name="\0"), b'{"id": "a", "id": "b", "type": "x", "data": {"object": {}}}',
    ],
)  # fmt: skip
def test_what_is_signed_but_no_event_is_400_and_not_stored(at_the_door, body):
    header = signature(body, SECRET, int(time.time())) if b"\xff" not in body else "t=1,v1=2"
    assert post(body, header).status_code == 400
    assert not StripeEvent.objects.exists()


def test_what_is_too_large_is_refused_unread(at_the_door):
    body = an_event(name="x" * MAX_BODY)
    assert post(body, signature(body, SECRET, int(time.time()))).status_code == 413
    assert not StripeEvent.objects.exists()


@pytest.mark.parametrize("length", ["abc", "-1"])
def test_a_length_that_is_none_is_refused(at_the_door, length):
    assert Client().post("/stripe/webhook", b"{}", "application/json", CONTENT_LENGTH=length).status_code == 400


def test_only_posts_are_answered(at_the_door):
    assert Client().get("/stripe/webhook").status_code == 405


def test_without_a_secret_nothing_is_believed(at_the_door):
    with pytest.raises(BadWebhook):
        receive(BODY, signature(BODY, "", int(NOON.timestamp())), secret="", now=NOON)


def test_a_rotated_secret_signs_twice_and_either_is_enough(at_the_door):
    at = int(NOON.timestamp())
    both = f"{signature(BODY, 'whsec_new', at)},v1={signature(BODY, SECRET, at).split('v1=')[1]}"
    assert receive(BODY, both, secret=SECRET, now=NOON)


@pytest.mark.parametrize("seconds", [-299, 0, 299])
def test_a_signature_counts_for_five_minutes_either_way(at_the_door, seconds):
    header = signature(BODY, SECRET, int(NOON.timestamp()) - seconds)
    assert receive(BODY, header, secret=SECRET, now=NOON)


# Stored, then answered, then looked into


def test_an_event_is_stored_before_it_is_answered(desk: Desk, monkeypatch):
    desk.clock.ahead *= 0
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    body = an_event(kind="customer.updated")
    assert post(body, desk.sign(body)).status_code == 200
    stored = StripeEvent.objects.get()
    assert (stored.pk, stored.object_id, stored.payload) == ("evt_1", "in_1", json.loads(body))


def test_nothing_is_answered_200_that_could_not_be_stored(desk: Desk, monkeypatch):
    desk.clock.ahead *= 0

    def no_database(*args, **options):
        raise ConnectionRefusedError

    monkeypatch.setattr(StripeEvent.objects, "get_or_create", no_database)
    client = Client(raise_request_exception=False)
    told = client.post("/stripe/webhook", BODY, "application/json", headers={"Stripe-Signature": desk.sign(BODY)})
    assert told.status_code == 500


def test_the_same_event_many_times_at_once_is_stored_once_and_has_one_effect(desk: Desk, sessions: Sessions):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    (paid,) = [event for event in desk.events() if event["type"] == "invoice.paid"]
    body = json.dumps(paid, default=str).encode()
    now, header = desk.now, desk.sign(body)

    def tell() -> bool:
        new = receive(body, header, secret=SECRET, now=now)
        work_off_inbox(now=now)
        return new

    assert sorted(sessions.all([tell] * 20)) == [False] * 19 + [True]
    assert (StripeEvent.objects.count(), status_of(invoice)) == (1, "paid")
    assert Transfer.objects.filter(key__endswith=":payment").count() == 1


def test_different_events_of_one_invoice_at_once_have_one_effect(desk: Desk, sessions: Sessions):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    now = desk.now
    for event in desk.events():
        body = json.dumps(event, default=str).encode()
        receive(body, desk.sign(body), secret=SECRET, now=now)
    StripeEvent.objects.exclude(type__startswith="invoice.").delete()
    sessions.all([lambda: work_off_inbox(now=now)] * 20)
    assert (StripeEvent.objects.filter(state="done").count(), status_of(invoice)) == (
        StripeEvent.objects.count(),
        "paid",
    )
    assert list(booked(invoice)) == ["total", "payment"]


@pytest.mark.parametrize("seed", range(4))
def test_webhooks_doubled_and_shuffled_end_in_the_same_state(desk: Desk, seed):
    customer = desk.acme_with_card()
    paid, small = desk.invoice(customer, 4900), desk.invoice(customer, 30)
    desk.collect()
    desk.deliver(copies=3, seed=seed)
    assert [status_of(invoice) for invoice in (paid, small)] == ["paid", "paid"]
    assert (list(booked(paid)), list(booked(small))) == (["total", "payment"], ["total", "carried"])
    assert not StripeEvent.objects.exclude(state="done").exists()


def test_events_of_last_week_change_nothing(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    happened = desk.events()
    desk.deliver(*happened)
    before = (booked(invoice), collection_of(invoice).stripe_status)
    desk.pass_time(days=7)
    StripeEvent.objects.all().delete()
    desk.deliver(*happened, seed=1)
    assert (booked(invoice), collection_of(invoice).stripe_status) == before


def test_webhooks_days_late_still_bring_it_home(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    desk.client.v1.invoices.pay(desk.at_stripe(invoice).id, {"paid_out_of_band": True})
    desk.pass_time(days=3)
    desk.deliver(seed=2)
    assert status_of(invoice) == "paid"


def test_what_an_event_claims_is_not_believed(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    (opened,) = [event for event in desk.events() if event["type"] == "invoice.finalized"]
    claimed = {**opened["data"]["object"], "status": "paid", "amount_paid": 4900}
    desk.deliver({**opened, "type": "invoice.paid", "data": {"object": claimed}})
    assert (status_of(invoice), collection_of(invoice).stripe_status) == ("finalized", "open")


def test_a_payment_that_has_only_begun_is_no_payment(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card("pm_card_chargeCustomerFail"), 4900)
    desk.collect()
    begun = [event for event in desk.events() if event["type"].startswith("payment_intent.")]
    assert begun[0]["type"] == "payment_intent.created"
    desk.deliver(*begun)
    assert status_of(invoice) == "finalized"


# What it is not about


@pytest.mark.parametrize("metadata", [{}, {"parley_invoice": "not-an-id"}, {"parley_invoice": "0199" + "0" * 28}])
def test_an_invoice_that_is_not_ours_is_ignored(desk: Desk, metadata):
    customer = desk.client.v1.customers.create({"name": "Somebody else"}).id
    desk.client.v1.invoices.create({"customer": customer, "currency": "usd", "metadata": metadata})
    desk.deliver()
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"done"}


def test_a_second_invoice_that_claims_to_be_ours_is_ignored(desk: Desk):
    invoice = desk.invoice(acme(), 4900)
    desk.collect()
    ours = desk.at_stripe(invoice)
    copy: dict = {"customer": ours.customer, "currency": "usd", "metadata": {"parley_invoice": str(invoice.pk)}}
    twin = desk.client.v1.invoices.create(copy).id
    desk.client.v1.invoices.add_lines(twin, {"lines": [{"amount": 4900}]})
    desk.client.v1.invoices.finalize_invoice(twin)
    desk.deliver()
    assert (status_of(invoice), collection_of(invoice).stripe_invoice_id) == ("finalized", ours.id)


@pytest.mark.parametrize("kind", ["invoice.upcoming", "no.such.thing", "invoice.paid"])
@pytest.mark.parametrize("about", [{"id": None}, {"id": 7}, {"id": "in_unknown"}, {"id": "x" * 300}])
def test_events_about_nothing_we_know_are_done_with(desk: Desk, kind, about):
    desk.deliver(json.loads(an_event(kind=kind, **about)))
    assert StripeEvent.objects.get().state == "done"


def test_an_event_that_cannot_be_applied_now_waits_and_stops_no_other(desk: Desk):
    invoice = desk.invoice(desk.acme_with_card(), 4900)
    desk.collect()
    desk.stripe.faults.plan("GET /v1/invoices/{invoice}", "503")
    desk.deliver()
    assert (StripeEvent.objects.filter(state="new", attempts=1).count(), status_of(invoice)) == (1, "paid")
    desk.pass_time(seconds=6)
    desk.read_inbox()
    assert not StripeEvent.objects.filter(state="new").exists()


# The whole way, over HTTP


def test_stripes_own_deliveries_bring_the_payment_home(desk: Desk, settings, live_server, monkeypatch, tmp_path):
    desk.clock.ahead *= 0
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    with StripeSandbox(tmp_path) as another:
        settings.STRIPE_API_BASE = another.url
        another.deliver_to(f"{live_server.url}/stripe/webhook", SECRET)
        another.deliveries(duplicate=3, shuffle=True, seed=1)
        elsewhere = Desk(another, desk.clock)
        invoice = elsewhere.invoice(elsewhere.acme_with_card(), 4900)
        elsewhere.collect()
        assert another.wait_until_delivered()
    assert (status_of(invoice), list(booked(invoice))) == ("paid", ["total", "payment"])
