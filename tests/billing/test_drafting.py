"""What stands on an invoice: base fee in advance, usage of the period that is over, nothing twice."""

import datetime as dt

import pytest
from pytest_django import Settings

from billing.models import Invoice, InvoiceKind, InvoiceStatus
from tests.billing.books import (
    DEC_2,
    GRACE,
    JAN_2,
    bill_run,
    billed,
    conversation,
    conversations,
    happened,
    lines_of,
)
from tests.cast import NOON, a_plan, acme, canceled, close, subscribed

pytestmark = pytest.mark.django_db
MICROSECOND = dt.timedelta(microseconds=1)


def test_the_first_base_fee_is_billed_when_the_subscription_begins() -> None:
    subscribed(acme(), a_plan())
    (start,) = billed(NOON)
    assert (start.kind, start.total, lines_of(start)) == ("start", 4900, [("base_fee", "", 4900)])
    assert (start.period_start, start.period_end) == (NOON, DEC_2)


def test_a_plan_without_a_base_fee_begins_without_an_invoice_and_bills_usage_alone() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    assert billed(NOON) == []
    happened(conversation("c"), now=NOON)
    (cycle,) = billed(DEC_2 + GRACE)
    assert lines_of(cycle) == [("usage", "simple", 2)]


def test_a_plan_without_a_base_fee_has_no_line_for_it() -> None:
    subscribed(acme(), a_plan(base_fee="0"))
    (cycle,) = billed(DEC_2 + GRACE)
    assert lines_of(cycle) == []
    assert (cycle.total, cycle.status) == (0, InvoiceStatus.PAID)


def test_a_cycle_bills_the_usage_that_is_over_and_the_next_base_fee() -> None:
    subscribed(acme(), a_plan())
    happened(*conversations(2), *conversations(1, tier="complex"), now=NOON)
    _, cycle = billed(DEC_2 + GRACE)
    assert lines_of(cycle) == [("base_fee", "", 4900), ("usage", "simple", 4), ("usage", "complex", 15)]
    base, *usage = cycle.lines.all()
    assert (base.period_start, base.period_end) == (DEC_2, JAN_2)
    assert {(line.period_start, line.period_end) for line in usage} == {(NOON, DEC_2)}


def test_a_period_is_invoiced_after_its_grace_and_not_before() -> None:
    subscribed(acme(), a_plan(grace="P1D"))
    billed(NOON)
    assert billed(DEC_2 + dt.timedelta(days=1) - MICROSECOND) == []
    assert len(billed(DEC_2 + dt.timedelta(days=1))) == 1


def test_a_conversation_belongs_to_the_period_that_holds_its_settling_instant() -> None:
    subscribed(acme(), a_plan())
    last = conversation("last", DEC_2 - dt.timedelta(days=1) - MICROSECOND)
    first = conversation("first", DEC_2 - dt.timedelta(days=1))
    happened(last, first, now=DEC_2)
    _, november, december = billed(JAN_2 + GRACE)
    assert [lines_of(invoice)[1:] for invoice in (november, december)] == [[("usage", "simple", 2)]] * 2


def test_a_close_at_the_very_end_of_a_period_settles_in_the_next() -> None:
    subscribed(acme(), a_plan())
    happened(conversation("chat", DEC_2 - GRACE), now=DEC_2)
    close(DEC_2)
    _, november, december = billed(JAN_2 + GRACE)
    assert (november.total, december.total) == (4900, 4902)


def test_usage_of_the_grace_is_not_billed_with_the_period_before() -> None:
    subscribed(acme(), a_plan())
    happened(conversation("chat", DEC_2 - dt.timedelta(hours=23.5)), now=DEC_2)
    _, november = billed(DEC_2 + GRACE)
    assert november.total == 4900


def test_a_tier_that_nobody_used_has_no_line_and_an_included_one_has_a_line_of_nothing() -> None:
    rates = {"simple": {"included": 5, "price": {"model": "flat", "unit": "0.02"}}}
    subscribed(acme(), a_plan(rates={"standard": "0.05", "complex": "0.15", "enterprise": "0.50"} | rates))
    happened(*conversations(3), now=NOON)
    _, cycle = billed(DEC_2 + GRACE)
    assert lines_of(cycle) == [("base_fee", "", 4900), ("usage", "simple", 0)]
    assert cycle.lines.get(tier="simple").description == "3 simple conversations: 3 included = 0.00 USD"


def test_each_line_is_rounded_once_half_away_from_zero() -> None:
    subscribed(acme(), a_plan(rates=dict.fromkeys(("simple", "standard", "complex", "enterprise"), "0.005")))
    happened(*conversations(3), *conversations(1, tier="standard"), now=NOON)
    _, cycle = billed(DEC_2 + GRACE)
    assert lines_of(cycle)[1:] == [("usage", "simple", 2), ("usage", "standard", 1)]


def test_the_last_invoice_of_a_cancelled_subscription_has_no_further_base_fee() -> None:
    subscription = subscribed(acme(), a_plan())
    billed(NOON)
    canceled(subscription, now=NOON + GRACE)
    happened(conversation("c"), now=NOON)
    (last,) = billed(JAN_2)
    assert lines_of(last) == [("usage", "simple", 2)]
    assert billed(JAN_2 + dt.timedelta(days=400)) == []


def test_a_cancellation_within_the_grace_still_ends_after_the_period_that_has_begun() -> None:
    subscription = subscribed(acme(), a_plan())
    billed(NOON)
    canceled(subscription, now=DEC_2 + GRACE / 2)
    (november,) = billed(DEC_2 + GRACE)
    (december,) = billed(JAN_2 + GRACE)
    assert lines_of(november) == [("base_fee", "", 4900)]
    assert lines_of(december) == []


def test_what_settles_after_the_end_of_a_subscription_is_on_no_bill() -> None:
    subscription = subscribed(acme(), a_plan())
    canceled(subscription, now=NOON)
    happened(conversation("c", DEC_2), now=DEC_2)
    assert [invoice.total for invoice in billed(JAN_2)] == [4900, 0]


def test_a_second_subscription_goes_on_where_the_first_ended() -> None:
    customer, plan = acme(), a_plan()
    canceled(subscribed(customer, plan), now=NOON)
    subscribed(customer, plan, since=DEC_2)
    happened(conversation("early"), conversation("late", DEC_2), now=DEC_2)
    kinds = [(invoice.kind, invoice.total) for invoice in billed(JAN_2 + GRACE)]
    assert sorted(kinds) == [("cycle", 2), ("cycle", 4902), ("start", 4900), ("start", 4900)]


def test_a_subscription_that_began_long_ago_is_billed_period_by_period() -> None:
    subscribed(acme(), a_plan())
    invoices = billed(JAN_2 + GRACE)
    assert [(invoice.kind, invoice.period_index) for invoice in invoices] == [("start", 0), ("cycle", 0), ("cycle", 1)]


def test_periods_end_where_the_customers_clock_says_so() -> None:
    subscribed(acme(timezone="America/New_York"), a_plan(), since=dt.datetime(2026, 10, 15, 4, tzinfo=dt.UTC))
    _, october = billed(dt.datetime(2026, 11, 15, 5, tzinfo=dt.UTC) + GRACE)
    assert october.period_end == dt.datetime(2026, 11, 15, 5, tzinfo=dt.UTC)


def test_an_invoice_kept_as_a_draft_has_no_number_and_the_next_names_it_all_the_same(settings: Settings) -> None:
    settings.HOLD_DRAFTS = True
    subscribed(acme(), a_plan())
    billed(DEC_2 + GRACE)
    happened(conversation("late", 1), now=DEC_2 + 2 * GRACE)
    billed(JAN_2 + GRACE)
    assert set(Invoice.objects.values_list("status", "number")) == {("draft", None)}
    november = Invoice.objects.get(kind=InvoiceKind.CYCLE, period_index=0)
    adjustment = Invoice.objects.get(kind=InvoiceKind.CYCLE, period_index=1).lines.get(kind="adjustment")
    assert adjustment.details["invoice"] == f"draft {november.id}"


def test_billing_the_same_instant_again_makes_nothing() -> None:
    subscribed(acme(), a_plan())
    assert len(billed(DEC_2 + GRACE)) == 2
    assert bill_run(DEC_2 + GRACE).invoices == []
