"""`/v1/coupons` and `/v1/subscriptions/{id}/discounts`: made, redeemed, tried, ended."""

import uuid

import pytest
import time_machine

from plans.models import Subscription
from tests.billing.books import DEC_2
from tests.cast import NOON, a_plan, acme, bolt, subscribed

pytestmark = pytest.mark.django_db
SPRING = {"code": "SPRING", "name": "Spring sale", "duration": "repeating", "periods": 3, "percent_off": "12.50"}


@pytest.fixture
def discounts_url() -> str:
    """Of Acme's subscription."""
    return discounts_of(subscribed(acme(), a_plan()))


@pytest.fixture(autouse=True)
def noon():
    with time_machine.travel(NOON, tick=False):
        yield


def discounts_of(subscription: Subscription) -> str:
    return f"/v1/subscriptions/{subscription.pk}/discounts"


def test_a_coupon_is_made_read_and_listed(caller) -> None:
    made = caller("manage").post("/v1/coupons", SPRING)
    assert (made.status_code, made["Location"]) == (201, "/v1/coupons/SPRING")
    found = caller("read").get("/v1/coupons/SPRING").json()
    assert found == made.json()
    assert (found["percent_off"], found["amount_off"], found["currency"]) == ("12.5", None, None)
    assert (found["periods"], found["applies_to"], found["redeemed"], found["archived_at"]) == (3, "all", 0, None)
    assert [coupon["code"] for coupon in caller("read").get("/v1/coupons").json()["data"]] == ["SPRING"]


def test_amounts_are_decimal_strings_of_a_currency(caller) -> None:
    body = {"code": "FIVE", "name": "Five off", "duration": "once", "amount_off": "5", "currency": "USD"}
    made = caller("manage").post("/v1/coupons", body).json()
    assert (made["amount_off"], made["currency"], made["percent_off"]) == ("5.00", "USD", None)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"percent_off": "0"}, "/percent_off"),
        ({"percent_off": 10}, "/percent_off"),
        ({"percent_off": "-10"}, "/percent_off"),
        ({"code": "no spaces"}, "/code"),
        ({"duration": "once"}, "/periods"),
        ({"amount_off": "5.00"}, "/percent_off"),
        ({"tiers": ["simple"]}, "/tiers"),
        ({"redeem_by": "2020-01-01T00:00:00Z"}, "/redeem_by"),
        ({"max_redemptions": 0}, "/max_redemptions"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(caller, change: dict, pointer: str) -> None:
    answer = caller("manage").post("/v1/coupons", SPRING | change)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_code_is_given_once(caller) -> None:
    manage = caller("manage")
    assert [manage.post("/v1/coupons", SPRING).status_code for _ in range(2)] == [201, 409]


def test_a_coupon_is_redeemed_and_the_discount_listed(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING)
    answer = manage.post(discounts_url, {"coupon": "SPRING"})
    assert answer.status_code == 201
    discount = answer.json()
    assert (discount["first_period"], discount["end_period"], discount["coupon"]["redeemed"]) == (0, 3, 1)
    assert caller("read").get(discounts_url).json()["data"] == [discount]
    assert manage.post(discounts_url, {"coupon": "SPRING"}).status_code == 409


def test_a_preview_changes_nothing(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING)
    tried = manage.post(discounts_url, {"coupon": "SPRING", "preview": True})
    assert (tried.status_code, tried.json()["end_period"]) == (200, 3)
    assert caller("read").get(discounts_url).json()["data"] == []
    assert caller("read").get("/v1/coupons/SPRING").json()["redeemed"] == 0


def test_an_archived_coupon_is_refused(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING)
    assert manage.post("/v1/coupons/SPRING/archive", {}).json()["archived_at"] == "2026-11-02T12:00:00Z"
    assert manage.post("/v1/coupons/SPRING/archive", {}).status_code == 409
    refused = manage.post(discounts_url, {"coupon": "SPRING"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "the coupon SPRING is archived")


def test_the_last_redemption_is_given_once(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING | {"max_redemptions": 1})
    assert manage.post(discounts_url, {"coupon": "SPRING"}).status_code == 201
    refused = manage.post(discounts_of(subscribed(bolt(), a_plan("other"))), {"coupon": "SPRING"})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "the coupon SPRING has been redeemed 1 times, as often as it allows"


def test_a_discount_is_ended_from_a_period_on(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING)
    discount = manage.post(discounts_url, {"coupon": "SPRING"}).json()
    end = f"{discounts_url}/{discount['id']}/end"
    assert manage.post(end, {"preview": True}).json()["end_period"] == 1
    assert manage.post(end, {"from_period": 2}).json()["end_period"] == 2
    assert manage.post(end, {"from_period": 2}).status_code == 400
    with time_machine.travel(DEC_2, tick=False):
        assert manage.post(end, {"from_period": 1}).json()["end_period"] == 1


def test_what_does_not_exist_is_not_found(caller, discounts_url: str) -> None:
    all_scopes = caller()
    assert all_scopes.get("/v1/coupons/NONE").status_code == 404
    assert all_scopes.post("/v1/coupons/NONE/archive", {}).status_code == 404
    assert all_scopes.post(discounts_url, {"coupon": "NONE"}).status_code == 404
    assert all_scopes.get(f"/v1/subscriptions/{uuid.uuid4()}/discounts").status_code == 404
    assert all_scopes.post(f"{discounts_url}/{uuid.uuid4()}/end", {}).status_code == 404


def test_the_discount_of_another_subscription_is_not_found(caller, discounts_url: str) -> None:
    manage = caller("manage")
    manage.post("/v1/coupons", SPRING)
    discount = manage.post(discounts_url, {"coupon": "SPRING"}).json()
    other = discounts_of(subscribed(bolt(), a_plan("other")))
    assert manage.post(f"{other}/{discount['id']}/end", {}).status_code == 404


@pytest.mark.parametrize("path", ["", "/SPRING", "/SPRING/archive"])
def test_coupons_are_for_those_who_may(caller, stranger_status, path: str) -> None:
    caller("manage").post("/v1/coupons", SPRING)
    assert stranger_status(f"/v1/coupons{path}", post=path.endswith("archive")) == 401
    assert caller("read", "ingest").post(f"/v1/coupons{path}", SPRING).status_code in (403, 405)
    assert caller("manage", "ingest").get(f"/v1/coupons{path}").status_code in (403, 405)


def test_discounts_are_for_those_who_may(caller, stranger_status, discounts_url: str) -> None:
    assert [stranger_status(discounts_url), stranger_status(discounts_url, post=True)] == [401, 401]
    assert caller("manage").get(discounts_url).status_code == 403
    assert caller("read").post(discounts_url, {"coupon": "SPRING"}).status_code == 403
    assert caller("read").post(f"{discounts_url}/{uuid.uuid4()}/end", {}).status_code == 403
