"""The boundary rule alone: which events make which sitting, and what it holds."""

import datetime as dt
import uuid

import pytest

from metering.boundaries import Boundaries, Boundary, last_instant_before
from metering.reports import CloseIn, close_event
from metering.sittings import MeteredEvent, Sitting, chronological, cut, reaches_back, replayed
from tests.cast import LATER, NOON, at, report

HOUR = dt.timedelta(hours=1)
MICROSECOND = dt.timedelta(microseconds=1)
ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
OURS, THEIRS = uuid.UUID(int=1), uuid.UUID(int=2)
DEFAULT = Boundary(ALWAYS, None, OURS, 24 * HOUR, 72 * HOUR)


def call(hours: float | dt.datetime, **fields: object) -> MeteredEvent:
    return report("e1", hours, **fields).event


def end(hours: float | dt.datetime, outcome: str | None = None) -> MeteredEvent:
    return close_event(CloseIn(customer="acme", conversation="chat", at=at(hours), outcome=outcome), now=LATER)


def cut_up(*events: MeteredEvent, own: tuple[Boundary, ...] = ()) -> list[Sitting]:
    return cut(sorted(events, key=chronological), Boundaries(own, [DEFAULT]))


def test_an_idle_conversation_settles_its_timeout_after_the_last_event() -> None:
    (sitting,) = cut_up(call(0), call(5))
    assert (sitting.opened_at, sitting.last_event_at, sitting.settles_at) == (at(0), at(5), at(29))


@pytest.mark.parametrize(("gap", "sittings"), [(24 * HOUR, 1), (24 * HOUR + MICROSECOND, 2)])
def test_the_idle_timeout_to_the_microsecond(gap: dt.timedelta, sittings: int) -> None:
    assert len(cut_up(call(0), call(NOON + gap))) == sittings


def test_the_maximum_age_ends_a_conversation_that_never_rests() -> None:
    first, second = cut_up(*[call(hour) for hour in range(0, 100, 12)])
    assert (first.calls, first.settles_at, second.opened_at) == (7, at(72), at(84))


def test_the_settling_instants_order_is_close_then_whatever_comes_first() -> None:
    assert [s.settles_at for s in cut_up(call(0), end(3), call(4), end(4))] == [at(3), at(4)]
    assert [s.closed_at for s in cut_up(call(0), end(24))] == [at(24)]
    assert [s.closed_at for s in cut_up(call(0), end(at(24) + MICROSECOND))] == [None]


def test_the_first_of_two_closes_counts_and_the_second_closes_nothing() -> None:
    (sitting,) = cut_up(call(0), end(1, "first"), end(2, "second"))
    assert (sitting.closed_at, sitting.outcome) == (at(1), "first")


def test_the_last_outcome_counts_whatever_the_order() -> None:
    (sitting,) = cut_up(call(2, outcome="escalated"), call(3, outcome="resolved"), call(4))
    assert (sitting.outcome, sitting.outcome_at) == ("resolved", at(3))


def test_retries_and_errors_are_counted_apart() -> None:
    (sitting,) = cut_up(
        call(0, tokens=(10, 1, 2, 3, 1)),
        call(1, tokens=(20, 2, 4, 6, 2), attempt=2),
        call(2, tokens=(40, 4, 8, 12, 4), status="error"),
        call(3, tokens=(1, 0, 0, 0, 0), kind="tool"),
    )
    assert (sitting.calls, sitting.retry_calls, sitting.first_completions) == (4, 2, 1)
    assert (sitting.input_tokens, sitting.retry_input_tokens) == (71, 60)
    assert (sitting.cache_read_tokens, sitting.retry_cache_read_tokens) == (7, 6)
    assert (sitting.cache_write_tokens, sitting.retry_cache_write_tokens) == (14, 12)
    assert (sitting.output_tokens, sitting.retry_output_tokens, sitting.reasoning_tokens) == (21, 18, 7)
    assert (sitting.peak_context, sitting.peak_context_first) == (64, 16)


def priced(nanos: int | None, **fields: object) -> MeteredEvent:
    event = call(0, **fields)
    event.cost_nanos = nanos
    return event


def test_costs_are_ours_or_the_customers_or_unknown() -> None:
    (sitting,) = cut_up(priced(5), priced(7, attempt=2), priced(None), priced(11, byok=True), priced(None, byok=True))
    assert (sitting.cost_nanos, sitting.retry_cost_nanos, sitting.byok_cost_nanos) == (12, 7, 11)
    assert sitting.unpriced_calls == 1


def test_turns_are_the_lowest_and_highest_seen() -> None:
    (sitting,) = cut_up(call(0, turn=7), call(1), call(2, turn=5))
    assert (sitting.min_turn, sitting.max_turn) == (5, 7)


def test_the_rule_is_that_in_force_at_the_first_event() -> None:
    hasty = Boundary(at(10), at(20), THEIRS, HOUR, HOUR)
    assert [s.boundary_id for s in cut_up(call(9), call(15), own=(hasty,))] == [OURS]
    assert [s.boundary_id for s in cut_up(call(10), call(12), call(20), own=(hasty,))] == [THEIRS, THEIRS, OURS]


def subscription(since: float, until: float, version: uuid.UUID = OURS, ends: float | None = None) -> Boundary:
    """A stretch of a subscription that ends with it, or later."""
    settles_by = last_instant_before(at(until if ends is None else ends))
    return Boundary(at(since), at(until), version, 24 * HOUR, 72 * HOUR, settles_by)


def test_an_open_conversation_ends_with_the_subscription_it_opened_under() -> None:
    ending = subscription(0, 10)
    (sitting,) = cut_up(call(9), own=(ending,))
    assert sitting.settles_at == at(10) - MICROSECOND
    first, second = cut_up(call(9), call(at(10) - MICROSECOND), call(10), own=(ending,))
    assert (first.calls, first.settles_at) == (2, at(10) - MICROSECOND)
    assert (second.opened_at, second.settles_at) == (at(10), at(34))


def test_what_ends_a_conversation_before_its_subscription_does_so_still() -> None:
    assert [s.settles_at for s in cut_up(call(0), end(5), own=(subscription(-9, 10),))] == [at(5)]
    assert [s.settles_at for s in cut_up(call(0), own=(subscription(-9, 25),))] == [at(24)]
    assert [s.closed_at for s in cut_up(call(0), end(10), own=(subscription(-9, 10),))] == [None]


def test_a_subscription_that_begins_or_changes_its_plan_cuts_nothing() -> None:
    plans = (subscription(0, 10, OURS, ends=50), subscription(10, 50, THEIRS))
    assert [(s.boundary_id, s.calls, s.settles_at) for s in cut_up(call(-1), call(9), own=plans)] == [(OURS, 2, at(33))]
    assert [(s.boundary_id, s.calls) for s in cut_up(call(9), call(12), call(20), own=plans)] == [(OURS, 3)]


def test_a_conversation_that_outlives_its_subscription_goes_on_in_the_next_one() -> None:
    one_after_the_other = (subscription(0, 10), subscription(10, 50))
    assert [s.settles_at for s in cut_up(call(9), call(10), own=one_after_the_other)] == [
        at(10) - MICROSECOND,
        at(34),
    ]


def test_a_conversation_does_not_reach_back_over_a_change_of_subscription() -> None:
    before, after = Boundaries((subscription(0, 10),), [DEFAULT]), Boundaries((subscription(0, 90),), [DEFAULT])
    (outside,) = cut([call(11)], before)
    assert not reaches_back(outside, at(9), before)
    (within,) = cut([call(11)], after)
    assert reaches_back(within, at(9), after)
    assert not reaches_back(within, at(-1), after)


def test_going_on_from_a_sitting_is_cutting_the_whole() -> None:
    events = [call(hour) for hour in (0, 10, 40, 41, 200)]
    so_far = cut_up(*events[:2])
    assert cut(events[2:], Boundaries((), [DEFAULT]), so_far[-1]) == cut_up(*events)


def test_a_replay_grows_to_the_whole_sitting() -> None:
    events = [call(0), call(1, turn=2), call(100)]
    assert [(so_far.calls, so_far.max_turn) for _, so_far in replayed(events[:1])] == [(1, None)]
    *_, (_, whole) = replayed(events)
    assert (whole.calls, whole.max_turn) == (3, 2)
