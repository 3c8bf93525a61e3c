"""`POST /v1/quotes`: the price of a mix, by the one price path."""

import pytest

from plans.publishing import create_plan, draft_plan_version, publish_plan_version
from tests.cast import NOON, a_plan, raw_terms

pytestmark = pytest.mark.django_db


def quoted(caller, status: int = 200, **body: object) -> dict:
    answer = caller("read").post("/v1/quotes", {"plan": "growth", **body})
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_quote_shows_every_tier_and_the_pencil_sum(caller) -> None:
    a_plan()
    quote = quoted(caller, conversations={"simple": 10, "enterprise": 1})
    assert (quote["plan"], quote["plan_version"], quote["currency"], quote["total"]) == ("growth", 1, "USD", "49.70")
    simple, standard, *_ = quote["tiers"]
    assert simple == {
        "tier": "simple",
        "used": 10,
        "allowance": 0,
        "included": 0,
        "overage": 10,
        "amount": "0.20",
        "explanation": "10 simple conversations: 10 x 0.02 = 0.20 USD",
        "steps": [
            {
                "from_unit": 1,
                "to_unit": 10,
                "quantity": 10,
                "unit": "0.02",
                "flat": "0.00",
                "amount": "0.20",
                "package_size": None,
            }
        ],
    }
    assert (standard["used"], standard["amount"]) == (0, "0.00")


def test_nothing_is_quoted_at_the_base_fee(caller) -> None:
    a_plan()
    assert quoted(caller, conversations={})["total"] == "49.00"


def test_the_newest_published_version_is_quoted_unless_one_is_named(caller) -> None:
    plan = a_plan()
    publish_plan_version(draft_plan_version(plan, raw_terms=raw_terms(base_fee="59.00"), now=NOON), now=NOON)
    draft_plan_version(plan, raw_terms=raw_terms(base_fee="1.00"), now=NOON)
    assert quoted(caller, conversations={})["total"] == "59.00"
    assert quoted(caller, conversations={}, version=1)["total"] == "49.00"
    assert quoted(caller, conversations={}, version=3)["total"] == "1.00"


def test_a_tier_that_the_plan_does_not_price_is_refused_by_name(caller) -> None:
    a_plan()
    answer = quoted(caller, 400, conversations={"simple": 1, "gigantic": 2})
    assert answer["errors"] == [{"pointer": "/conversations/gigantic", "detail": "the plan has no such tier"}]


def test_a_plan_that_was_never_published_is_not_quoted(caller) -> None:
    create_plan(code="growth", name="Growth", customer=None, now=NOON)
    assert quoted(caller, 400, conversations={})["errors"][0]["pointer"] == "/plan"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"conversations": {"simple": -1}}, "/conversations/simple"),
        ({"conversations": {"simple": 1.0}}, "/conversations/simple"),
        ({"conversations": {"simple": 10**13}}, "/conversations/simple"),
        ({"conversations": {"simple": 1}, "version": 0}, "/version"),
        ({}, "/conversations"),
        ({"conversations": {}, "discount": 1}, "/discount"),
    ],
)
def test_what_is_no_mix_is_refused_with_a_pointer(caller, body: dict, pointer: str) -> None:
    a_plan()
    assert quoted(caller, 400, **body)["errors"][0]["pointer"] == pointer


def test_an_unknown_plan_or_version_cannot_be_quoted(caller) -> None:
    a_plan()
    assert caller("read").post("/v1/quotes", {"plan": "nope", "conversations": {}}).status_code in (400, 404)
    assert caller("read").post("/v1/quotes", {"plan": "growth", "conversations": {}, "version": 9}).status_code in (
        400,
        404,
    )


def test_a_huge_mix_is_quoted_exactly(caller) -> None:
    a_plan()
    assert quoted(caller, conversations={"enterprise": 10**12})["total"] == "500000000049.00"


def test_a_quote_needs_a_key_that_may_read(caller) -> None:
    body = {"plan": "growth", "conversations": {}}
    assert caller("ingest").post("/v1/quotes", body).status_code == 403
