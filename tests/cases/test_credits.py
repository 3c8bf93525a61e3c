"""Prepaid and promotional credit, as others have it."""

import uuid
from typing import Any

import pytest

from billing.expiring import expire_grants
from billing.models import Grant
from plans.burning import Purse, burn_order, draw
from tests.billing.purse import billed_once, left, prepaid
from tests.cases.bills import MONTH
from tests.cases.collection import Case, field_cases, instant


@field_cases("credits", "rule", "order")
def test_grants_burn_in_one_order(case: Case) -> None:
    purses = purses_of(case["inputs"]["grants"])
    names = {purse.id: name for name, purse in purses.items()}
    order = burn_order(purses.values())
    assert [names[purse.id] for purse in order] == case["expected"]["order"]
    if "draw" in case["expected"]:
        given = {names[purse.id]: amount for purse, amount in draw(order, int(case["inputs"]["usage"]), untaxed)}
        assert {name: given.get(name, 0) for name in names.values()} == whole(case["expected"]["draw"])


@field_cases("credits", "charge")
def test_credit_that_is_not_enough_is_used_up_and_the_rest_is_due(case: Case) -> None:
    (purse,) = purses_of([{"id": "only", "priority": 1, "balance": case["inputs"]["balance"]}]).values()
    ((_, used),) = draw([purse], int(case["inputs"]["charge"]), untaxed)
    due = int(case["inputs"]["charge"]) - used
    assert {"credits_used": used, "invoice": due} == whole(case["expected"])


@pytest.mark.django_db
@field_cases("credits", "grants", "usage", without="rule")
def test_an_invoice_is_paid_from_the_grants_that_are_good_then(case: Case) -> None:
    """All usage of a case is on one invoice, which is written when the last of it happened; units are cents."""
    grants, usage = case["inputs"]["grants"], case["inputs"]["usage"]
    billed_at = max(instant(at) for at, _ in usage)
    given = {grant["id"]: given_on_its_first_day(grant) for grant in grants}
    invoice = billed_once(sum(int(amount) for _, amount in usage), now=billed_at)
    expire_grants(as_of=billed_at, now=billed_at)
    found = {"overage": invoice.amount_due} if "overage" in case["expected"] else {}
    balances = {name: left(grant) for name, grant in given.items()}
    assert found == whole({name: figure for name, figure in case["expected"].items() if name == "overage"})
    assert balances == whole(case["expected"].get("balances", {}))


def given_on_its_first_day(grant: dict[str, Any]) -> Grant:
    return prepaid(
        int(grant["amount"]),
        priority=grant["priority"],
        expires_at=instant(grant["expires"]),
        now=instant(grant["effective"]),
    )


def purses_of(grants: list[dict[str, Any]]) -> dict[str, Purse]:
    """The grants by name, in a wallet; their ids are in the order of the names."""
    ids = {name: uuid.UUID(int=number) for number, name in enumerate(sorted(grant["id"] for grant in grants))}
    return {
        grant["id"]: Purse(
            id=ids[grant["id"]],
            balance=int(grant.get("balance", 0)),
            priority=grant["priority"],
            expires_at=instant(grant["expires"]) if grant.get("expires") else None,
            promotional=grant.get("category") == "promotional",
            created_at=instant(grant["created"]) if "created" in grant else MONTH.start,
        )
        for grant in grants
    }


def untaxed(amount: int) -> int:
    return amount


def whole(figures: dict[str, str]) -> dict[str, int]:
    return {name: int(figure) for name, figure in figures.items()}
