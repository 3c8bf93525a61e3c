"""What a bill counts is what happened, by meter; in SQL as in the pure rule."""

import datetime as dt
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from api.asking import Question
from metering import reading
from metering.models import OpenConversation
from metering.reading import count_open, count_settled
from plans.meters import Meters, PeakWindow, meter_of
from plans.models import Customer
from tests.cast import acme, at, bolt, report, send, settled
from tests.metering.histories import random_histories
from tests.plans.test_meters import all_meters, instants

pytestmark = pytest.mark.django_db

IDLE = dt.timedelta(hours=24)
AFTERNOONS = (PeakWindow(tuple(range(7)), 12 * 60, 18 * 60),)
"""Of every day; NOON is a first minute of them."""


def happened(*settling: float, **fields: object) -> None:
    """Acme had a conversation of one call that settles at each of these hours."""
    send(report(f"{fields}-{hour}", at(hour) - IDLE, conversation=f"{fields}-{hour}", **fields) for hour in settling)


@pytest.fixture
def customer() -> Customer:
    return acme()


@pytest.mark.parametrize(("count", "ended"), [(count_settled, True), (count_open, False)])
def test_what_settles_at_peak_hours_is_counted_apart(
    customer: Customer, count: Callable[..., dict[str, int]], ended: bool
) -> None:
    happened(0, 5.9, 6, 24)
    happened(3, tokens=(6_000, 0, 0, 0, 0))
    if ended:
        settled()
    meters = Meters(peak_hours=AFTERNOONS, peak_tiers=frozenset({"simple"}))
    assert count(customer.id, at(0), at(24), meters=meters) == {"simple@peak": 2, "simple": 1, "standard": 1}
    assert count(customer.id, at(0), at(24)) == {"simple": 3, "standard": 1}


def test_what_has_no_billable_outcome_is_not_counted(customer: Customer) -> None:
    happened(1, 2, outcome="resolved")
    happened(3, 4, 5, outcome="escalated")
    happened(6, outcome=None)
    settled()
    meters = Meters(billable_outcomes=("resolved", "done"))
    assert count_settled(customer.id, at(0), at(24), meters=meters) == {"simple": 2}
    assert count_settled(customer.id, at(0), at(24)) == {"simple": 6}


def test_only_the_customers_own_conversations_are_counted(customer: Customer) -> None:
    bolt()
    happened(1, customer="bolt", outcome="resolved")
    settled()
    meters = Meters(("resolved",), AFTERNOONS, frozenset({"simple"}))
    assert count_settled(customer.id, at(0), at(24), meters=meters) == {}


def test_a_plain_count_reads_nothing_but_the_index(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    send(report(f"e{n}", 20 * n, conversation=f"c{n}") for n in range(200))
    settled()
    asked: list[tuple[Question, dict[str, object]]] = []
    monkeypatch.setattr(reading, "ask", lambda *put: asked.append(put) or [])
    count_settled(customer.id, at(0), at(24))
    ((question, parameters),) = asked
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE metering_settledconversation")
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {question.sql}", parameters)
        assert "Index Only Scan using metering_settledconversation_pkey" in str(cursor.fetchall())


@random_histories
@given(
    settling=st.lists(st.tuples(instants, st.sampled_from(["resolved", "done", "lost", None])), max_size=20),
    meters=all_meters,
    bounds=st.tuples(instants, instants),
)
def test_counting_in_sql_is_the_pure_rule(
    settling: list[tuple[dt.datetime, str | None]], meters: Meters, bounds: tuple[dt.datetime, dt.datetime]
) -> None:
    start, end = sorted(bounds)
    with transaction.atomic():
        customer = acme()
        send(
            report(f"e{number}", instant - IDLE, conversation=f"c{number}", outcome=outcome)
            for number, (instant, outcome) in enumerate(settling)
        )
        within = [(outcome, instant) for instant, outcome in settling if start <= instant < end]
        expected = Counter(meter_of(meters, "simple", *one) for one in within)
        del expected[None]  # what costs nothing
        assert count_open(customer.id, start, end, meters=meters) == expected
        settled()
        assert not OpenConversation.objects.exists()
        assert count_settled(customer.id, start, end, meters=meters) == expected
        transaction.set_rollback(True)
