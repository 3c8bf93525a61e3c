"""An event of an unknown customer is kept as sent, once, and comes in exactly once when the customer exists."""

import random
from typing import Any

import pytest
from django.db import OperationalError

from api.strict_json import convert
from metering import releasing
from metering.catching_up import fold_waiting
from metering.models import Event, QuarantinedEvent
from metering.quarantine_review import discard, state_of
from metering.releasing import release_quarantined
from plans.customers import create_customer, erase_customer
from tests.cast import LATER, acme, report, send, settled, the_sitting

pytestmark = pytest.mark.django_db


def released() -> int:
    count = release_quarantined(now=LATER)
    fold_waiting(now=LATER)
    return count


def test_an_unknown_customers_event_is_kept_once_however_often_it_is_sent() -> None:
    assert send([report("e1"), report("e1")]) == ["quarantined", "quarantined"]
    assert send([report("e1")]) == ["quarantined"]
    kept = QuarantinedEvent.objects.get()
    assert (kept.customer_key, kept.event_id, kept.body["model"]) == ("acme", "e1", "unpriced-1")
    assert not Event.objects.exists()


def test_it_comes_in_once_when_the_customer_exists() -> None:
    send([report("e1", turn=2, feature="support", tokens=(1, 2, 3, 4, 2))])
    assert released() == 0
    acme()
    assert [released(), released()] == [1, 0]
    event = Event.objects.get()
    assert (event.turn, event.feature, event.cache_write_tokens, event.reasoning_tokens) == (2, "support", 3, 2)
    assert the_sitting().calls == 1


def test_all_reports_of_a_growing_event_come_in_and_merge() -> None:
    send([report("e1", tokens=(1, 0, 0, 1, 0)), report("e1", tokens=(1, 0, 0, 9, 0))])
    acme()
    assert released() == 2
    assert (the_sitting().calls, the_sitting().output_tokens) == (1, 9)


def test_sent_again_after_the_customer_came_it_is_still_one_event() -> None:
    send([report("e1")])
    acme()
    assert send([report("e1")]) == ["accepted"]
    released()
    assert (Event.objects.count(), the_sitting().calls) == (1, 1)


def test_settling_lets_quarantined_events_in_first() -> None:
    send([report("e1")])
    acme()
    assert settled() == 1


def test_the_customers_byok_holds_for_quarantined_events_too() -> None:
    send([report("e1"), report("e2", byok=False)])
    acme(byok=True)
    released()
    assert dict(Event.objects.values_list("event_id", "byok")) == {"e1": True, "e2": False}


def test_an_erased_customers_key_is_unknown() -> None:
    erase_customer(acme(), now=LATER)
    assert send([report("e1")]) == ["quarantined"]
    assert released() == 0


@pytest.mark.parametrize("width", ["a", "語", "𝕏"])
def test_the_longest_names_fit(width: str) -> None:
    chance = random.Random(1)  # or the database would compress it to nothing
    long = "".join(chr(ord(width) + chance.randrange(20)) for _ in range(512))
    assert send([report(long, customer=long, conversation=long)]) == ["quarantined"]
    create_customer(key=long, currency="USD", now=LATER)
    assert released() == 1


def test_one_that_conflicts_with_what_came_meanwhile_waits_for_a_person() -> None:
    send([report("e1")])
    acme()
    send([report("e1", model="another")])
    assert released() == 0
    kept = QuarantinedEvent.objects.get()
    assert (kept.released_at, kept.refused_at) == (None, LATER)
    assert kept.reason == "model: stored another, sent unpriced-1"


def test_an_event_that_todays_rules_refuse_is_marked_and_holds_nobody_up() -> None:
    send([report("e1"), report("e2")])
    QuarantinedEvent.objects.filter(event_id="e1").update(body={"id": "e1"})
    acme()
    assert released() == 1
    refused = QuarantinedEvent.objects.get(event_id="e1")
    assert (refused.released_at, refused.refused_at) == (None, LATER)
    assert "customer" in refused.reason
    assert released() == 0


def test_an_event_that_breaks_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send([report(f"e{number}") for number in range(5)])
    acme()
    monkeypatch.setattr(releasing, "convert", breaking_for("e2"))
    assert [released(), released()] == [4, 0]
    (waiting,) = QuarantinedEvent.objects.filter(released_at=None)
    assert (waiting.event_id, waiting.refused_at) == ("e2", None)
    assert {record.getMessage() for record in caplog.records} == {
        f"the quarantined event {waiting.id} cannot be let in"
    }
    monkeypatch.undo()
    assert released() == 1


def test_a_lost_database_is_no_fault_of_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    send([report("e1")])
    acme()
    monkeypatch.setattr(releasing, "convert", breaking_for("e1", OperationalError))
    with pytest.raises(OperationalError):
        released()


def breaking_for(event_id: str, error: type[Exception] = ZeroDivisionError) -> Any:
    def breaking(fields: dict[str, Any], into: Any) -> Any:
        if fields["id"] == event_id:
            raise error
        return convert(fields, into)

    return breaking


def test_what_is_answered_quarantined_waits_though_the_same_was_released_before() -> None:
    send([report("e1")])
    first = acme()
    assert released() == 1
    erase_customer(first, now=LATER)
    assert send([report("e1"), report("e1")]) == ["quarantined", "quarantined"]
    assert QuarantinedEvent.objects.filter(released_at=None).count() == 1
    second = create_customer(key="acme", currency="USD", now=LATER)
    assert released() == 1
    assert set(Event.objects.values_list("customer", flat=True)) == {first.id, second.id}


def test_what_was_discarded_stays_so_when_it_is_sent_again() -> None:
    send([report("e1")])
    discard(QuarantinedEvent.objects.get().id, reason="a load test", by="olga", now=LATER)
    assert send([report("e1")]) == ["quarantined"]
    assert state_of(QuarantinedEvent.objects.get()) == "discarded"
