"""`GET /v1/customers/{key}/entitlement`: whether a conversation may start, and why."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from billing.entitling import Allowance, UnknownTier, entitlement
from billing.running import running_bill
from plans.changing import pause
from plans.models import Customer
from tests.billing.books import DEC_2, conversation, conversations, happened
from tests.cast import NOON, a_plan, acme, canceled, settled, subscribed

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)
TEN_INCLUDED = {
    "included": 10,
    "price": {"model": "graduated", "steps": [{"up_to": 2, "unit": "0.05"}, {"unit": "0.04"}]},
}
RATES: dict[str, Any] = {"simple": TEN_INCLUDED, "standard": "0.05", "complex": "0.15", "enterprise": "0.50"}


def on_plan(**terms: Any) -> Customer:
    customer = acme()
    subscribed(customer, a_plan(**{"rates": RATES} | terms))
    return customer


def left(customer: Customer, tier: str = "simple", *, now: dt.datetime = NOON + 3 * DAY) -> Allowance:
    (allowance,) = entitlement(customer, tier=tier, now=now).tiers
    return allowance


def test_what_is_included_may_be_used() -> None:
    customer = on_plan()
    happened(*conversations(4), now=NOON)
    allowance = left(customer)
    assert (allowance.reason, allowance.included, allowance.used, allowance.remaining) == ("within_allowance", 10, 4, 6)
    assert allowance.overage_price == Decimal("0.05")  # of the first one beyond


def test_conversations_going_on_use_the_allowance_already() -> None:
    customer = on_plan()
    happened(*conversations(4), now=NOON)
    allowance = left(customer, now=NOON + DAY / 2)
    assert (allowance.used, allowance.open, allowance.remaining) == (0, 4, 6)


@pytest.mark.parametrize(("used", "price"), [(10, "0.05"), (11, "0.05"), (12, "0.04"), (500, "0.04")])
def test_beyond_the_allowance_the_next_one_has_its_price(used: int, price: str) -> None:
    customer = on_plan()
    happened(*conversations(used), now=NOON)
    allowance = left(customer)
    assert (allowance.reason, allowance.remaining, allowance.overage_price) == ("overage", 0, Decimal(price))
    assert entitlement(customer, now=NOON + 3 * DAY).entitled


def test_all_tiers_are_told_where_none_is_asked_for_and_the_cheapest_decides() -> None:
    found = entitlement(on_plan(), now=NOON)
    assert [each.tier for each in found.tiers] == ["simple", "standard", "complex", "enterprise"]
    assert [each.reason for each in found.tiers] == ["within_allowance", "overage", "overage", "overage"]
    assert (found.entitled, found.reason) == (True, "within_allowance")


def test_credits_of_a_pool_are_taken_by_weight() -> None:
    pool = {"credits": 10, "weights": {"simple": 1, "standard": 4}, "overage": {"model": "flat", "unit": "0.01"}}
    rates = {tier: RATES[tier] for tier in ("complex", "enterprise")}
    customer = on_plan(rates=rates, pool=pool)
    happened(*conversations(7), now=NOON)
    simple, standard = left(customer), left(customer, "standard")
    assert (simple.meter, simple.takes, simple.used, simple.remaining) == ("pool", 1, 7, 3)
    assert (simple.reason, standard.reason) == ("within_allowance", "overage")
    assert (simple.overage_price, standard.overage_price) == (Decimal("0.01"), Decimal("0.01"))
    happened(*conversations(3, name="more"), now=NOON)
    assert left(customer, "standard").overage_price == Decimal("0.04")


def test_at_the_maximum_the_next_one_costs_nothing() -> None:
    customer = on_plan(maximum="49.10")
    happened(*conversations(14), now=NOON)
    allowance = left(customer)
    assert (allowance.reason, allowance.overage_price) == ("maximum_reached", Decimal(0))


def test_in_a_free_trial_nothing_is_used_up() -> None:
    customer = on_plan(trial_days=7, trial_usage="free")
    happened(*conversations(12), now=NOON)
    allowance = left(customer)
    assert (allowance.reason, allowance.overage_price) == ("free_trial", Decimal(0))
    assert left(customer, now=NOON + 8 * DAY).remaining == 8  # of ten, for 23 of 30 days


def test_without_a_subscription_in_force_nobody_may() -> None:
    customer = acme()
    assert entitlement(customer, now=NOON).reason == "no_subscription"
    subscription = subscribed(customer, a_plan())
    assert entitlement(customer, now=NOON - DAY).reason == "not_started"
    canceled(subscription, now=NOON)
    assert entitlement(customer, now=DEC_2 - DAY).entitled
    ended = entitlement(customer, now=DEC_2)
    assert (ended.entitled, ended.reason, ended.tiers) == (False, "ended", ())


def test_while_paused_nobody_may() -> None:
    customer = acme()
    subscription = subscribed(customer, a_plan())
    pause(subscription.pk, now=NOON + DAY)
    found = entitlement(customer, now=NOON + 2 * DAY)
    assert (found.entitled, {each.reason for each in found.tiers}) == (False, {"paused"})


def test_a_tier_that_is_not_priced_is_refused() -> None:
    customer = on_plan()
    with pytest.raises(UnknownTier):
        entitlement(customer, tier="simple@peak", now=NOON)


def test_what_is_used_is_what_the_running_bill_says() -> None:
    customer = on_plan()
    happened(*conversations(13), conversation("big", 40, tier="complex"), now=NOON)
    settled(NOON + 2 * DAY)
    now = NOON + 3 * DAY
    bill = running_bill(customer, now=now)
    used = {each.tier: each.used for each in entitlement(customer, now=now).tiers}
    assert used == {priced.tier: priced.quantity for priced in bill.tiers}


def test_the_entitlement_over_rest(caller, stranger_status) -> None:
    on_plan()
    happened(*conversations(4), now=NOON)
    with time_machine.travel(NOON + 3 * DAY, tick=False):
        answer = caller("read").get("/v1/customers/acme/entitlement?tier=simple").json()
        assert caller("read").get("/v1/customers/acme/entitlement?tier=huge").status_code == 400
        everything = caller("read").get("/v1/customers/acme/entitlement").json()
    said = ("tier", "entitled", "reason", "included", "used", "open", "remaining", "overage_unit_amount", "period_end")
    expected = ["simple", True, "within_allowance", 10, 4, 0, 6, "0.05", "2026-12-02T12:00:00Z"]
    assert [answer[name] for name in said] == expected
    assert everything == answer | {"tiers": everything["tiers"]}
    assert len(everything["tiers"]) == 4
    assert caller("ingest").get("/v1/customers/acme/entitlement").status_code == 403
    assert caller("read").get("/v1/customers/nobody/entitlement").status_code == 404
    assert stranger_status("/v1/customers/acme/entitlement") == 401


def test_a_customer_without_a_subscription_is_told_so_over_rest(caller) -> None:
    acme()
    answer = caller("read").get("/v1/customers/acme/entitlement").json()
    assert (answer["entitled"], answer["reason"], answer["tier"]) == (False, "no_subscription", None)
    assert answer["tiers"] == []
