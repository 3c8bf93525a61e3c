"""`/v1/wallets`: what a customer has, giving and taking back, and the rule that tops it up."""

import datetime as dt
from typing import Any
from urllib.parse import quote

import pytest
import time_machine

from billing.models import Grant, Invoice, TopUpRule
from billing.topping_up import top_up_due
from plans.customers import create_customer
from tests.billing.books import conversations, happened
from tests.billing.purse import billed_once, bought, prepaid, present
from tests.cast import NOON, a_plan, acme, bolt, subscribed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]

DAY = dt.timedelta(days=1)
WALLET = "/v1/wallets/acme"
GRANT = {"kind": "promotional", "name": "Welcome", "amount": "20.00"}
RULE = {"below": "20.00", "up_to": "100.00", "cool_off": "P1D"}


@pytest.fixture
def clock() -> Any:
    acme()
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 400
    return [error["pointer"] for error in answer.json()["errors"]]


def test_a_wallet_shows_what_can_be_paid_with_it(caller: Any) -> None:
    present(2_000)
    prepaid(1_000, expires_at=NOON + DAY)
    bought(5_000)
    billed_once(500)
    found = caller("read").get(WALLET).json()
    amounts = {name: found[name] for name in ("currency", "balance", "credit", "available", "pending")}
    assert amounts == {
        "currency": "USD",
        "balance": "25.00",
        "credit": "0.00",
        "available": "25.00",
        "pending": "50.00",
    }
    shown = [(grant["name"], grant["amount"], grant["used"], grant["left"]) for grant in found["grants"]]
    assert shown == [("Welcome", "20.00", "0.00", "20.00"), ("Prepaid", "10.00", "5.00", "5.00")]
    assert found["top_up"] is None


def test_what_is_available_falls_with_usage_that_is_not_invoiced_yet(caller: Any, clock: Any) -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    prepaid(1_000)
    happened(*conversations(4, tier="enterprise"), now=NOON)
    clock.move_to(NOON + 2 * DAY)
    found = caller("read").get(WALLET).json()
    assert (found["balance"], found["available"]) == ("10.00", "8.00")


def test_promotional_credit_is_given(caller: Any) -> None:
    answer = caller("manage").post(f"{WALLET}/grants", GRANT | {"priority": 1, "expires_at": "2027-01-01T00:00:00Z"})
    assert (answer.status_code, answer["Location"]) == (201, "/v1/wallets/acme/grants")
    given = answer.json()
    assert (given["amount"], given["left"], given["used"], given["state"]) == ("20.00", "20.00", "0.00", "active")
    assert (given["priority"], given["expires_at"], given["invoice"]) == (1, "2027-01-01T00:00:00Z", None)


def test_prepaid_credit_is_sold_with_an_invoice(caller: Any) -> None:
    sold = caller("manage").post(f"{WALLET}/grants", GRANT | {"kind": "paid", "paid": "invoice"}).json()
    invoice = Invoice.objects.get()
    assert (sold["state"], sold["left"], sold["invoice"]) == ("pending", "0.00", str(invoice.pk))
    assert (invoice.kind, invoice.amount_due) == ("top_up", 2_000)


def test_credit_is_given_once_however_often_it_is_asked_for(caller: Any) -> None:
    backend = caller("manage")
    answers = [backend.post(f"{WALLET}/grants", GRANT, idempotency_key="welcome") for _ in range(3)]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Grant.objects.count() == 1


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/amount", {"amount": "0.00"}),
        ("/amount", {"amount": "0.001"}),
        ("/amount", {"amount": "-1.00"}),
        ("/amount", {"amount": 20.0}),
        ("/amount", {"amount": "99999999999999"}),
        ("/paid", {"paid": "outside"}),
        ("/paid", {"kind": "paid"}),
        ("/paid", {"kind": "paid", "paid": "later"}),
        ("/kind", {"kind": "stolen"}),
        ("/name", {"name": ""}),
        ("/priority", {"priority": 101}),
        ("/expires_at", {"expires_at": "2026-11-02T12:00:00Z"}),
        ("/effective_at", {"effective_at": "2026-11-02"}),
    ],
)
def test_credit_that_makes_no_sense_is_refused(caller: Any, pointer: str, fields: dict[str, Any]) -> None:
    assert pointers(caller("manage").post(f"{WALLET}/grants", GRANT | fields)) == [pointer]
    assert not Grant.objects.exists()


def test_grants_are_listed_newest_first_and_only_the_customers(caller: Any, clock: Any) -> None:
    given = [present(amount) for amount in (100, 200, 300)]
    prepaid(900, bolt())
    reader = caller("read")
    first = reader.get(f"{WALLET}/grants?limit=2").json()
    second = reader.get(first["next"]).json()
    assert [grant["id"] for grant in first["data"] + second["data"]] == [str(grant.pk) for grant in reversed(given)]


def test_a_grant_is_voided(caller: Any) -> None:
    grant = present(2_000)
    billed_once(500)
    backend = caller("manage")
    void = backend.post(f"{WALLET}/grants/{grant.pk}/void", {}).json()
    assert (void["state"], void["used"], void["left"]) == ("void", "5.00", "0.00")
    assert backend.post(f"{WALLET}/grants/{grant.pk}/void", {}).status_code == 409


def test_the_grant_of_somebody_else_is_not_there(caller: Any) -> None:
    grant = present(2_000, bolt())
    assert caller("manage").post(f"{WALLET}/grants/{grant.pk}/void", {}).status_code == 404


# The rule


def test_a_rule_is_set_shown_and_removed(caller: Any) -> None:
    backend = caller("manage", "read")
    rule = {"below": "20.00", "up_to": "100.00", "cool_off": "PT24H", "last_tried_at": None, "open_invoice": None}
    assert backend.put(f"{WALLET}/top-up", RULE).json() == rule
    assert backend.get(WALLET).json()["top_up"] == rule
    assert backend.delete(f"{WALLET}/top-up").status_code == 204
    assert backend.get(WALLET).json()["top_up"] is None
    assert backend.delete(f"{WALLET}/top-up").status_code == 404


def test_a_rule_that_is_set_again_is_changed(caller: Any) -> None:
    backend = caller("manage")
    backend.put(f"{WALLET}/top-up", RULE)
    changed = backend.put(f"{WALLET}/top-up", {"below": "1.00", "up_to": "2.00"}).json()
    assert (changed["below"], changed["up_to"], changed["cool_off"]) == ("1.00", "2.00", "PT1H")
    assert TopUpRule.objects.count() == 1


def test_a_rule_shows_its_purchase_while_that_is_not_paid(caller: Any) -> None:
    backend = caller("manage", "read")
    backend.put(f"{WALLET}/top-up", RULE)
    (invoice,) = top_up_due(as_of=NOON, now=NOON)
    found = backend.get(WALLET).json()
    assert (found["pending"], found["top_up"]["open_invoice"]) == ("100.00", str(invoice.pk))
    assert found["top_up"]["last_tried_at"] == "2026-11-02T12:00:00Z"


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/below", {"below": "0"}),
        ("/below", {"below": "0.005"}),
        ("/up_to", {"up_to": "20.00"}),
        ("/up_to", {"up_to": 100}),
        ("/cool_off", {"cool_off": "PT1S"}),
        ("/cool_off", {"cool_off": "one hour"}),
        ("/cool_off", {"cool_off": "P999999999999D"}),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(caller: Any, pointer: str, fields: dict[str, Any]) -> None:
    assert pointers(caller("manage").put(f"{WALLET}/top-up", RULE | fields)) == [pointer]
    assert not TopUpRule.objects.exists()


# Who may, and under which name


def test_a_customer_whose_key_has_slashes_has_a_wallet_too(caller: Any) -> None:
    create_customer(key="emea/berlin/acme", currency="USD", now=NOON)
    backend = caller("manage", "read")
    for wallet in ("/v1/wallets/emea/berlin/acme", f"/v1/wallets/{quote('emea/berlin/acme', safe='')}"):
        backend.put(f"{wallet}/top-up", RULE)
        given = backend.post(f"{wallet}/grants", GRANT)
        assert given.status_code == 201
        assert backend.get(given["Location"]).json()["data"][0]["name"] == "Welcome"
        assert backend.post(f"{wallet}/grants/{given.json()['id']}/void", {}).json()["state"] == "void"
        assert backend.get(wallet).json()["customer"] == "emea/berlin/acme"


@pytest.mark.parametrize("path", ["", "/grants"])
def test_a_wallet_is_for_those_who_may_read(caller: Any, stranger_status: Any, path: str) -> None:
    assert stranger_status(WALLET + path) == 401
    assert caller("ingest", "manage").get(WALLET + path).status_code == 403
    assert caller("read").get(f"/v1/wallets/nobody{path}").status_code == 404


def test_a_wallet_changes_for_those_who_may_manage(caller: Any, stranger_status: Any) -> None:
    grant = present(100)
    reader, manager = caller("ingest", "read"), caller("manage")
    for path, body in (("/grants", GRANT), (f"/grants/{grant.pk}/void", {})):
        assert stranger_status(WALLET + path, post=True) == 401
        assert reader.post(WALLET + path, body).status_code == 403
        assert manager.post(f"/v1/wallets/nobody{path}", body).status_code == 404
    assert (reader.put(f"{WALLET}/top-up", RULE).status_code, reader.delete(f"{WALLET}/top-up").status_code) == (
        403,
        403,
    )
    assert manager.put("/v1/wallets/nobody/top-up", RULE).status_code == 404
    assert not TopUpRule.objects.exists()
