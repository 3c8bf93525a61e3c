"""A file that falls into invoiced periods is adjusted on the next invoice, and its undo on the one after."""

import datetime as dt

import pytest

from billing.models import Invoice
from metering.models import Backfill
from metering.reports import Report
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    adjustments_of,
    all_billed,
    assert_books_balance,
    billed,
    conversation,
    conversations,
    happened,
)
from tests.cast import NOON, a_plan, acme, report, subscribed
from tests.metering.backfills import a_file, ndjson, sent, store, undo

pytestmark = pytest.mark.django_db
INTO_NOVEMBER: list[Report] = [
    conversation("late-1", tier="complex"),
    conversation("late-2"),
    report("more", 1, conversation="c-simple-0", tokens=(19_000, 0, 0, 0, 0)),
]
"""A complex and a simple conversation, and a call that makes a simple one complex: 0.15 + 0.02 + (0.15 - 0.02)."""


@pytest.fixture
def invoiced() -> None:
    """Acme's November, two simple conversations, is invoiced with 0.04."""
    subscribed(acme(), a_plan(base_fee="0"))
    happened(*conversations(2), now=NOON)
    billed(DEC_2 + GRACE)


def stored(now: dt.datetime) -> Backfill:
    return store(a_file(ndjson(sent(INTO_NOVEMBER))), now=lambda: now)


def test_a_file_and_its_undo_are_adjusted_and_cancel_out(invoiced: None) -> None:
    record = stored(DEC_2 + GRACE)
    assert record.counted_before == len(INTO_NOVEMBER)
    billed(JAN_2 + GRACE)
    assert [line.amount for line in adjustments_of(acme())] == [30]
    undo(record)
    billed(FEB_2 + GRACE)
    assert [line.amount for line in adjustments_of(acme())] == [30, -30]
    assert all_billed(acme()) == 4
    assert_books_balance()


def test_a_file_that_is_undone_before_the_next_invoice_leaves_no_line(invoiced: None) -> None:
    undo(stored(DEC_2 + GRACE))
    billed(JAN_2 + GRACE)
    assert adjustments_of(acme()) == []
    assert_books_balance()


def test_an_invoice_does_not_depend_on_whether_usage_came_by_file_or_by_itself(invoiced: None) -> None:
    undo(stored(DEC_2 + GRACE))
    happened(*INTO_NOVEMBER, now=DEC_2 + GRACE)
    billed(JAN_2 + GRACE)
    assert [line.amount for line in adjustments_of(acme())] == [30]
    assert Invoice.objects.filter(number=None).count() == 0
