"""A call finds the conversation that a span above it names, however the spans are spread over exports."""

import datetime as dt
import random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.doors.admitting import DoorSender
from metering.doors.otlp_reading import Span
from metering.doors.traces import MAX_WAIT, REMEMBERED, receive, release_waiting
from metering.ingest import Verdict
from metering.models import Event, QuarantinedEvent, SpanContext, WaitingCall
from tests.cast import acme, bolt
from tests.metering.conftest import Sessions
from tests.metering.doors.captured import NOW, stored
from tests.metering.doors.spans import agent, chat, recorded, span

pytestmark = pytest.mark.django_db

LATE = NOW + MAX_WAIT


def export(*spans: Span, sender: DoorSender | None = None, now: dt.datetime = NOW) -> list[Verdict]:
    return receive(spans, sender=sender or DoorSender(), now=now)


def placed() -> dict[str, tuple[str, str]]:
    return {event_id: (event.customer.key, event.conversation) for event_id, event in stored().items()}


def test_a_call_waits_for_the_span_above_that_names_its_conversation() -> None:
    acme()
    assert export(chat("c", "mid", response="r1")) == []
    export(span("mid", "a"))
    assert not Event.objects.exists()
    export(agent("a", conversation="chat-9", customer="acme"))
    assert placed() == {"r1": ("acme", "chat-9")}
    assert not WaitingCall.objects.exists()


def test_it_need_not_wait_for_the_root_once_both_are_named() -> None:
    acme()
    export(chat("c", "a", response="r1"), agent("a", "far away", conversation="chat-9", customer="acme"))
    assert placed() == {"r1": ("acme", "chat-9")}


def test_with_the_root_there_and_no_conversation_named_the_trace_is_the_conversation() -> None:
    acme()
    export(chat("c", "a", response="r1"), span("a", ""), sender=DoorSender(default_customer="acme"))
    assert placed() == {"r1": ("acme", "t1")}


def test_the_customer_of_the_url_is_taken_only_when_no_span_can_name_another() -> None:
    acme()
    bolt()
    url = DoorSender(default_customer="bolt")
    export(chat("c", "a", response="r1", more={"session.id": "s"}), sender=url)
    assert not Event.objects.exists()
    export(agent("a", customer="acme"), sender=url)
    assert placed() == {"r1": ("acme", "s")}


def test_a_process_may_name_the_customer_of_all_its_calls() -> None:
    acme()
    export(chat("c", "", response="r1", resource={"customer.id": "acme"}))
    assert placed() == {"r1": ("acme", "t1")}


def test_after_the_wait_the_only_conversation_of_the_trace_is_taken() -> None:
    acme()
    export(chat("c", "never", response="r1"), agent("else", "gone", conversation="chat-9", customer="acme"))
    assert release_waiting(now=LATE - dt.timedelta(seconds=1)) == 0
    assert release_waiting(now=LATE) == 1
    assert placed() == {"r1": ("acme", "chat-9")}


def test_after_the_wait_the_trace_is_the_conversation_if_the_customer_is_known() -> None:
    acme()
    export(chat("c", "never", response="r1", more={"user.id": "acme"}))
    release_waiting(now=LATE)
    assert placed() == {"r1": ("acme", "t1")}


def test_after_the_wait_a_call_of_nobody_is_quarantined_with_its_reason() -> None:
    export(chat("c", "never", response="r1"))
    assert release_waiting(now=LATE) == 1
    kept = QuarantinedEvent.objects.get()
    assert kept.reason.startswith("customer: the call names none")
    assert (kept.event_id, kept.event["conversation"]) == ("r1", "t1")


def test_waiting_makes_no_call_too_old() -> None:
    acme()
    export(chat("c", "never", response="r1", more={"user.id": "acme"}))
    release_waiting(now=NOW + dt.timedelta(days=40))
    assert placed() == {"r1": ("acme", "t1")}


def test_a_call_that_comes_too_old_is_quarantined() -> None:
    verdicts = export(chat("c", "", response="r1"), sender=DoorSender("acme"), now=NOW + dt.timedelta(days=40))
    assert [verdict.status for verdict in verdicts] == ["quarantined"]
    assert QuarantinedEvent.objects.get().reason.startswith("occurred_at: more than 35 days ago")


def test_the_trace_of_one_customers_key_says_nothing_of_anothers() -> None:
    acme()
    bolt()
    export(agent("a", conversation="mine", customer="acme"), sender=DoorSender("acme"))
    export(chat("c", "a", response="r1"), sender=DoorSender("bolt"))
    release_waiting(now=LATE)
    assert placed() == {"r1": ("bolt", "t1")}


def test_spans_are_forgotten_after_a_day() -> None:
    export(agent("a", conversation="chat-9"))
    release_waiting(now=NOW + REMEMBERED)
    assert SpanContext.objects.count() == 1
    release_waiting(now=NOW + REMEMBERED + dt.timedelta(seconds=1))
    assert not SpanContext.objects.exists()


def test_spans_of_traces_without_calls_are_not_remembered() -> None:
    export(span("a", ""), span("b", "a"))
    assert not SpanContext.objects.exists()


def test_a_call_without_a_place_in_a_trace_is_kept_with_its_reason() -> None:
    export(chat("", "", response="r1"), chat("c", "", response="r2", trace_id=""))
    assert set(QuarantinedEvent.objects.values_list("event_id", "reason")) == {
        ("r1", "the span has no trace id or no span id"),
        ("r2", "the span has no trace id or no span id"),
    }


def test_two_instruments_in_two_exports_are_one_call() -> None:
    acme()
    outer, inner = chat("o", "", more={"user.id": "acme"}), chat("i", "o", response="r1")
    for order in ((inner, outer), (outer, inner), (inner, outer)):
        for one in order:
            export(one)
    assert placed() == {"r1": ("acme", "t1")}


def test_the_outer_one_first_is_one_call_as_well() -> None:
    acme()
    outer, inner = chat("o", "", more={"user.id": "acme"}), chat("i", "o", response="r1")
    for one in (outer, inner, outer, inner):
        export(one)
    assert placed() == {"t1:o": ("acme", "t1")}


def test_an_outer_span_tells_the_usage_that_the_inner_one_did_not_know() -> None:
    acme()
    silent = {"gen_ai.usage.input_tokens": None, "gen_ai.usage.output_tokens": None}
    export(chat("i", "o", response="r1", more=silent), chat("o", "", more={"user.id": "acme"}))
    assert (Event.objects.get().event_id, Event.objects.get().input_tokens) == ("r1", 100)
    assert not QuarantinedEvent.objects.exists()


def test_the_recorded_calls_of_two_instruments_are_counted_once() -> None:
    acme()
    export(*recorded("two_instruments"))
    assert tokens() == [(8, 0)] + [(2006, 300)] * 4 + [(192_203, 393)]
    assert Event.objects.filter(status="error").count() == 2
    assert Event.objects.filter(cache_read_tokens=1920).count() == 4
    assert QuarantinedEvent.objects.count() == 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_however_they_are_spread_over_exports_and_repeated(db: Any, chance: random.Random, exports: int) -> None:
    with transaction.atomic():
        acme()
        spans = recorded("two_instruments")
        chance.shuffle(spans)
        for number in range(exports):
            export(*spans[number::exports])
        export(*chance.sample(spans, 7))
        release_waiting(now=LATE)
        assert tokens() == [(8, 0)] + [(2006, 300)] * 4 + [(192_203, 393)]
        assert set(Event.objects.values_list("conversation", "customer__key")) == {("conv-123", "acme")}
        transaction.set_rollback(True)


def tokens() -> list[tuple[int, int]]:
    """Context and output of every call that used any, in order."""
    events = Event.objects.exclude(status="error")
    return sorted(
        (event.input_tokens + event.cache_read_tokens + event.cache_write_tokens, event.output_tokens)
        for event in events
    )


@pytest.mark.django_db(transaction=True)
def test_exports_that_meet_leave_no_call_behind(sessions: Sessions) -> None:
    acme()
    parts = [
        (chat(f"c{number}", f"a{number}", response=f"r{number}", trace_id=f"t{number}"),) for number in range(20)
    ] + [
        (agent(f"a{number}", conversation=f"chat-{number}", customer="acme", trace_id=f"t{number}"),)
        for number in range(20)
    ]
    random.Random(1).shuffle(parts)
    sessions.all([lambda part=part: export(*part) for part in parts * 2])
    assert placed() == {f"r{number}": ("acme", f"chat-{number}") for number in range(20)}
    assert not WaitingCall.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_instruments_in_two_exports_at_once_are_one_call(sessions: Sessions) -> None:
    acme()
    exports = [
        one
        for trace in (f"t{number}" for number in range(30))
        for one in (
            chat("o", "", trace_id=trace, more={"user.id": "acme"}),
            chat("i", "o", trace_id=trace, response=f"r-{trace}"),
        )
    ]
    releases = [lambda: release_waiting(now=LATE)] * 5
    sessions.all([*(lambda one=one: export(one) for one in exports), *releases])
    assert sorted(event.conversation for event in stored().values()) == sorted(f"t{number}" for number in range(30))
    assert not WaitingCall.objects.exists()


def test_a_call_that_breaks_keeps_no_other_waiting(caplog: pytest.LogCaptureFixture) -> None:
    acme()
    export(*(chat("c", "never", response=f"r{trace}", trace_id=f"t{trace}") for trace in range(5)))
    WaitingCall.objects.filter(trace_id="t2").update(fields="broken")
    assert release_waiting(now=LATE) == 4
    assert [record.getMessage() for record in caplog.records] == ["the waiting calls of trace t2 cannot be let in"]
    assert WaitingCall.objects.get().trace_id == "t2"
