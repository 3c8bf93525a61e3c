"""What must not matter to a bill: names, repetitions, the cutting into batches, and which period it is."""

import datetime as dt
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.reports import Report
from tests.billing.books import DEC_2, GRACE, JAN_2, billed, lines_of
from tests.cast import NOON, a_plan, acme, report, send, subscribed
from tests.undoing import undone

pytestmark = pytest.mark.django_db

A_PERIOD = DEC_2 - NOON
STEPS = [{"up_to": 2, "unit": "0.335", "flat": "1.00"}, {"unit": "0.25"}]
RATES = {
    "simple": {"included": 1, "price": {"model": "graduated", "steps": STEPS}},
    "standard": {"included": 0, "price": {"model": "volume", "steps": STEPS}},
    "complex": {"price": {"model": "package", "size": 2, "amount": "5.00"}},
    "enterprise": "9.99",
}


class Call(NamedTuple):
    """A call some time into the period."""

    conversation: str
    after: dt.timedelta
    tokens: int


calls = st.lists(
    st.builds(
        Call,
        st.sampled_from("abcdef"),
        st.integers(0, 27 * 86_400).map(lambda seconds: dt.timedelta(seconds=seconds)),
        st.sampled_from((100, 4_999, 5_000, 20_000, 90_000)),
    ),
    min_size=1,
    max_size=12,
)


def reports(told: list[Call], *, prefix: str = "", since: dt.datetime = NOON) -> list[Report]:
    return [
        report(
            f"{prefix}e{number}",
            since + call.after,
            conversation=prefix + call.conversation,
            tokens=(call.tokens, 0, 0, 0, 0),
        )
        for number, call in enumerate(told)
    ]


def bill_of(batches: list[list[Report]], *, at: dt.datetime = DEC_2 + GRACE) -> list[tuple[str, str, int]]:
    """The lines of the last invoice by then, in a world of its own."""
    with undone():
        subscribed(acme(), a_plan(rates=RATES, minimum="60.00", maximum="80.00"))
        for batch in batches:
            send(batch)
        return lines_of(billed(at)[-1])


@given(told=calls, cuts=st.integers(1, 5))
@settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_bill_is_the_same(db: None, told: list[Call], cuts: int) -> None:
    usual = reports(told)
    bill = bill_of([usual])
    assert bill_of([usual, usual]) == bill
    assert bill_of([usual[start::cuts] for start in range(cuts)]) == bill
    assert bill_of([reports(told, prefix="another-")]) == bill
    assert bill_of([reports(told, since=NOON + A_PERIOD)], at=JAN_2 + GRACE) == bill
