"""A second report of the same event: growth, duplicate or conflict, in any order."""

import datetime as dt
import itertools

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.merging import COUNTERS, merge
from metering.sittings import MeteredEvent
from tests.cast import report


def call(tokens: tuple[int, ...] = (10, 0, 0, 5, 0), hours: float = 0, **fields: object) -> MeteredEvent:
    return report("e1", hours, tokens=tokens, **fields).event


def test_the_same_report_is_a_duplicate_and_changes_nothing() -> None:
    merged = merge(call(), call())
    assert (merged.status, merged.changed, merged.detail) == ("duplicate", False, "")


def test_one_greater_counter_is_growth() -> None:
    merged = merge(call((10, 0, 0, 5, 0)), call((10, 0, 0, 6, 2)))
    assert (merged.status, merged.changed) == ("updated", True)
    assert (merged.event.output_tokens, merged.event.reasoning_tokens) == (6, 2)


def test_only_smaller_counters_are_an_older_report_that_comes_late() -> None:
    stored = call((10, 0, 0, 5, 0))
    merged = merge(stored, call((0, 0, 0, 5, 0), hours=-1))
    assert (merged.status, merged.changed) == ("duplicate", True)
    assert merged.event.occurred_at == stored.occurred_at - dt.timedelta(hours=1)
    assert merged.event.input_tokens == 10


def test_a_conflict_names_every_differing_field_and_takes_over_nothing() -> None:
    stored = call()
    merged = merge(stored, call((99, 0, 0, 99, 0), hours=-1, model="gpt-5", kind="tool", turn=4))
    assert merged.event is stored
    assert merged.detail == "model: stored unpriced-1, sent gpt-5; kind: stored completion, sent tool"


def test_what_a_caller_learns_late_is_joined() -> None:
    early = call(status="ok", attempt=1, turn=None, outcome="escalated", feature=None, byok=False)
    final = call(status="error", attempt=2, turn=3, outcome="resolved", feature="support", byok=True)
    assert msgspec.structs.replace(merge(early, final).event) == final
    assert merge(final, early).event == final


def test_a_corrected_event_is_left_alone() -> None:
    stored = msgspec.structs.replace(call(), corrected=True)
    merged = merge(stored, call((99, 0, 0, 99, 0), model="gpt-5"))
    assert (merged.status, merged.changed, merged.event) == ("duplicate", False, stored)


def test_merging_does_not_alter_what_it_is_given() -> None:
    stored, sent = call((1, 0, 0, 1, 0)), call((2, 0, 0, 2, 0))
    merge(stored, sent)
    assert (stored.input_tokens, sent.output_tokens) == (1, 2)


steps = st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=4)


@settings(max_examples=200)
@given(steps=steps, data=st.data())
def test_growth_in_any_order_ends_in_the_join(steps: list[tuple[int, ...]], data: st.DataObject) -> None:
    totals = itertools.accumulate(steps, lambda so_far, step: tuple(map(sum, zip(so_far, step, strict=True))))
    grown = [
        call(
            (*total, 0),
            hours=data.draw(st.sampled_from([0, 1, 2])),
            turn=data.draw(st.sampled_from([None, 1, 2])),
            status=data.draw(st.sampled_from(["ok", "error"])),
        )
        for total in totals
    ]
    merged, *others = data.draw(st.permutations(grown))
    for other in others:
        result = merge(merged, other)
        assert result.status != "conflict"
        merged = result.event
    assert merged.occurred_at == min(event.occurred_at for event in grown)
    assert merged.turn == max((event.turn for event in grown if event.turn), default=None)
    assert merged.status == min(event.status for event in grown)
    for name in COUNTERS:
        assert getattr(merged, name) == max(getattr(event, name) for event in grown)
