"""One call told by two spans has one id, whichever span knows it and whichever came first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.doors.foreign_calls import ForeignCall
from metering.doors.nested_spans import Origin, TracedSpan, name_calls, one_report, origins


def call(span_id: str, parent_id: str = "", response: str = "", *, failed: bool = False) -> TracedSpan:
    fields = {"id": response} if response else {}
    return TracedSpan("t", span_id, parent_id, call=ForeignCall(fields), failed=failed)


def stored(span_id: str, parent_id: str, event_id: str) -> TracedSpan:
    return TracedSpan("t", span_id, parent_id, event_id=event_id)


def plain(span_id: str, parent_id: str = "", **named: str) -> TracedSpan:
    return TracedSpan("t", span_id, parent_id, **named)


def ids(*spans: TracedSpan) -> list[str]:
    name_calls({span.span_id: span for span in spans})
    return [span.event_id for span in spans]


def test_a_call_alone_is_known_by_its_response_or_else_by_its_place() -> None:
    assert ids(call("a", response="r1"), call("b")) == ["r1", "t:b"]


@pytest.mark.parametrize("between", [(), (plain("h", "o"),)], ids=["directly", "with a span between"])
def test_an_outer_span_without_an_id_is_the_call_inside_it(between: tuple[TracedSpan, ...]) -> None:
    inner = call("i", between[0].span_id if between else "o", "r1")
    assert ids(call("o"), inner, *between)[:2] == ["r1", "r1"]


def test_an_inner_span_without_an_id_is_the_call_around_it() -> None:
    assert ids(call("o", response="r1"), call("i", "o")) == ["r1", "r1"]


def test_of_two_without_an_id_the_inner_one_counts() -> None:
    assert ids(call("o"), call("i", "o")) == ["t:i", "t:i"]


def test_an_outer_span_around_several_calls_repeats_them() -> None:
    assert ids(call("o"), call("i", "o", "r1"), call("j", "o", "r2")) == ["", "r1", "r2"]


def test_a_failed_attempt_inside_is_a_call_of_its_own() -> None:
    assert ids(call("o"), call("i", "o", failed=True), call("j", "o", "r2")) == ["r2", "t:i", "r2"]


def test_a_failure_told_by_two_spans_is_one() -> None:
    assert ids(call("o", failed=True), call("i", "o", failed=True)) == ["t:i", "t:i"]


def test_two_calls_with_ids_of_their_own_stay_two() -> None:
    assert ids(call("o", response="r1"), call("i", "o", "r2")) == ["r1", "r2"]


def test_a_call_that_is_stored_keeps_its_id_and_the_other_joins_it() -> None:
    assert ids(stored("o", "", "t:o"), call("i", "o", "r1")) == ["t:o", "t:o"]
    assert ids(call("o", response="r1"), stored("i", "o", "t:i")) == ["t:i", "t:i"]


def test_the_names_nearest_upwards_are_taken_each_for_itself() -> None:
    trace = [
        plain("root", conversation="far", customer="acme"),
        plain("mid", "root", conversation="near"),
        call("c", "mid"),
    ]
    assert origins({span.span_id: span for span in trace}, ["c"])["c"] == Origin("near", "acme", True)


def test_without_its_root_a_trace_may_still_name_more() -> None:
    trace = {span.span_id: span for span in [plain("mid", "root"), call("c", "mid")]}
    assert origins(trace, ["c", "nowhere"]) == {
        "c": Origin(None, None, False),
        "mid": Origin(None, None, False),
        "nowhere": Origin(None, None, False),
    }


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.sampled_from(["", "r1", "r2"])), max_size=8))
def test_any_graph_of_parents_even_a_circle_is_named_and_traced(edges: list[tuple[int, bool, str]]) -> None:
    trace = {
        str(number): call(str(number), str(parent), response) if is_call else plain(str(number), str(parent))
        for number, (parent, is_call, response) in enumerate(edges)
    }
    name_calls(trace)
    assert origins(trace, trace).keys() == trace.keys()
    assert all(span.event_id for span in trace.values() if span.is_call and span.response_id)


def test_of_several_reports_the_one_that_knows_most_is_taken_with_what_only_others_know() -> None:
    poor = ForeignCall({"usage": {"cache_read_tokens": 0}, "customer": "acme", "kind": "tool"})
    rich = ForeignCall({"usage": {"cache_read_tokens": 9}, "model": "m", "kind": "completion"})
    unknown = ForeignCall({"model": "other"}, fault="usage: the span reports none")
    report = one_report([unknown, poor, rich], "r1")
    assert (report.fault, report.fields) == (
        "",
        {"usage": {"cache_read_tokens": 9}, "model": "m", "kind": "tool", "customer": "acme", "id": "r1"},
    )
