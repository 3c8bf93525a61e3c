"""Whatever changes an invoiced period becomes one adjustment line on the next invoice, and never an edit."""

import datetime as dt

import pytest

from billing.billing import bill, bill_batch
from billing.models import Invoice, InvoiceKind
from metering.corrections import amend_event, void_event
from metering.models import LateChange
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    MAR_2,
    adjustments_of,
    all_billed,
    assert_books_balance,
    billed,
    conversation,
    conversations,
    frozen_rows,
    happened,
    lines_of,
)
from tests.cast import NOON, a_plan, acme, bolt, canceled, close, report, subscribed

pytestmark = pytest.mark.django_db
DUE, NEXT_DUE = DEC_2 + GRACE, JAN_2 + GRACE
DAY = dt.timedelta(days=1)


@pytest.fixture
def invoiced() -> None:
    """Acme's November, two simple conversations, is invoiced."""
    subscribed(acme(), a_plan(base_fee="0"))
    happened(*conversations(2), now=NOON)
    assert [lines_of(invoice) for invoice in billed(DUE)] == [[("usage", "simple", 4)]]


def test_usage_that_comes_late_is_adjusted_on_the_next_invoice(invoiced: None) -> None:
    before = frozen_rows()
    happened(*conversations(3, tier="complex"), now=DUE)
    assert frozen_rows() == before
    (december,) = billed(NEXT_DUE)
    (line,) = december.lines.all()
    assert (line.kind, line.amount, line.period_start, line.period_end) == ("adjustment", 45, NOON, DEC_2)
    assert line.description == (
        "Usage of 02 Nov 2026 to 02 Dec 2026 that changed after invoice INV-000001: 0.49 instead of 0.04 USD"
    )
    assert before <= frozen_rows()
    assert_books_balance()


def test_an_adjustment_names_the_invoice_the_counts_and_the_conversations(invoiced: None) -> None:
    happened(conversation("late-b", tier="complex"), conversation("late-a"), now=DUE + GRACE)
    billed(NEXT_DUE)
    (line,) = adjustments_of(acme())
    assert line.details == {
        "invoice": "INV-000001",
        "counts": {"simple": 3, "complex": 1},
        "owed": "0.21",
        "billed": "0.04",
        "charges": [
            "3 simple conversations: 3 x 0.02 = 0.06 USD",
            "1 complex conversation: 1 x 0.15 = 0.15 USD",
        ],
        "conversations": ["late-a", "late-b"],
        "conversations_changed": 2,
    }


def test_what_has_been_adjusted_is_not_adjusted_again(invoiced: None) -> None:
    happened(conversation("late"), now=DUE)
    billed(NEXT_DUE)
    assert [lines_of(invoice) for invoice in billed(FEB_2 + GRACE)] == [[]]
    happened(conversation("later"), now=FEB_2 + GRACE)
    billed(FEB_2 + 40 * DAY)
    assert [line.amount for line in adjustments_of(acme())] == [2, 2]
    assert all_billed(acme()) == 8


def test_late_usage_of_two_periods_makes_a_line_for_each(invoiced: None) -> None:
    billed(NEXT_DUE)
    happened(conversation("november"), conversation("december", DEC_2, tier="complex"), now=NEXT_DUE)
    billed(FEB_2 + GRACE)
    assert [(line.period_index, line.amount) for line in adjustments_of(acme())] == [(0, 2), (1, 15)]


def test_late_usage_that_costs_nothing_makes_no_line() -> None:
    rates = {"simple": {"included": 5, "price": {"model": "flat", "unit": "0.02"}}}
    rates |= dict.fromkeys(("standard", "complex", "enterprise"), "1.00")
    subscribed(acme(), a_plan(base_fee="0", rates=rates))
    billed(DUE)
    happened(*conversations(5), now=DUE)
    (december,) = billed(NEXT_DUE)
    assert lines_of(december) == []
    assert not LateChange.objects.exists()


def test_a_late_event_moves_a_conversation_to_another_tier(invoiced: None) -> None:
    happened(report("more", 2, conversation="c-simple-0", tokens=(19_000, 0, 0, 0, 0)), now=DUE)
    (december,) = billed(NEXT_DUE)
    assert lines_of(december) == [("adjustment", "", 15 - 2)]


def test_a_late_event_moves_a_conversation_into_the_next_period_and_its_price_with_it() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    happened(conversation("chat", DEC_2 - DAY - GRACE), now=DUE)
    billed(DUE)
    happened(report("more", DEC_2 - GRACE, conversation="chat"), now=DUE)
    (december,) = billed(NEXT_DUE)
    assert sorted(lines_of(december)) == [("adjustment", "", -2), ("usage", "simple", 2)]
    assert all_billed(acme()) == 2


def test_a_late_close_moves_a_conversation_back_into_the_period_before(invoiced: None) -> None:
    happened(conversation("chat", DEC_2 - GRACE), now=DUE)
    close(DEC_2 - GRACE / 2)
    billed(NEXT_DUE)
    assert [(line.period_index, line.amount) for line in adjustments_of(acme())] == [(0, 2)]


def test_a_late_bridge_merges_two_conversations_that_were_both_billed() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    happened(report("e1", 0), report("e2", 40), now=DUE)
    assert [invoice.total for invoice in billed(DUE)] == [4]
    happened(report("e3", 20), now=DUE)
    billed(NEXT_DUE)
    assert [line.amount for line in adjustments_of(acme())] == [-2]


def test_a_void_gives_back_what_was_billed_for_it(invoiced: None) -> None:
    void_event(acme(), "c-simple-0-1", reason="test traffic", now=DUE)
    (december,) = billed(NEXT_DUE)
    assert (lines_of(december), december.total) == ([("adjustment", "", -2)], -2)
    assert_books_balance()


def test_an_amendment_reprices_an_invoiced_conversation(invoiced: None) -> None:
    amend_event(acme(), "c-simple-0-1", {"input_tokens": 90_000}, reason="undercounted", now=DUE)
    (december,) = billed(NEXT_DUE)
    assert lines_of(december) == [("adjustment", "", 48)]


def test_growth_after_the_invoice_is_billed_and_a_repetition_is_not(invoiced: None) -> None:
    happened(*conversations(2), now=DUE)
    assert not LateChange.objects.exists()
    happened(report("c-simple-0-1", 1, conversation="c-simple-0", tokens=(900, 0, 0, 9_000, 0)), now=DUE)
    (december,) = billed(NEXT_DUE)
    assert lines_of(december) == [("adjustment", "", 3)]


def test_a_period_is_priced_anew_as_a_whole() -> None:
    steps = [{"up_to": 2, "unit": "1.00"}, {"unit": "0.10"}]
    rates = dict.fromkeys(("standard", "complex", "enterprise"), "1.00")
    subscribed(
        acme(),
        a_plan(base_fee="0", rates={"simple": {"included": 0, "price": {"model": "volume", "steps": steps}}} | rates),
    )
    happened(*conversations(2), now=NOON)
    assert [invoice.total for invoice in billed(DUE)] == [200]
    happened(conversation("third"), now=DUE)
    billed(NEXT_DUE)
    assert [line.amount for line in adjustments_of(acme())] == [30 - 200]


def test_what_comes_within_the_grace_is_on_the_invoice_itself() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    happened(conversation("late"), now=DUE - dt.timedelta(microseconds=1))
    assert [lines_of(invoice) for invoice in billed(DUE)] == [[("usage", "simple", 2)]]
    assert adjustments_of(acme()) == []


def test_usage_of_somebody_else_adjusts_nothing(invoiced: None) -> None:
    bolt()
    happened(conversation("late", customer="bolt"), now=DUE)
    assert [lines_of(invoice) for invoice in billed(NEXT_DUE)] == [[]]


def test_after_its_end_a_subscription_still_gets_invoices_for_what_comes_late() -> None:
    subscription = subscribed(acme(), a_plan(base_fee="0"))
    canceled(subscription, now=NOON)
    billed(DUE)
    for number, due in enumerate((JAN_2, FEB_2), start=1):
        happened(conversation(f"late-{number}"), now=due)
        (invoice,) = billed(due)
        assert (invoice.kind, invoice.period_index, invoice.ordinal) == (InvoiceKind.ADJUSTMENT, 0, number - 1)
        assert lines_of(invoice) == [("adjustment", "", 2)]
    assert billed(FEB_2 + DAY) == []
    assert_books_balance()


def test_where_the_customer_came_back_the_next_invoice_there_carries_the_difference() -> None:
    plan = a_plan(base_fee="0")
    first = subscribed(acme(), plan)
    canceled(first, now=NOON)
    second = subscribed(acme(), plan, since=DEC_2 + DAY)
    billed(DUE)
    happened(conversation("late"), now=DUE)
    assert billed(JAN_2) == []
    (december,) = billed(NEXT_DUE + DAY)
    assert (december.subscription, december.lines.get().subscription) == (second, first)
    assert lines_of(december) == [("adjustment", "", 2)]


def test_two_ended_subscriptions_share_one_recount() -> None:
    plan = a_plan(base_fee="0")
    canceled(subscribed(acme(), plan), now=NOON)
    canceled(subscribed(acme(), plan, since=DEC_2), now=DEC_2)
    billed(NEXT_DUE)
    happened(conversation("november"), conversation("december", DEC_2), now=NEXT_DUE)
    billed(FEB_2)
    assert sorted(line.amount for line in adjustments_of(acme())) == [2, 2]
    assert Invoice.objects.filter(kind=InvoiceKind.ADJUSTMENT).count() == 1
    assert billed(FEB_2 + DAY) == []


def test_a_backdated_subscription_bills_what_was_already_there() -> None:
    acme()
    happened(*conversations(2), now=NOON)
    billed(NEXT_DUE)
    subscribed(acme(), a_plan(base_fee="0"))
    assert [invoice.total for invoice in billed(NEXT_DUE)] == [4, 0]
    assert adjustments_of(acme()) == []


def test_what_is_open_again_in_an_invoiced_period_is_not_taken_for_gone() -> None:
    subscription = subscribed(acme(), a_plan(base_fee="0"))
    canceled(subscription, now=NOON)
    happened(report("e1", 0), now=NOON)
    bill(as_of=DUE, now=NOON)  # ahead of the clock
    happened(report("e2", 2), now=NOON)
    bill(as_of=NOON + 3 * GRACE, now=NOON + 3 * GRACE)
    billed(DUE + GRACE)
    assert (adjustments_of(acme()), all_billed(acme())) == ([], 2)


def test_a_subscription_billed_after_its_successor_does_not_take_away_what_that_has_billed() -> None:
    first = subscribed(acme(), a_plan("patient", base_fee="0", grace="P31D"), since=JAN_2)
    canceled(first, now=JAN_2)
    subscribed(acme(), a_plan("hasty", base_fee="0"), since=FEB_2)
    happened(report("e1", FEB_2), now=FEB_2)
    assert [invoice.total for invoice in billed(MAR_2 + GRACE)] == [2]
    happened(report("e2", FEB_2 + GRACE), now=MAR_2 + GRACE)
    # The event came after the run had settled what was due.
    assert bill_batch([first.pk], as_of=MAR_2 + 3 * DAY, now=MAR_2).invoices
    billed(MAR_2 + 40 * DAY)
    assert (adjustments_of(acme()), all_billed(acme())) == ([], 2)
