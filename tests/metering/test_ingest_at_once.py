"""Few events are stored in one exchange, from memory of whose they are: it must not be told from the ordinary way."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from metering import ingest as ingestion
from metering import payers
from metering.ingest import ingest, ingest_together
from metering.models import Event, QuarantinedEvent
from metering.payers import remembered_payers
from metering.usage_lock import take_usage_lock
from plans.customers import change_customer, erase_customer
from tests.cast import LATER, acme, bolt, report
from tests.metering.conftest import Sessions
from tests.metering.histories import histories, in_batches
from tests.metering.requests import accept_events, refuse_events
from tests.metering.test_concurrency import wait_until_blocked
from tests.metering.waiting import calls_stored_folded_and_waiting, copies, fold, store

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def nobody_remembered() -> None:
    payers._remembered.clear()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many steps an exchange had, each time that something was stored in one."""
    steps_each: list[int] = []
    commit = ingestion.commit_in_one_exchange

    def counted(steps: Any) -> None:
        commit(steps)
        steps_each.append(len(steps))

    monkeypatch.setattr(ingestion, "commit_in_one_exchange", counted)
    yield steps_each


def test_new_events_of_known_customers_are_stored_at_once(at_once: list[int]) -> None:
    acme(), bolt()
    assert store(report("e1"), report("e2", customer="bolt")) == ["accepted"] * 2
    assert not at_once  # who they are is not known yet
    assert store(report("e3"), report("e4", customer="bolt")) == ["accepted"] * 2
    assert len(at_once) == 1
    fold()
    assert calls_stored_folded_and_waiting() == (4, 4, 0)


def test_what_is_there_already_is_not_stored_at_once(at_once: list[int]) -> None:
    acme()
    store(report("e0"))
    assert store(report("e1", tokens=(900, 0, 0, 5, 0))) == ["accepted"]
    assert store(report("e1", tokens=(900, 0, 0, 9, 0)), report("e2")) == ["updated", "accepted"]
    assert len(at_once) == 1
    assert Event.objects.get(event_id="e1").output_tokens == 9


def test_reports_of_one_call_that_come_together_are_one_event(at_once: list[int]) -> None:
    acme()
    store(report("e0"))
    batches = [
        copies([report("e1", tokens=(900, 0, 0, 5, 0))]),
        copies([report("e1", tokens=(900, 0, 0, 9, 0)), report("e1", tokens=(900, 0, 0, 2, 0))]),
    ]
    assert [[one.status for one in verdicts] for verdicts in ingest_together(batches, now=LATER)] == [
        ["accepted"],
        ["updated", "duplicate"],
    ]
    assert len(at_once) == 1
    assert Event.objects.get(event_id="e1").output_tokens == 9


def test_who_was_erased_meanwhile_is_noticed(at_once: list[int]) -> None:
    former = acme()
    store(report("e1"))
    erase_customer(former, now=LATER)
    assert store(report("e2")) == ["quarantined"]
    assert not at_once
    assert QuarantinedEvent.objects.get().event_id == "e2"


def test_another_customer_of_the_same_key_gets_the_events_from_then_on(at_once: list[int]) -> None:
    former = acme()
    store(report("e1"))
    erase_customer(former, now=LATER)
    latter = acme()
    assert store(report("e2")) == ["accepted"]
    assert Event.objects.get(event_id="e2").customer_id == latter.id
    assert store(report("e3")) == ["accepted"]
    assert len(at_once) == 1  # the first of these was not, and taught us better


def test_nothing_is_stored_for_who_was_erased_while_the_lock_was_waited_for(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "MOST_AT_ONCE", 0)
    former = acme()
    with transaction.atomic():
        take_usage_lock(former.id)
        waiting = sessions.start(lambda: store(report("e1")))
        wait_until_blocked()
        erase_customer(former, now=LATER)
        latter = acme()
    assert waiting.result() == ["accepted"]
    assert Event.objects.get().customer_id == latter.id


def test_who_brings_its_own_key_meanwhile_pays_nothing_for_the_call() -> None:
    customer = acme()
    store(report("e1"))
    change_customer(customer, byok=True)
    store(report("e2"))
    assert dict(Event.objects.values_list("event_id", "byok")) == {"e1": False, "e2": True}


def test_a_connection_that_forgot_what_was_prepared_loses_nothing(at_once: list[int]) -> None:
    acme()
    store(report("e1"))
    store(report("e2"))
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert store(report("e3")) == ["accepted"]
    assert store(report("e4")) == ["accepted"]
    assert len(at_once) == 2


def test_what_the_database_refuses_is_raised_and_nothing_of_it_is_stored() -> None:
    acme()
    store(report("e1"))
    refuse_events("23514")
    try:
        with pytest.raises(Exception, match="planted"):
            store(report("e2"), report("refused"))
    finally:
        accept_events()
    assert calls_stored_folded_and_waiting()[0] == 1
    assert store(report("e2")) == ["accepted"]


def test_customers_nobody_asked_for_are_not_remembered() -> None:
    assert remembered_payers({"never-seen"}) is None
    store(report("e1", customer="never-seen"))
    assert remembered_payers({"never-seen"}) is None


def test_both_ways_say_and_store_the_same(django_db_blocker: Any) -> None:
    @given(histories(), st.randoms(use_true_random=False))
    def agree(reports: Any, chance: random.Random) -> None:
        batches = in_batches(reports, chance)
        outcomes = []
        for most in (0, ingestion.MOST_AT_ONCE):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ingestion, "MOST_AT_ONCE", most)
                Event.objects.all().delete()
                said = [ingest(copies(batch), now=LATER) for batch in batches]
                outcomes.append((said, list(Event.objects.order_by("event_id").values())))
        assert outcomes[0] == outcomes[1]

    acme()
    agree()
