"""Can an operator agree terms over REST: customers, tier schemes, plans in versions, subscriptions?"""

import pytest
import time_machine

from tests.cast import raw_terms

pytestmark = pytest.mark.django_db
NOW = "2026-11-20T12:00:00Z"


@pytest.fixture
def desk(caller):
    with time_machine.travel(NOW, tick=False):
        yield caller("read", "manage")


@pytest.fixture
def plan(desk):
    desk.post("/v1/plans", {"code": "growth", "name": "Growth"})
    assert desk.post("/v1/plans/growth/versions", raw_terms()).status_code == 201
    assert desk.post("/v1/plans/growth/versions/1/publish", {}).json()["status"] == "published"
    return "growth"


def acme(desk, **fields):
    return desk.post("/v1/customers", {"key": "acme", "currency": "USD"} | fields)


def test_a_customer_is_created_read_changed_and_erased(desk):
    body = {"key": "acme", "name": "Acme Inc", "email": "ap@acme.test", "currency": "USD", "timezone": "Europe/Berlin"}
    created = desk.post("/v1/customers", body | {"byok": False})
    assert (created.status_code, created["Location"]) == (201, "/v1/customers/acme")
    assert desk.get("/v1/customers/acme").json()["timezone"] == "Europe/Berlin"
    assert desk.patch("/v1/customers/acme", {"name": "Acme AG"}).json()["name"] == "Acme AG"
    assert desk.delete("/v1/customers/acme").status_code == 204
    assert desk.get("/v1/customers/acme").status_code == 404
    assert desk.get("/v1/customers").json() == {"data": [], "next": None}


def test_a_key_is_taken_once(desk):
    assert acme(desk).status_code == 201
    assert acme(desk).status_code == 409


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"currency": "XXQ"}, "/currency"),
        ({"currency": "usd"}, "/currency"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"email": "not an address"}, "/email"),
        ({"key": ""}, "/key"),
        ({"id": "mine"}, "/id"),
    ],
    ids=str,
)
def test_a_customer_that_cannot_be_is_400_with_a_pointer(desk, fields, pointer):
    answer = acme(desk, **fields)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


def test_the_same_idempotency_key_creates_one_customer_and_answers_twice(desk):
    body = {"key": "acme", "currency": "USD"}
    first = desk.post("/v1/customers", body, Idempotency_Key="k1")
    second = desk.post("/v1/customers", body, Idempotency_Key="k1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert desk.post("/v1/customers", body | {"name": "x"}, Idempotency_Key="k1").status_code == 409


def test_the_default_scheme_is_there_and_others_are_made_in_versions(desk):
    default = desk.get("/v1/tier-schemes/default").json()
    assert [tier["code"] for tier in default["tiers"]] == ["simple", "standard", "complex", "enterprise"]
    assert (default["idle_timeout"], default["max_age"], default["token_basis"]) == ("PT24H", "PT72H", "processed")
    tiers = [{"code": "small", "max_turns": 10}, {"code": "large"}]
    assert desk.post("/v1/tier-schemes", {"code": "support", "tiers": tiers}).status_code == 201
    assert desk.post("/v1/tier-schemes/support/versions", {"tiers": [{"code": "one"}]}).json()["version"] == 2
    published = desk.post("/v1/tier-schemes/support/versions/2/publish", {})
    assert published.json()["effective_at"] == "2026-11-20T12:05:00Z"
    assert desk.get("/v1/tier-schemes/support").json()["version"] == 1
    again = desk.post("/v1/tier-schemes/support/versions/2/publish", {})
    assert again.status_code == 409


def test_a_scheme_needs_an_unlimited_last_tier(desk):
    answer = desk.post("/v1/tier-schemes", {"code": "support", "tiers": [{"code": "small", "max_turns": 10}]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/tiers/0")


def test_a_published_version_is_frozen_and_the_next_one_is_a_draft(desk, plan):
    assert desk.post("/v1/plans/growth/versions/1/publish", {}).status_code == 409
    draft = desk.post("/v1/plans/growth/versions", raw_terms(base_fee="59.00"))
    assert (draft.json()["version"], draft.json()["status"]) == (2, "draft")
    assert desk.get("/v1/plans/growth").json()["published_version"] == 1
    assert desk.get("/v1/plans/growth/versions/2").json()["terms"]["base_fee"] == "59.00"


def test_every_mistake_in_terms_is_named_with_its_place(desk, plan):
    wrong = raw_terms(base_fee=49, minimum="100.005")
    wrong["rates"]["simple"]["price"]["unit"] = "-1"
    answer = desk.post("/v1/plans/growth/versions", wrong)
    assert answer.status_code == 400
    places = {error["pointer"] for error in answer.json()["errors"]}
    assert places >= {"/base_fee", "/minimum", "/rates/simple/price/unit"}


def test_a_plan_has_to_price_every_tier_of_its_scheme(desk):
    desk.post("/v1/plans", {"code": "half", "name": "Half"})
    desk.post("/v1/plans/half/versions", raw_terms(rates={"simple": "0.02"}))
    answer = desk.post("/v1/plans/half/versions/1/publish", {})
    assert answer.status_code == 400
    assert "/rates/standard" in {error["pointer"] for error in answer.json()["errors"]}


def test_a_subscription_tells_its_period_and_ends_with_it(desk, plan):
    acme(desk, timezone="America/New_York")
    body = {"customer": "acme", "plan": plan, "starts_at": "2026-10-31T04:00:00Z"}
    created = desk.post("/v1/subscriptions", body)
    assert created.status_code == 201
    one = created.json()
    assert (one["status"], one["current_period_end"]) == ("active", "2026-11-30T05:00:00Z")
    assert desk.post("/v1/subscriptions", body).status_code == 409
    preview = desk.post(f"/v1/subscriptions/{one['id']}/cancel", {"preview": True}).json()
    assert preview["ends_at"] == "2026-11-30T05:00:00Z"
    assert desk.get(f"/v1/subscriptions/{one['id']}").json()["ends_at"] is None
    ended = desk.post(f"/v1/subscriptions/{one['id']}/cancel", {}).json()
    assert (ended["status"], ended["ends_at"]) == ("ending", preview["ends_at"])
    assert desk.post(f"/v1/subscriptions/{one['id']}/cancel", {}).status_code == 409


def test_a_plan_in_another_currency_or_of_another_customer_is_refused(desk, plan):
    acme(desk, currency="EUR")
    body = {"customer": "acme", "plan": plan}
    assert desk.post("/v1/subscriptions", body).json()["errors"][0]["pointer"] == "/plan"
    desk.post("/v1/customers", {"key": "bolt", "currency": "USD"})
    desk.post("/v1/plans", {"code": "deal", "name": "Bolt's deal", "customer": "bolt"})
    desk.post("/v1/plans/deal/versions", raw_terms(base_fee="1.00"))
    desk.post("/v1/plans/deal/versions/1/publish", {})
    desk.post("/v1/customers", {"key": "cleo", "currency": "USD"})
    assert desk.post("/v1/subscriptions", {"customer": "cleo", "plan": "deal"}).status_code == 400
    assert desk.post("/v1/subscriptions", {"customer": "bolt", "plan": "deal"}).status_code == 201


def test_reading_needs_read_and_changing_needs_manage(caller, plan):
    assert caller("ingest").get("/v1/plans").status_code == 403
    assert caller("read").post("/v1/plans", {"code": "x", "name": "X"}).status_code == 403


@pytest.mark.parametrize("key", ["x\ny", "\x7f", ".", ".."])
def test_a_key_that_could_not_stand_in_a_url_is_400(desk, key):
    answer = acme(desk, key=key)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/key")


def test_a_key_is_spelled_for_a_url_in_the_location(desk):
    assert acme(desk, key="a/b c")["Location"] == "/v1/customers/a%2Fb%20c"


def test_a_subscriber_is_not_erased_and_a_start_is_not_ten_years_away(desk, plan):
    acme(desk)
    far = desk.post("/v1/subscriptions", {"customer": "acme", "plan": plan, "starts_at": "9999-12-31T23:00:00Z"})
    assert (far.status_code, far.json()["errors"][0]["pointer"]) == (400, "/starts_at")
    created = desk.post("/v1/subscriptions", {"customer": "acme", "plan": plan}).json()
    assert desk.delete("/v1/customers/acme").status_code == 409
    canceled = desk.post(f"/v1/subscriptions/{created['id']}/cancel", b"")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "ending")
