"""Conversations are a function of the set of events: not of their order, batches, repeats, or of when a worker ran."""

import datetime as dt
import itertools
import random
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering import event_rows
from metering.conversation_rows import sittings as stored_sittings
from metering.folding import load_boundaries
from metering.ingest import write
from metering.merging import merge
from metering.models import Conversation, Event
from metering.reports import CloseIn, Report, close_event
from metering.sittings import MeteredEvent, chronological, cut
from metering.tiering import TierLimits, classify, count_tokens, count_turns
from metering.usage_lock import share_usage_lock
from plans.models import Customer, SchemeChange
from plans.schemes import scheme_spans
from tests.cast import (
    LATER,
    NOON,
    a_plan,
    a_scheme,
    acme,
    at,
    close,
    report,
    send,
    settled,
    sittings_of,
    subscribed,
    the_sitting,
)

pytestmark = pytest.mark.django_db

MICROSECOND = dt.timedelta(microseconds=1)


# The boundary rule, by example


def test_an_event_at_the_settling_instant_belongs_and_a_microsecond_later_opens_the_next() -> None:
    acme()
    send([report("e1", 0)])
    send([report("e2", 24)])
    send([report("e3", at(48) + MICROSECOND)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 2), (2, 1)]


def test_a_conversation_that_never_pauses_ends_at_the_maximum_age() -> None:
    acme()
    send([report(f"e{hour}", hour) for hour in range(0, 80, 8)])
    assert [(row.calls, row.settles_at) for row in sittings_of()] == [(10, at(72))]
    send([report("after", at(72) + MICROSECOND)])
    assert [row.calls for row in sittings_of()] == [10, 1]


def test_a_late_event_that_bridges_two_sittings_merges_them() -> None:
    acme()
    send([report("e1", 0)])
    send([report("e2", 40)])
    assert len(sittings_of()) == 2
    send([report("bridge", 20)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 3)]


def test_a_late_event_can_push_the_sittings_after_it_apart() -> None:
    """It opens earlier, so the maximum age comes earlier and cuts what was one sitting."""
    acme()
    send([report(f"e{hour}", hour) for hour in range(20, 90, 20)])
    assert [row.calls for row in sittings_of()] == [4]
    send([report("first", 0)])
    assert [row.calls for row in sittings_of()] == [4, 1]


def test_a_late_event_opens_a_settled_sitting_again_and_an_event_of_the_next_does_not() -> None:
    acme()
    send([report("e1", 0)])
    settled()
    send([report("next", 100)])
    assert [row.tier for row in sittings_of()] == ["simple", None]
    send([report("late", 1)])
    assert [row.tier for row in sittings_of()] == [None, None]


@pytest.mark.parametrize("order", list(itertools.permutations(["e1", "e2", "close"])))
def test_a_close_counts_whether_it_comes_before_or_after_the_events(order: tuple[str, ...]) -> None:
    acme()
    arrivals = {
        "e1": lambda: send([report("e1", 0)]),
        "e2": lambda: send([report("e2", 2)]),
        "close": lambda: close(1, outcome="resolved"),
    }
    for name in order:
        arrivals[name]()
    first, second = sittings_of()
    assert (first.calls, first.settles_at, first.closed_at, first.outcome) == (1, at(1), at(1), "resolved")
    assert (second.calls, second.settles_at, second.closed_at, second.outcome) == (1, at(26), None, None)


def test_a_call_at_the_instant_of_a_close_is_closed_by_it() -> None:
    acme()
    close(0)
    send([report("e1", 0)])
    assert the_sitting().settles_at == at(0)


def test_a_close_between_two_sittings_closes_nothing() -> None:
    acme()
    send([report("e1", 0), report("e2", 50)])
    close(30, outcome="lost")
    assert [(row.closed_at, row.outcome) for row in sittings_of()] == [(None, None)] * 2


def test_a_close_alone_makes_no_conversation() -> None:
    acme()
    close(0)
    assert sittings_of() == []


def void(*event_ids: str, customer: str = "acme") -> None:
    """Void stored events the way a correction does."""
    owner = Customer.objects.get(key=customer)
    with transaction.atomic():
        share_usage_lock([owner.id])
        before = event_rows.read_stored(sorted((owner.id, event_id) for event_id in event_ids))
        write([], [msgspec.structs.replace(e, voided=True, corrected=True) for e in before], before, now=LATER)


def test_a_voided_event_vanishes_from_its_conversation() -> None:
    acme()
    send([report("e1", 0), report("e2", 1, outcome="resolved")])
    void("e2")
    assert (the_sitting().calls, the_sitting().last_event_at, the_sitting().outcome) == (1, at(0), None)


def test_voiding_a_bridge_parts_the_sittings_and_voiding_all_leaves_none() -> None:
    acme()
    send([report("e1", 0), report("bridge", 20), report("e2", 40)])
    void("bridge")
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 1), (2, 1)]
    void("e1", "e2")
    assert sittings_of() == []
    send([report("e3", 60)])
    assert [(row.ordinal, row.calls) for row in sittings_of()] == [(1, 1)]


def test_a_voided_event_takes_no_more_reports() -> None:
    acme()
    send([report("e1", tokens=(1, 0, 0, 1, 0)), report("e2")])
    void("e1")
    assert send([report("e1", tokens=(1, 0, 0, 2, 0))]) == ["duplicate"]
    assert the_sitting().calls == 1


# The same, of anything hypothesis can think of

HOURS = (0, 1, 12, 23.9, 24, 24.1, 25, 36, 47, 48, 49, 71, 72, 72.1, 73, 90, 96, 97, 120, 145, 169)
OFFSETS = (dt.timedelta(0), MICROSECOND, -MICROSECOND, dt.timedelta(minutes=7))

instants = st.builds(lambda hour, offset: at(hour) + offset, st.sampled_from(HOURS), st.sampled_from(OFFSETS))
buckets = st.tuples(*[st.sampled_from([0, 1, 400, 2_500, 5_000])] * 4)


@st.composite
def calls(draw: st.DrawFn, index: int) -> list[Report]:
    """One call as one to three reports that grow."""
    said = {
        "conversation": draw(st.sampled_from(["chat", "mail"])),
        "kind": draw(st.sampled_from(["completion", "completion", "completion", "tool", "embedding"])),
        "model": draw(st.sampled_from(["gpt-4o", "unpriced-1"])),
        "provider": "openai",
        "byok": draw(st.sampled_from([None, None, True, False])),
    }
    first = draw(instants)
    counted = draw(buckets)
    reports = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        learnt = {
            "turn": draw(st.sampled_from([None, None, 1, 2, 5])),
            "attempt": draw(st.sampled_from([1, 1, 1, 2])),
            "status": draw(st.sampled_from(["ok", "ok", "ok", "error"])),
            "outcome": draw(st.sampled_from([None, None, "escalated", "resolved"])),
            "feature": draw(st.sampled_from([None, "support"])),
        }
        reports.append(report(f"e{index}", first, tokens=(*counted, 0), **said, **learnt))
        counted = tuple(count + draw(st.sampled_from([0, 0, 7])) for count in counted)
        first = draw(st.sampled_from([first, first + dt.timedelta(hours=1)]))
    return reports


closes = st.builds(
    lambda conversation, instant, outcome: Report(
        0,
        "acme",
        close_event(CloseIn(customer="acme", conversation=conversation, at=instant, outcome=outcome), now=LATER),
        byok=False,
    ),
    st.sampled_from(["chat", "mail"]),
    instants,
    st.sampled_from([None, "done", "resolved"]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Report]:
    """Everything anybody reports about a customer."""
    spoken = [one for index in range(draw(st.integers(1, 9))) for one in draw(calls(index))]
    return spoken + draw(st.lists(closes, max_size=3))


def in_batches(reports: list[Report], chance: random.Random) -> list[list[Report]]:
    """Any order, some of it twice, split anywhere."""
    arrivals = reports + chance.sample(reports, chance.randint(0, len(reports)))
    chance.shuffle(arrivals)
    cuts = sorted(chance.sample(range(len(arrivals) + 1), chance.randint(0, min(4, len(arrivals)))))
    batches = [arrivals[start:end] for start, end in itertools.pairwise([0, *cuts, len(arrivals)])]
    return [batch for batch in batches if batch]


def merged_events(customer: Customer, reports: list[Report]) -> list[MeteredEvent]:
    """What has to be stored, from the pure merge alone."""
    merged: dict[str, MeteredEvent] = {}
    for one in reports:
        event = msgspec.structs.replace(one.event, customer_id=customer.id)
        known = merged.get(event.event_id)
        merged[event.event_id] = event if known is None else merge(known, event).event
    return list(merged.values())


def cut_from_scratch(customer: Customer) -> dict[str, list[Any]]:
    """Every reference cut from all its stored events at once."""
    boundaries = load_boundaries([customer.id])[customer.id]
    references = set(Event.objects.filter(customer=customer).values_list("conversation", flat=True))
    return {
        reference: cut(event_rows.of_conversation(customer.id, reference, since=at(-99999)), boundaries)
        for reference in references
    }


def assert_folded_right(customer: Customer, reports: list[Report]) -> None:
    by_id = {event.event_id: event for event in merged_events(customer, reports)}
    for reference, expected in cut_from_scratch(customer).items():
        stored = stored_sittings((customer.id, reference))
        assert [row.sitting for row in stored] == expected
        assert [row.ordinal for row in stored] == list(range(1, len(expected) + 1))
        for event in event_rows.of_conversation(customer.id, reference, since=at(-99999)):
            own = msgspec.structs.replace(
                by_id.pop(event.event_id), rate_id=event.rate_id, cost_nanos=event.cost_nanos
            )
            assert event == own
    assert not by_id


random_histories = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32))
def test_any_order_split_and_repetition_gives_the_same_conversations(history: list[Report], seed: int) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme(byok=chance.random() < 0.3)
        # BYOK is the customer's setting where a report is silent.
        reports = [
            msgspec.structs.replace(
                one,
                event=msgspec.structs.replace(one.event, byok=customer.byok if one.byok is None else one.byok),
            )
            for one in history
        ]
        for batch in in_batches(reports, chance):
            send(batch)
            if chance.random() < 0.3:
                settled(at(chance.choice(HOURS)))
        assert_folded_right(customer, reports)
        transaction.set_rollback(True)


@random_histories
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    basis=st.sampled_from(["processed", "fresh", "context"]),
    count_retries=st.booleans(),
)
def test_settling_in_sql_is_the_pure_rule_and_can_be_done_at_any_time(
    history: list[Report], seed: int, basis: str, count_retries: bool
) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        a_scheme(token_basis=basis, count_retries=count_retries)
        subscribed(customer, a_plan(tier_scheme="support"), since=at(-9999))
        always = chance.random() < 0.5
        for batch in in_batches(history, chance):
            send(batch)
            if always:
                settled()
        settled()
        for row in Conversation.objects.filter(customer=customer).select_related("scheme_version"):
            fold = stored_sittings((customer.id, row.reference))[row.ordinal - 1].sitting
            turns, tokens = count_turns(fold), count_tokens(fold, basis, count_retries)
            tiers = [TierLimits(*tier) for tier in row.scheme_version.tiers.values_list("code", "max_turns", "max_tokens")]
            assert row.scheme_version.scheme.code == "support"
            assert (row.turns, row.counted_tokens) == (turns, tokens)
            assert row.tier == tiers[classify(turns, tokens, tiers)].code
            assert row.settled_at == row.settles_at
        transaction.set_rollback(True)


@random_histories
@given(history=histories(), seed=st.integers(0, 2**32), since=st.sampled_from(HOURS))
def test_a_subscription_made_at_any_time_leaves_what_it_would_have_made_from_the_start(
    history: list[Report], seed: int, since: float
) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        a_scheme(idle_hours=12, max_age_hours=30, tiers=[("small", 2, 900), ("large", None, None)])
        plan = a_plan(tier_scheme="support", rates={"small": "0.01", "large": "0.02"})
        batches = in_batches(history, chance)
        moment = chance.randint(0, len(batches))
        for index, batch in enumerate(batches):
            if index == moment:
                subscribed(customer, plan, since=since)
            send(batch)
            if chance.random() < 0.5:
                settled()
        if moment == len(batches):
            subscribed(customer, plan, since=since)
        settled()
        assert not SchemeChange.objects.exists()
        assert_folded_right(customer, history)
        spans = scheme_spans([customer.id])
        for row in Conversation.objects.filter(customer=customer):
            own = [s for s in spans if s.customer_id and s.starts_at <= row.settles_at]
            assert row.scheme_version_id == (own or [s for s in spans if s.customer_id is None])[0].version_id
        transaction.set_rollback(True)


# The order of two reports of one event

counters = st.tuples(*[st.integers(0, 3)] * 4)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(counters, min_size=1, max_size=4), data=st.data())
def test_growth_in_any_order_ends_in_the_join(steps: list[tuple[int, ...]], data: st.DataObject) -> None:
    totals = itertools.accumulate(steps, lambda so_far, step: tuple(map(sum, zip(so_far, step, strict=True))))
    grown = [
        report("e1", data.draw(st.sampled_from([0, 1, 2])), tokens=(*total, 0), turn=data.draw(st.sampled_from([None, 1, 2])))
        for total in totals
    ]
    shuffled = data.draw(st.permutations(grown))
    merged = shuffled[0].event
    for one in shuffled[1:]:
        merge_result = merge(merged, one.event)
        assert merge_result.status in ("updated", "duplicate")
        merged = merge_result.event
    events = [one.event for one in grown]
    assert merged.occurred_at == min(event.occurred_at for event in events)
    assert merged.turn == max((event.turn for event in events if event.turn), default=None)
    assert merged.output_tokens == max(event.output_tokens for event in events)
    assert merged.input_tokens == max(event.input_tokens for event in events)


def test_events_of_one_instant_sort_before_the_close_of_that_instant() -> None:
    call, end = report("e1", 0).event, close_event(CloseIn(customer="acme", conversation="chat", at=NOON), now=LATER)
    assert sorted([end, call], key=chronological) == [call, end]
