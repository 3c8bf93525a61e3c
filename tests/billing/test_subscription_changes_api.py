"""Changing a subscription over REST: tried with `preview`, done without, refused with a reason."""

import datetime as dt
import json

import pytest
import time_machine

from billing.models import Invoice
from tests.billing.books import billed
from tests.cast import NOON, a_plan, acme, bolt, subscribed
from tests.rest import Caller

pytestmark = pytest.mark.django_db

MIDDLE = NOON + dt.timedelta(days=15)


@pytest.fixture
def desk(caller) -> Caller:
    return caller()


@pytest.fixture
def url() -> str:
    subscription = subscribed(acme(), a_plan("growth"))
    a_plan("scale", base_fee="199.00")
    billed(NOON)
    return f"/v1/subscriptions/{subscription.pk}"


@time_machine.travel(MIDDLE, tick=False)
def test_an_upgrade_is_previewed_with_its_invoice_and_then_made(desk: Caller, url: str) -> None:
    tried = desk.post(f"{url}/change", {"plan": "scale", "preview": True}).json()
    assert (tried["preview"], tried["plan"], Invoice.objects.count()) == (True, "scale", 1)
    (invoice,) = tried["invoices"]
    assert [(line["kind"], line["amount"]) for line in invoice["lines"]] == [
        ("proration", "-24.50"),
        ("proration", "99.50"),
    ]
    assert desk.get(url).json()["plan"] == "growth"
    made = desk.post(f"{url}/change", {"plan": "scale"}).json()
    assert without_identity(made) == without_identity(tried) | {"preview": False}
    assert desk.get(url).json()["plan"] == "scale"


def without_identity(answer: dict) -> dict:
    """All but what only what exists can have."""
    invoices = [{k: v for k, v in invoice.items() if k not in ("id", "number")} for invoice in answer["invoices"]]
    for invoice in invoices:
        invoice["lines"] = [{k: v for k, v in line.items() if k != "id"} for line in invoice["lines"]]
    return answer | {"invoices": json.loads(json.dumps(invoices))}


@time_machine.travel(MIDDLE, tick=False)
def test_the_invoice_of_a_preview_has_no_id_and_no_number(desk: Caller, url: str) -> None:
    (invoice,) = desk.post(f"{url}/change", {"plan": "scale", "preview": True}).json()["invoices"]
    assert (invoice["id"], invoice["number"]) == (None, None)


@time_machine.travel(MIDDLE, tick=False)
def test_a_change_can_be_scheduled_seen_and_taken_back(desk: Caller, url: str) -> None:
    changed = desk.post(f"{url}/change", {"plan": "scale", "when": "period_end"}).json()
    assert changed["plan"] == "growth"
    assert changed["scheduled_change"] == {"at": "2026-12-02T12:00:00Z", "plan": "scale", "plan_version": 1}
    assert desk.post(f"{url}/unschedule", {}).json()["scheduled_change"] is None
    assert desk.post(f"{url}/unschedule", {}).status_code == 409
    at = desk.post(f"{url}/change", {"plan": "scale", "at": "2026-11-20T00:00:00Z"}).json()
    assert at["scheduled_change"]["at"] == "2026-11-20T00:00:00Z"


@time_machine.travel(MIDDLE, tick=False)
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"plan": "scale", "at": "2026-11-01T00:00:00Z"}, "/at"),
        ({"plan": "scale", "at": "2026-12-01T00:00:00Z", "when": "now"}, "/at"),
        ({"plan": "scale", "version": 7}, "/version"),
        ({"plan": "deal"}, "/plan"),
        ({"plan": "scale", "now": True}, "/now"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_its_place(desk: Caller, url: str, body: dict, pointer: str) -> None:
    a_plan("deal", customer=bolt())
    answer = desk.post(f"{url}/change", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


@time_machine.travel(MIDDLE, tick=False)
def test_moving_to_where_one_is_changes_nothing(desk: Caller, url: str) -> None:
    assert desk.post(f"{url}/change", {"plan": "growth"}).status_code == 409


@time_machine.travel(MIDDLE, tick=False)
def test_a_pause_shows_and_ends(desk: Caller, url: str) -> None:
    assert desk.post(f"{url}/pause", {"preview": True}).json()["status"] == "paused"
    assert desk.post(f"{url}/pause", {}).json()["status"] == "paused"
    assert desk.post(f"{url}/pause", {}).status_code == 409
    assert desk.post(f"{url}/resume", {}).json()["status"] == "active"


@time_machine.travel(MIDDLE, tick=False)
def test_cancelling_now_answers_with_the_final_invoice(desk: Caller, url: str) -> None:
    ended = desk.post(f"{url}/cancel", {"at_period_end": False}).json()
    assert (ended["status"], ended["ends_at"]) == ("ended", "2026-11-17T12:00:00Z")
    assert [(invoice["kind"], invoice["total"]) for invoice in ended["invoices"]] == [("cycle", "-24.50")]
    assert desk.post(f"{url}/cancel", {}).status_code == 409


@time_machine.travel(MIDDLE, tick=False)
def test_a_cancellation_is_undone_before_it_comes(desk: Caller, url: str) -> None:
    assert desk.post(f"{url}/cancel", {}).json()["status"] == "ending"
    assert desk.post(f"{url}/uncancel", {}).json()["ends_at"] is None
    assert desk.post(f"{url}/uncancel", {}).status_code == 409


@time_machine.travel(NOON, tick=False)
def test_a_trial_and_an_anchor_show(desk: Caller) -> None:
    acme()
    a_plan("trial", trial_days=14)
    body = {"customer": "acme", "plan": "trial", "anchor_at": "2026-12-01T00:00:00Z"}
    made = desk.post("/v1/subscriptions", body).json()
    assert (made["status"], made["trial_ends_at"]) == ("trialing", "2026-11-16T12:00:00Z")
    assert (made["anchor_at"], made["current_period_end"]) == ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z")


def test_a_private_plan_is_cloned_from_a_public_one(desk: Caller) -> None:
    a_plan("growth")
    acme()
    made = desk.post("/v1/plans", {"code": "deal", "name": "Deal", "customer": "acme", "clone_of": "growth"})
    assert (made.status_code, made.json()["customer"]) == (201, "acme")
    clone, original = (desk.get(f"/v1/plans/{code}/versions/1").json() for code in ("deal", "growth"))
    assert (clone["terms"], clone["status"]) == (original["terms"], "draft")
    assert desk.post("/v1/plans", {"code": "deal-2", "name": "Deal", "clone_of": "nothing"}).status_code == 404


def test_changes_need_the_scope_to_manage(caller, url: str) -> None:
    for change in ("change", "cancel", "pause", "resume", "uncancel", "unschedule"):
        assert caller("read").post(f"{url}/{change}", {"plan": "scale"}).status_code == 403
