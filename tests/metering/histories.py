"""Everything that may be reported of a customer, for hypothesis: times on and around every boundary of the rules."""

import datetime as dt
import itertools
import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from metering.reports import CloseIn, Report, close_event
from tests.cast import LATER, at, report

MICROSECOND = dt.timedelta(microseconds=1)
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
            "turn": draw(st.sampled_from([None, None, 1, 2, 4, 11])),
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


random_histories = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
