"""Each event exactly once, whatever is sent again, and only what is meant by it changes."""

import datetime as dt
import random
from typing import Any

import psycopg
import pytest

from metering import ingest as ingestion
from metering.ingest import UnknownCustomer, ingest
from metering.models import Event
from metering.reports import UnusableReport
from tests.cast import LATER, NOON, acme, at, bolt, close, report, send, settled, sittings_of, the_settled, the_sitting

pytestmark = pytest.mark.django_db


def test_a_new_event_is_accepted_and_sent_again_a_duplicate() -> None:
    acme()
    assert send([report("e1")]) == ["accepted"]
    assert send([report("e1")]) == ["duplicate"]
    assert the_sitting().calls == 1


def test_growth_updates_and_shrinking_back_is_a_duplicate() -> None:
    acme()
    send([report("e1", tokens=(10, 0, 0, 1, 0))])
    assert send([report("e1", tokens=(10, 0, 0, 300, 0))]) == ["updated"]
    assert send([report("e1", tokens=(10, 0, 0, 20, 0))]) == ["duplicate"]
    assert (the_sitting().calls, the_sitting().output_tokens) == (1, 300)


@pytest.mark.parametrize(
    ("field", "other", "named"),
    [
        ("conversation", "another", "conversation: stored chat, sent another"),
        ("provider", "openai", "provider: stored nobody, sent openai"),
        ("model", "gpt-5", "model: stored unpriced-1, sent gpt-5"),
        ("kind", "tool", "kind: stored completion, sent tool"),
    ],
)
def test_another_call_under_the_same_id_is_a_conflict_that_names_the_field(field: str, other: str, named: str) -> None:
    acme()
    send([report("e1")])
    (verdict,) = ingest([report("e1", **{field: other})], now=LATER)
    assert (verdict.status, verdict.detail) == ("conflict", named)
    assert Event.objects.get().conversation == "chat"


def test_counters_that_grow_and_shrink_conflict_and_the_first_stays() -> None:
    acme()
    send([report("e1", tokens=(10, 0, 0, 5, 0))])
    (verdict,) = ingest([report("e1", tokens=(9, 0, 0, 6, 0))], now=LATER)
    assert verdict.status == "conflict"
    assert verdict.detail == "output_tokens: stored 5, sent 6; input_tokens: stored 10, sent 9"
    assert (the_sitting().input_tokens, the_sitting().output_tokens) == (10, 5)


def test_repeats_within_one_batch_are_merged_in_their_order() -> None:
    acme()
    batch = [
        report("e1", tokens=(10, 0, 0, 1, 0)),
        report("e1", tokens=(10, 0, 0, 9, 0)),
        report("e2"),
        report("e1", model="gpt-5"),
        report("e1", tokens=(10, 0, 0, 1, 0)),
    ]
    assert send(batch) == ["accepted", "updated", "accepted", "conflict", "duplicate"]
    assert (the_sitting().calls, the_sitting().output_tokens) == (2, 109)


def test_verdicts_carry_the_callers_index_also_where_some_of_a_batch_are_known() -> None:
    acme()
    send([report("e2")])
    assert send([report("e3"), report("e2"), report("e1"), report("x", customer="stranger")]) == [
        "accepted",
        "duplicate",
        "accepted",
        "quarantined",
    ]


def test_the_same_id_of_two_customers_is_two_events() -> None:
    acme(), bolt()
    assert send([report("e1"), report("e1", customer="bolt")]) == ["accepted", "accepted"]
    assert the_sitting("bolt").calls == the_sitting("acme").calls == 1


@pytest.mark.parametrize("character", ["x", "é", "語", "𝕏"])
def test_ids_of_512_characters_of_any_width_are_kept_apart(character: str) -> None:
    acme()
    chance = random.Random(1)  # or the database would compress it to nothing
    long = "".join(chr(ord(character) + chance.randrange(20)) for _ in range(511))
    assert send([report(long + "1", conversation=long + "c"), report(long + "2", conversation=long + "c")]) == [
        "accepted",
        "accepted",
    ]
    assert close(1, conversation=long + "c") == "accepted"
    assert the_sitting(conversation=long + "c").closed_at == at(1)


def test_a_growth_report_keeps_the_earliest_instant() -> None:
    acme()
    send([report("e1", 2, tokens=(5, 0, 0, 0, 0))])
    send([report("e1", 1, tokens=(5, 0, 0, 9, 0))])
    send([report("e1", 3, tokens=(5, 0, 0, 10, 0))])
    assert (the_sitting().opened_at, the_sitting().last_event_at) == (at(1), at(1))


def test_a_close_for_nobody_is_refused() -> None:
    with pytest.raises(UnknownCustomer):
        close(0, customer="stranger")


def test_saying_the_same_close_twice_is_harmless() -> None:
    acme()
    send([report("e1")])
    assert [close(1), close(1)] == ["accepted", "duplicate"]
    assert Event.objects.count() == 2


@pytest.mark.parametrize("year", [1, 1969])
def test_a_time_before_any_rule_was_in_force_is_refused(year: int) -> None:
    somewhere_east = dt.timezone(dt.timedelta(hours=14))
    with pytest.raises(UnusableReport) as refused:
        report("e1", dt.datetime(year, 1, 1, tzinfo=somewhere_east))
    assert refused.value.pointer == "/occurred_at"


def test_an_event_of_1970_can_be_settled() -> None:
    acme()
    send([report("e1", dt.datetime(1970, 1, 1, tzinfo=dt.UTC))])
    assert settled() == 1


def test_the_arrival_of_a_label_alone_leaves_the_conversation_settled() -> None:
    acme()
    send([report("e1")])
    settled()
    assert send([report("e1", feature="support")]) == ["duplicate"]
    assert Event.objects.get().feature == "support"
    assert (the_settled().tier, the_sitting().revision) == ("simple", 1)


def test_the_server_times_do_not_matter() -> None:
    acme()
    send([report("e1")], now=NOON)
    send([report("e2", 1)], now=LATER)
    assert [sitting.calls for sitting in sittings_of()] == [2]


def test_an_event_without_a_rate_is_counted_once_though_its_first_try_loses_a_race(
    monkeypatch: pytest.MonkeyPatch, committed: None
) -> None:
    acme()
    counted: list[int] = []
    leave, losing = ingestion.leave, [psycopg.errors.SerializationFailure()]

    def left(*arguments: Any, **named: Any) -> None:
        leave(*arguments, **named)
        if losing:
            raise losing.pop()

    monkeypatch.setattr(ingestion, "leave", left)
    monkeypatch.setattr(ingestion, "count_unpriced", counted.append)
    assert send([report("e1"), report("e2")]) == ["accepted", "accepted"]
    assert not losing
    assert counted == [2]
