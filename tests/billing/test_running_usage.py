"""`GET /v1/customers/{key}/usage`: the bill so far, by the price path of the invoice, and what it may come to."""

import datetime as dt

import pytest
import time_machine

from billing.running import NotSubscribed, forecast, running_bill
from metering import watching
from metering.models import SettledConversation
from plans.calendar import Period
from tests.billing.books import DEC_2, GRACE, JAN_2, billed, conversation, conversations, happened
from tests.cast import NOON, a_plan, acme, canceled, cleo, settled, subscribed

pytestmark = pytest.mark.django_db
DAY, MICROSECOND = dt.timedelta(days=1), dt.timedelta(microseconds=1)
NOVEMBER = Period(0, NOON, DEC_2)


@pytest.fixture
def acme_subscribed() -> None:
    subscribed(acme(), a_plan())


def so_far(now: dt.datetime) -> tuple[int, dict[str, int]]:
    """The total, and how many of each tier are used."""
    running = running_bill(acme(), now=now)
    return running.total, {priced.tier: priced.quantity for priced in running.tiers if priced.quantity}


def test_before_anything_has_settled_the_bill_is_the_base_fee(acme_subscribed: None) -> None:
    happened(conversation("c"), now=NOON)
    assert so_far(NOON + DAY) == (4900, {})


def test_what_is_due_counts_before_a_worker_has_settled_it(acme_subscribed: None) -> None:
    happened(*conversations(3), conversation("big", tier="complex"), now=NOON)
    expected = (4921, {"simple": 3, "complex": 1})
    assert so_far(NOON + 2 * DAY) == expected
    settled(NOON + 2 * DAY)
    assert so_far(NOON + 2 * DAY) == expected


def test_conversations_going_on_are_shown_beside_the_bill(acme_subscribed: None) -> None:
    happened(*conversations(2), conversation("big", tier="complex"), now=NOON)
    running = running_bill(acme(), now=NOON + DAY)
    assert (running.total, running.open_counts) == (4900, {"simple": 2, "complex": 1})


def test_with_very_many_going_on_the_bill_is_the_same_and_says_as_of_when_they_were_counted(
    acme_subscribed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened(*conversations(3), conversation("big", 30, tier="complex"), now=NOON)
    now = NOON + 2 * DAY
    live = running_bill(acme(), now=now)
    monkeypatch.setattr(watching, "MANY_OPEN", 0)
    for moment in (now, now + dt.timedelta(minutes=1)):
        kept = running_bill(acme(), now=moment)
        assert (kept.total, kept.open_counts, kept.open_as_of) == (live.total, live.open_counts, now)
    assert running_bill(acme(), now=now).forecast_total == live.forecast_total


def test_what_is_due_may_be_settled_by_the_read_itself(acme_subscribed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MANY_OPEN", 0)
    happened(*conversations(3), conversation("going on", 40), now=NOON)
    assert so_far(NOON + 2 * DAY) == (4906, {"simple": 3})
    assert SettledConversation.objects.count() == 3


def test_the_running_bill_at_the_last_instant_is_what_gets_invoiced(acme_subscribed: None) -> None:
    happened(*conversations(5), *conversations(2, 24 * 29 - 1, tier="standard", name="last"), now=DEC_2)
    total, used = so_far(DEC_2 - MICROSECOND)
    assert used == {"simple": 5, "standard": 2}
    _, november = billed(DEC_2 + GRACE)
    assert november.total == total


def test_what_was_due_in_the_period_before_is_not_on_the_running_bill(acme_subscribed: None) -> None:
    happened(*conversations(5), now=NOON)
    assert so_far(DEC_2) == (4900, {})


def test_what_settled_ahead_of_the_clock_is_in_its_period(acme_subscribed: None) -> None:
    happened(conversation("c", 24 * 29.5), now=DEC_2)
    settled(JAN_2)
    assert so_far(DEC_2 - DAY) == (4900, {})
    assert so_far(DEC_2 + DAY) == (4902, {"simple": 1})


def test_a_customer_without_a_subscription_has_no_running_bill(acme_subscribed: None) -> None:
    with pytest.raises(NotSubscribed):
        running_bill(cleo(), now=NOON)
    with pytest.raises(NotSubscribed):
        running_bill(acme(), now=NOON - MICROSECOND)


def test_an_ended_subscription_has_no_running_bill() -> None:
    canceled(subscribed(acme(), a_plan()), now=NOON)
    assert so_far(DEC_2 - MICROSECOND) == (4900, {})
    with pytest.raises(NotSubscribed):
        running_bill(acme(), now=DEC_2)


def test_a_forecast_goes_on_at_the_pace_so_far_rounded_up() -> None:
    assert forecast({"simple": 10}, {}, NOVEMBER, NOON + 10 * DAY) == {"simple": 30}
    assert forecast({"simple": 1}, {}, NOVEMBER, NOON + 7 * DAY) == {"simple": 5}
    assert forecast({"simple": 10}, {}, NOVEMBER, DEC_2 - MICROSECOND) == {"simple": 11}


def test_a_forecast_is_at_least_what_is_certain() -> None:
    assert forecast({"simple": 1}, {"simple": 9, "complex": 2}, NOVEMBER, NOON + 15 * DAY) == {
        "simple": 10,
        "complex": 2,
    }


def test_the_first_minutes_of_a_period_make_no_forecast_of_millions() -> None:
    assert forecast({"simple": 2}, {}, NOVEMBER, NOON) == {"simple": 60}
    assert forecast({"simple": 2}, {}, NOVEMBER, NOON + MICROSECOND) == {"simple": 60}


def test_the_running_bill_over_rest(caller, acme_subscribed: None) -> None:
    happened(*conversations(2), *conversations(1, 24 * 4, tier="complex"), now=NOON + 4 * DAY)
    with time_machine.travel(NOON + 5 * DAY - MICROSECOND, tick=False):
        answer = caller("read").get("/v1/customers/acme/usage")
    usage = answer.json()
    simple = usage["tiers"][0]
    assert (usage["total"], usage["base_fee"], usage["open"]) == ("49.04", "49.00", {"complex": 1})
    assert (simple["used"], simple["overage"], simple["amount"]) == (2, 2, "0.04")
    assert usage["forecast_total"] == "49.41"  # 13 simple by then and the complex one that goes on
    assert usage["period_start"] == "2026-11-02T12:00:00Z"


def test_the_running_bill_is_for_those_who_may_read(caller, stranger_status, acme_subscribed: None) -> None:
    assert caller("ingest").get("/v1/customers/acme/usage").status_code == 403
    assert caller("read").get("/v1/customers/nobody/usage").status_code == 404
    assert stranger_status("/v1/customers/acme/usage") == 401
    cleo()
    with time_machine.travel(NOON + DAY, tick=False):
        assert caller("read").get("/v1/customers/cleo/usage").status_code == 409
