"""Conversations are a function of the set of events: not of their order, batches, repeats, or of when a worker ran."""

import datetime as dt
import random
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.books.checking import check
from billing.books.conversations import CONVERSATIONS
from metering import event_rows
from metering.conversation_rows import sittings as stored_sittings
from metering.folding import load_boundaries
from metering.merging import merge
from metering.models import Conversation, Event
from metering.reports import Report
from metering.sittings import MeteredEvent, cut
from plans.models import Customer, SchemeChange
from plans.schemes import scheme_spans
from tests.cast import LATER, a_plan, a_scheme, acme, at, send, settled, subscribed
from tests.metering.histories import HOURS, histories, in_batches, instants, random_histories
from tests.metering.test_concurrency import counted_by_day
from tests.metering.test_late_changes import noted
from tests.metering.test_service_ends import ends

pytestmark = pytest.mark.django_db

CONVERSATION_INVARIANTS = [invariant.name for invariant in CONVERSATIONS]
"""The same rules, written once more in SQL."""


def merged_events(customer: Customer, reports: list[Report]) -> list[MeteredEvent]:
    """What has to be stored, from the pure merge alone."""
    merged: dict[str, MeteredEvent] = {}
    for one in reports:
        event = msgspec.structs.replace(one.event, customer_id=customer.id)
        known = merged.get(event.event_id)
        merged[event.event_id] = event if known is None else merge(known, event).event
    return list(merged.values())


def stored_events(customer: Customer, reference: str) -> list[MeteredEvent]:
    return event_rows.of_conversations([(customer.id, reference)], [at(-99999)])[0]


def cut_from_scratch(customer: Customer) -> dict[str, list[Any]]:
    """Every reference cut from all its stored events at once."""
    boundaries = load_boundaries([customer.id])[customer.id]
    references = set(Event.objects.filter(customer=customer).values_list("conversation", flat=True))
    return {reference: cut(stored_events(customer, reference), boundaries) for reference in references}


def assert_folded_right(customer: Customer, reports: list[Report]) -> None:
    by_id = {event.event_id: event for event in merged_events(customer, reports)}
    for reference, expected in cut_from_scratch(customer).items():
        (stored,) = stored_sittings([(customer.id, reference)], load_boundaries([customer.id]))
        assert [row.sitting for row in stored] == expected
        assert [row.ordinal for row in stored] == list(range(1, len(expected) + 1))
        for event in stored_events(customer, reference):
            own = msgspec.structs.replace(by_id.pop(event.event_id), rate_id=event.rate_id, cost_nanos=event.cost_nanos)
            assert event == own
    assert not by_id


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
            assert row.settled.scheme_version_id == (own or [s for s in spans if s.customer_id is None])[0].version_id
        transaction.set_rollback(True)


@random_histories
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    changes=st.lists(st.one_of(st.none(), instants), min_size=1, max_size=3),
)
def test_an_end_set_moved_or_undone_at_any_time_leaves_what_it_would_have_made_from_the_start(
    history: list[Report], seed: int, changes: list[dt.datetime | None]
) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        customer = acme()
        a_scheme(idle_hours=12, max_age_hours=30, tiers=[("small", 2, 900), ("large", None, None)])
        plan = a_plan(tier_scheme="support", rates={"small": "0.01", "large": "0.02"})
        subscription = subscribed(customer, plan, since=-1000)
        todo = [*((send, batch) for batch in in_batches(history, chance))]
        for change in changes:
            todo.insert(chance.randint(0, len(todo)), (lambda end: ends(subscription, end), change))
        counted: dict[dt.date, int] = {}
        for act, what in todo:
            act(what)
            if chance.random() < 0.4:
                settled()
            if chance.random() < 0.2:
                counted = counted_by_day(customer, read_to=LATER)
        settled()
        assert not SchemeChange.objects.exists()
        assert_folded_right(customer, history)
        assert check(LATER, only=CONVERSATION_INVARIANTS) == []
        late = noted(customer)
        actual = counted_by_day(customer, read_to=LATER)
        if counted:
            assert {day for day in {*actual, *counted} if actual.get(day) != counted.get(day)} <= {*late}
        transaction.set_rollback(True)
