"""What was void or credited is neither billed again nor given back; and other things that happen once in a while.

Acme is on growth (49.00 a month) since NOON; scale is 199.00, tiny 9.00, yearly 300.00 a year.
"""

import datetime as dt
from typing import Any

import pytest
import time_machine

from billing.billing import bill
from billing.books import check
from billing.models import Invoice
from metering.corrections import void_event
from tests.billing.books import DEC_2, GRACE, billed, conversation, happened
from tests.billing.purse import pay
from tests.cast import NOON, a_plan, acme, subscribed
from tests.rest import Caller

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


@pytest.fixture
def desk(caller) -> Caller:
    return caller()


@pytest.fixture
def url() -> str:
    subscription = subscribed(acme(), a_plan("growth"))
    a_plan("scale", base_fee="199.00")
    a_plan("tiny", base_fee="9.00")
    a_plan("yearly", base_fee="300.00", interval="year")
    billed(NOON)
    return f"/v1/subscriptions/{subscription.pk}"


def at(days: float) -> Any:
    return time_machine.travel(NOON + days * DAY, tick=False)


def credit(desk: Caller) -> str:
    return str(desk.get("/v1/wallets/acme").json()["credit"])


def test_a_fee_given_up_by_voiding_is_not_given_back_as_money(desk: Caller, url: str) -> None:
    with at(5):
        desk.post(f"/v1/invoices/{Invoice.objects.get().pk}/void", {})
    with at(15):
        (final,) = desk.post(f"{url}/cancel", {"at_period_end": False}).json()["invoices"]
        assert [line["amount"] for line in final["lines"]] == ["-24.50", "24.50"]
        assert final["lines"][1]["description"].startswith("Given up before, with INV-000001")
        assert credit(desk) == "0.00"


def test_a_mistaken_upgrade_that_is_voided_and_undone_leaves_nothing(desk: Caller, url: str) -> None:
    pay(Invoice.objects.get())
    with at(15):
        (made,) = desk.post(f"{url}/change", {"plan": "scale"}).json()["invoices"]
        desk.post(f"/v1/invoices/{made['id']}/void", {"reason": "upgraded by mistake"})
        desk.post(f"{url}/change", {"plan": "growth", "when": "now"})
        assert credit(desk) == "0.00"
    assert not check(NOON + 15 * DAY, only=["base_fees_are_billed_as_agreed"])


def test_a_fee_that_a_credit_note_gave_back_is_not_given_back_again(desk: Caller, url: str) -> None:
    start = Invoice.objects.get()
    pay(start)
    with at(5):
        assert desk.post("/v1/credit-notes", {"invoice": str(start.pk), "reason": "sorry"}).status_code == 201
    with at(15):
        desk.post(f"{url}/cancel", {"at_period_end": False})
        assert credit(desk) == "49.00"


def test_usage_that_a_credit_note_gave_back_is_not_given_back_again(desk: Caller) -> None:
    subscribed(acme(), a_plan("growth", base_fee="0"))
    happened(conversation("a", tier="enterprise"), now=NOON)
    (invoice,) = billed(DEC_2 + GRACE)
    pay(invoice)
    with time_machine.travel(DEC_2 + DAY, tick=False):
        desk.post("/v1/credit-notes", {"invoice": str(invoice.pk), "reason": "test traffic"})
        void_event(acme(), "a-1", reason="test traffic", now=DEC_2 + DAY)
    billed(DEC_2 + 31 * DAY + GRACE)
    assert credit(desk) == "0.50"
    assert not check(DEC_2 + 32 * DAY, only=["invoiced_period_is_billed_as_counted_today"])


@pytest.mark.parametrize("grant", [{"kind": "paid", "paid": "outside"}, {"kind": "promotional"}])
def test_reissuing_does_not_take_away_credit_that_had_paid(desk: Caller, grant: dict[str, str]) -> None:
    subscribed(acme(), a_plan("growth"))
    with at(0):
        expires = (NOON + 10 * DAY).isoformat()
        desk.post("/v1/wallets/acme/grants", grant | {"name": "g", "amount": "40.00", "expires_at": expires})
    (start,) = billed(NOON)
    with at(15):
        void = desk.post(f"/v1/invoices/{start.pk}/void", {"reason": "address", "reissue": True}).json()
        again = desk.post(f"/v1/invoices/{void['reissued_as']}/finalize", {}).json()
    assert (start.amount_due, again["amount_due"]) == (900, "9.00")


def test_who_cancels_in_the_trial_pays_no_fee_and_ends_with_it(desk: Caller) -> None:
    acme()
    a_plan("trial", base_fee="30.00", trial_days=15)
    with at(0):
        pk = desk.post("/v1/subscriptions", {"customer": "acme", "plan": "trial"}).json()["id"]
    with at(3):
        assert desk.post(f"/v1/subscriptions/{pk}/cancel", {}).json()["ends_at"] == "2026-11-17T12:00:00Z"
    assert [invoice.total for invoice in billed(NOON + 40 * DAY) if invoice.total] == []


def test_a_change_replaces_the_scheduled_one_whichever_would_come_first(desk: Caller, url: str) -> None:
    with at(5):
        desk.post(f"{url}/change", {"plan": "yearly", "at": (NOON + 10 * DAY).isoformat()})
        made = desk.post(f"{url}/change", {"plan": "tiny", "when": "period_end"}).json()
    assert made["scheduled_change"] == {"at": "2026-12-02T12:00:00Z", "plan": "tiny", "plan_version": 1}


def test_a_reissue_does_not_bill_a_change_that_has_not_begun(desk: Caller, url: str) -> None:
    with at(5):
        desk.post(f"{url}/change", {"plan": "scale", "at": (NOON + 10 * DAY).isoformat()})
        desk.post(f"/v1/invoices/{Invoice.objects.get().pk}/void", {"reissue": True})
    assert Invoice.objects.get(status="draft").subtotal == 4900


def test_the_start_of_a_withdrawn_subscription_is_not_issued_again(desk: Caller) -> None:
    acme()
    a_plan("growth")
    begins = NOON + 5 * DAY
    with at(0):
        body = {"customer": "acme", "plan": "growth", "starts_at": begins.isoformat()}
        pk = desk.post("/v1/subscriptions", body).json()["id"]
    bill(as_of=begins, now=NOON + DAY)
    with at(2):
        desk.post(f"/v1/subscriptions/{pk}/cancel", {"at_period_end": False})
        start = Invoice.objects.get(kind="start")
        assert desk.post(f"/v1/invoices/{start.pk}/void", {"reissue": True}).status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/change", {"plan": "yearly", "at": "9999-12-30T00:00:00Z"}, "/at"),
        ("/v1/tax-rates", {"name": "V", "percent": "1", "starts_at": "0001-01-01T00:00:00+12:00"}, "/starts_at"),
    ],
)
def test_an_instant_at_the_end_of_time_is_refused(desk: Caller, url: str, path: str, body: Any, pointer: str) -> None:
    with at(5):
        answer = desk.post(path if path.startswith("/v1") else url + path, body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


def test_begun_and_canceled_at_one_instant_leaves_room_for_another(desk: Caller) -> None:
    acme()
    a_plan("growth")
    with at(0):
        body = {"customer": "acme", "plan": "growth"}
        pk = desk.post("/v1/subscriptions", body).json()["id"]
        assert desk.post(f"/v1/subscriptions/{pk}/cancel", {"at_period_end": False}).status_code == 200
        assert desk.post("/v1/subscriptions", body).status_code == 201
