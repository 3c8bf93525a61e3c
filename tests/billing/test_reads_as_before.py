"""A read that has all its questions of before answered in one exchange says what a first read says, whatever happened.

Outside of transactions, as requests are: within one, every question is put as it comes.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection

from api import asking
from metering import watching
from metering.watching import count_watched_ahead
from plans.changing import change_plan, pause
from plans.customers import change_customer
from tests.billing.discounts import a_coupon, redeemed
from tests.billing.test_batches import AT_PEAK
from tests.cast import NOON, a_plan, acme, canceled, report, settled, subscribed
from tests.metering.waiting import an_end, change_stored, fold, store

pytestmark = pytest.mark.usefixtures("committed")
HOUR = dt.timedelta(hours=1)
DAY = 24 * HOUR
NOW = NOON + 4 * DAY
PATHS = ("/v1/customers/acme/usage", "/v1/customers/acme/entitlement", "/v1/customers/acme/entitlement?tier=simple")


class Story:
    """One customer, and what may happen to it between two reads."""

    def __init__(self) -> None:
        self.customer = acme()
        self.subscription = subscribed(self.customer, a_plan())
        self.dearer = a_plan("dearer", base_fee="99")

    def steps(self) -> list[Callable[[], object]]:
        """Each leaves something in the database that another connection could have written."""
        return [
            lambda: store(report("a", 1), report("b", 2, conversation="other")),
            fold,
            lambda: settled(30),
            lambda: store(report("late", 3)),
            lambda: store(an_end(3.5)),
            lambda: change_stored(self.customer, "b", voided=True),
            lambda: store(report("open", 90), report("more", 91, conversation="more")),
            lambda: settled(96),
            lambda: redeemed(a_coupon(), self.subscription, now=NOW),
            lambda: change_customer(self.customer, name="Acme Ltd"),
            lambda: change_plan(self.subscription.pk, self.dearer.versions.get(), when="now", now=NOW),
            lambda: store(report("on the new plan", 95, conversation="new")),
            lambda: pause(self.subscription.pk, now=NOW),
            lambda: canceled(self.subscription, now=NOW, when="now"),
        ]


def answers(client: Any, *, at: dt.datetime = NOW) -> list[tuple[int, Any]]:
    """By every path: what it says then."""
    found = []
    with time_machine.travel(at, tick=False):
        for path in PATHS:
            answer = client.get(path)
            found.append((answer.status_code, answer.json()))
    return found


def assert_reads_agree(story: Story, client: Any) -> None:
    """After each thing that happens, the read that remembers says what the one that does not says."""
    said = []
    for happens in story.steps():
        answers(client)  # now it remembers
        happens()
        as_before = answers(client)
        asking._remembered.clear()
        assert as_before == answers(client)
        said.append(as_before)
    assert len({str(each) for each in said}) > len(said) / 3, "much of what happens is to be seen"
    assert said[0][0][0] == 200 and said[-1][0][0] == 409


def test_reads_agree_whatever_happens_between_them(caller: Callable[..., Any]) -> None:
    assert not connection.in_atomic_block
    assert_reads_agree(Story(), caller("read"))


def test_reads_of_a_watched_customer_agree(caller: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MANY_SETTLED", 0)
    monkeypatch.setattr(watching, "MANY_OPEN", 0)
    story, client = Story(), caller("read")
    store(report("first", 1, conversation="first"), report("going on", 94, conversation="going on"))
    settled(40)
    answers(client)
    count_watched_ahead(now=NOW)
    assert_reads_agree(story, client)


@pytest.mark.parametrize("peak", [False, True], ids=["any hour", "in peak hours"])
def test_a_read_that_remembers_puts_no_question_by_itself(
    caller: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, peak: bool
) -> None:
    subscribed(acme(), a_plan(**AT_PEAK) if peak else a_plan())
    client = caller("read")
    store(report("a", 1), report("b", 2, conversation="other"))
    answers(client)
    by_themselves: list[Any] = []
    put = asking._answer
    monkeypatch.setattr(asking, "_answer", lambda *asked: by_themselves.append(asked) or put(*asked))  # type: ignore[func-returns-value]
    answers(client, at=NOW + dt.timedelta(seconds=1))
    assert not by_themselves


def test_a_read_with_a_coupon_asks_nothing_a_second_time(caller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    redeemed(a_coupon(), story.subscription, now=NOW)
    client = caller("read")
    answers(client)
    asked, answer = [], asking._answer

    def counted(driver: Any, question: Any, given: Any) -> Any:
        asked.append(question.sql)
        return answer(driver, question, given)

    monkeypatch.setattr(asking, "_answer", counted)
    answers(client)
    assert asked == []
    asking._remembered.clear()
    answers(client)
    assert len(asked) > len(PATHS)
