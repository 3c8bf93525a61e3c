"""The sum of a customer's invoices is a function of what happened, whatever the order in which we heard of it.

The same story is told twice: straight (every event in order, then one bill run at the end) and crooked: split into
batches, repeated, delayed beyond the invoices of its period, with growth reports, closes, voids and amendments between,
and bill runs at any instant, ahead of the clock too. Period by period the same must have been billed.

A few stories, always the same ones; `PARLEY_EXAMPLES` asks for so many new ones.
"""

import datetime as dt
import os
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing.billing import bill
from billing.changing import Change, make_change
from billing.models import BillingSchedule, Invoice, InvoiceKind, InvoiceLine
from metering.corrections import amend_event, void_event
from metering.models import Conversation, LateChange
from plans.changing import cancel, change_plan, pause
from plans.models import Customer, Plan, Subscription
from tests.billing.books import (
    DEC_2,
    FEB_2,
    GRACE,
    JAN_2,
    MAR_2,
    adjustments_of,
    all_billed,
    assert_books_balance,
    frozen_rows,
    usage_billed_by_period,
)
from tests.cast import NOON, a_plan, a_scheme, acme, canceled, close, report, send, subscribed
from tests.undoing import undone

pytestmark = pytest.mark.django_db

HOUR, DAY, MICROSECOND = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(microseconds=1)
BOUNDARIES = (NOON, DEC_2, JAN_2)
LAST_EVENT = JAN_2 + 3 * DAY
END = MAR_2 + GRACE
"""We have heard of everything, and no bill run has looked further ahead, in the period that ends here."""
AFTERWARDS = END + 70 * DAY
"""By now the first period of a second subscription is over too, whenever it began."""

STEPS = [{"up_to": 1, "unit": "0.90"}, {"up_to": 3, "unit": "0.405", "flat": "1.00"}, {"unit": "0.1115"}]
PRICES: dict[str, dict[str, Any]] = {
    "flat": {"model": "flat", "unit": "0.335"},
    "graduated": {"model": "graduated", "steps": STEPS},
    "volume": {"model": "volume", "steps": STEPS},
    "package": {"model": "package", "size": 2, "amount": "1.25"},
}
TIERS = ("simple", "standard", "complex", "enterprise")


class Call(NamedTuple):
    """A call, reported as often as there are `shares` of its output known by then; with what was said of it later."""

    id: str
    conversation: str
    at: dt.datetime
    tokens: int
    turn: int | None
    reports: tuple[tuple[dt.timedelta, float], ...]
    correction: str | None
    corrected_after: dt.timedelta


class Story(NamedTuple):
    """What happened, and when we heard of it."""

    price: str
    included: int
    timezone: str
    calls: tuple[Call, ...]
    closes: tuple[tuple[str, dt.datetime, dt.timedelta], ...]
    bills: tuple[tuple[dt.datetime, dt.timedelta], ...]
    canceled_at: dt.datetime | None
    back_after: dt.timedelta | None
    back_noticed_after: dt.timedelta
    own_scheme: bool
    moved_at: dt.datetime | None = None
    paused_at: dt.datetime | None = None
    ends_at_once: bool = False


instants = st.builds(
    lambda boundary, hours, by: min(max(boundary + hours * HOUR + by * MICROSECOND, NOON), LAST_EVENT),
    st.sampled_from(BOUNDARIES),
    st.sampled_from((-96, -73, -72, -49, -48, -30, -25, -24, -23, -12, -2, -1, 0, 1, 2, 12, 23, 24, 30, 47, 72, 200)),
    st.sampled_from((0, 0, 0, -1, 1)),
)
delays = st.sampled_from((0, 0, 0, 1, 2, 13, 25, 26, 49, 80, 24 * 20, 24 * 33)).map(lambda hours: hours * HOUR)
reports = st.lists(st.tuples(delays, st.sampled_from((0.0, 0.5, 1.0))), max_size=3).map(tuple)
bills_when_due = st.lists(st.sampled_from((DEC_2, JAN_2, FEB_2)), unique=True, max_size=3).map(
    lambda ends: tuple((end + GRACE, 0 * DAY) for end in ends)
)
references = st.sampled_from(("a", "b", "c", "d"))


@st.composite
def calls(draw: st.DrawFn) -> tuple[Call, ...]:
    drawn = draw(
        st.lists(
            st.builds(
                Call,
                id=st.just(""),
                conversation=references,
                at=instants,
                tokens=st.sampled_from((10, 1_000, 4_998, 5_000, 12_000, 20_000, 80_000)),
                turn=st.none() | st.integers(1, 12),
                reports=reports,
                correction=st.sampled_from((None,) * 6 + ("void", "amend")),
                corrected_after=delays.filter(lambda delay: delay <= 20 * DAY),
            ),
            min_size=2,
            max_size=8,
        )
    )
    return tuple(call._replace(id=f"e{number}") for number, call in enumerate(drawn))


@st.composite
def stories(draw: st.DrawFn) -> Story:
    canceled_at = draw(st.none() | instants)
    leads = st.just(0 * DAY) if canceled_at else st.sampled_from((0, 0, 0, 3, 20)).map(lambda days: days * DAY)
    return Story(
        price=draw(st.sampled_from(sorted(PRICES))),
        included=draw(st.sampled_from((0, 0, 0, 1, 2))),
        timezone=draw(st.sampled_from(("UTC", "Pacific/Auckland", "America/New_York"))),
        calls=draw(calls()),
        closes=tuple(draw(st.lists(st.tuples(references, instants, delays), max_size=3))),
        bills=(*draw(bills_when_due), *draw(st.lists(st.tuples(instants, leads), max_size=2))),
        canceled_at=canceled_at,
        back_after=draw(st.none() | st.sampled_from((0, 1, 40)).map(lambda days: days * DAY)),
        back_noticed_after=draw(delays),
        own_scheme=draw(st.booleans()),
        moved_at=None if canceled_at else draw(st.none() | instants),
        paused_at=None if canceled_at else draw(st.none() | instants),
        ends_at_once=draw(st.booleans()),
    )


class Step(NamedTuple):
    """Something that we hear of at an instant of our clock; `order` decides between two at one instant."""

    heard_at: dt.datetime
    order: int
    kind: str
    what: Any


def straight(story: Story) -> list[Step]:
    """Everything at its time, whole; corrections and the comings and goings too; no bill before the end."""
    steps = [Step(call.at, 2, "reports", [_reported(call, 1.0)]) for call in story.calls]
    steps += [Step(END - DAY, 3, "correct", call) for call in story.calls if call.correction]
    steps += [Step(at, 2, "close", (reference, at)) for reference, at, _ in story.closes]
    return sorted([*steps, *_subscribing(story, 0 * DAY)], key=lambda step: step[:2])


def crooked(story: Story) -> list[Step]:
    """Growth and repetitions, each with its delay; what arrives between two other things is one batch."""
    steps = [Step(at, 4, "bill", at + lead) for at, lead in story.bills]
    for call in story.calls:
        heard = [*call.reports, (0 * HOUR, 1.0)] if not call.reports else [*call.reports, (call.reports[0][0], 1.0)]
        steps += [Step(call.at + delay, 2, "reports", [_reported(call, share)]) for delay, share in heard]
        first = call.at + min(delay for delay, _ in heard)
        if call.correction:
            steps.append(Step(first + call.corrected_after, 3, "correct", call))
    steps += [Step(at + delay, 2, "close", (reference, at)) for reference, at, delay in story.closes]
    ordered = sorted([*steps, *_subscribing(story, story.back_noticed_after)], key=lambda step: step[:2])
    batched: list[Step] = []
    for step in ordered:
        if batched and step.kind == batched[-1].kind == "reports":
            batched[-1] = step._replace(what=[*step.what, *batched[-1].what])  # newest first
        else:
            batched.append(step)
    return batched


def _reported(call: Call, share: float) -> Any:
    known = call.tokens // 2 + int(share * (call.tokens - call.tokens // 2))
    fresh = call.tokens // 2
    return report(
        call.id, call.at, conversation=call.conversation, turn=call.turn, tokens=(fresh, 0, 0, known - fresh, 0)
    )


def _subscribing(story: Story, noticed_after: dt.timedelta) -> list[Step]:
    if story.canceled_at is None:
        asked = (("move", story.moved_at), ("pause", story.paused_at))
        return [Step(at, 1, kind, at) for kind, at in asked if at is not None]
    leaves = Step(story.canceled_at, 1, "leave" if story.ends_at_once else "cancel", story.canceled_at)
    if story.back_after is None:
        return [leaves]
    return [leaves, Step(story.canceled_at + noticed_after, 1, "come back", story.back_after)]


class Outcome(NamedTuple):
    """What must be the same, however it was heard of."""

    total: int
    usage_by_period: dict[tuple[dt.datetime, int], int]
    conversations: list[tuple[Any, ...]]


def told(story: Story, steps: list[Step]) -> Outcome:
    """Live through the steps and bill to the end; on the way, nothing that is frozen may change."""
    customer = acme(timezone=story.timezone)
    rates = {tier: {"included": story.included, "price": PRICES[story.price]} for tier in TIERS}
    first = subscribed(customer, a_plan("first", rates=rates))
    a_plan(
        "other",
        rates=rates | {"simple": {"included": 3, "price": PRICES["package"]}},
        base_fee="99.95",
        minimum="120.00",
    )
    a_scheme("own", idle_hours=12, max_age_hours=30)
    a_plan("second", rates=rates, base_fee="10.00", tier_scheme="own" if story.own_scheme else "default")
    frozen: set[str] = set()
    for step in steps:
        _live(step, customer, first)
        frozen = _still_frozen(frozen)
    end = AFTERWARDS if story.canceled_at else END
    bill(as_of=end, now=end)
    _still_frozen(frozen)
    assert not BillingSchedule.objects.exclude(last_error="").exists()
    assert not LateChange.objects.exists()
    _assert_adjustments_name_their_period(customer)
    assert_books_balance()
    return Outcome(all_billed(customer), usage_billed_by_period(customer), _conversations(customer))


def _live(step: Step, customer: Customer, first: Subscription) -> None:
    now, what = step.heard_at, step.what
    if step.kind == "reports":
        assert set(send(what, now=now)) <= {"accepted", "updated", "duplicate"}
    elif step.kind == "close":
        close(what[1], conversation=what[0])
    elif step.kind == "correct" and what.correction == "void":
        void_event(customer, what.id, reason="test traffic", now=now)
    elif step.kind == "correct":
        amend_event(customer, what.id, {"input_tokens": 6_000, "output_tokens": 0}, reason="miscounted", now=now)
    elif step.kind == "cancel":
        canceled(first, now=what)
    elif step.kind == "leave":
        _change(first, lambda pk: cancel(pk, when="now", now=what), now=what)
    elif step.kind == "move":
        other = Plan.objects.get(code="other").versions.get()
        _change(first, lambda pk: change_plan(pk, other, when="now", now=what), now=what)
    elif step.kind == "pause":
        _change(first, lambda pk: pause(pk, now=what), now=what)
    elif step.kind == "come back":
        ends_at = Subscription.objects.get(pk=first.pk).ends_at
        assert ends_at is not None
        plan = Plan.objects.get(code="second")
        subscribed(customer, plan, since=ends_at + what)
    else:
        assert bill(as_of=what, now=now).failed == 0


def _change(subscription: Subscription, change: Change, *, now: dt.datetime) -> None:
    make_change(subscription.pk, change, now=now, preview=False, show=lambda *_: None)


def _still_frozen(before: set[str]) -> set[str]:
    after = frozen_rows()
    assert before <= after
    return after


def _assert_adjustments_name_their_period(customer: Customer) -> None:
    for line in adjustments_of(customer):
        invoice = Invoice.objects.get(
            subscription=line.subscription, kind=InvoiceKind.CYCLE, period_index=line.period_index
        )
        assert (line.period_start, line.period_end) == (invoice.period_start, invoice.period_end)
        assert line.details["invoice"] == invoice.number
        assert line.description.startswith("Usage of ")
        assert f"that changed after invoice {invoice.number}: " in line.description
        assert line.amount != 0
        same = InvoiceLine.objects.filter(invoice=line.invoice, subscription=line.subscription)
        assert same.filter(period_index=line.period_index, kind__in=["usage", "adjustment"]).get() == line


def _conversations(customer: Customer) -> list[tuple[Any, ...]]:
    rows = Conversation.objects.filter(customer=customer).order_by("reference", "ordinal")
    return list(
        rows.values_list(
            "reference",
            "ordinal",
            "opened_at",
            "settled__settled_at",
            "settled__tier",
            "settled__turns",
            "settled__counted_tokens",
        )
    )


def call(number: int, reference: str, at: dt.datetime, tokens: int, heard_after: dt.timedelta, **said: Any) -> Call:
    reports = ((heard_after, 0.5),)
    return Call(f"e{number}", reference, at, tokens, None, reports, said.get("correction"), said.get("after", 0 * HOUR))


ACROSS_THE_BOUNDARY = Story(
    price="flat",
    included=0,
    timezone="UTC",
    calls=(
        call(0, "a", DEC_2 - 25 * HOUR, 1_000, 0 * HOUR),
        call(1, "a", DEC_2 - 2 * HOUR, 5_000, 49 * HOUR),  # settled, invoiced, and moved to the next period
        call(2, "b", JAN_2 - 1 * HOUR, 1_000, 0 * HOUR),
    ),
    closes=(("b", JAN_2 - 1 * HOUR, 13 * HOUR),),  # moved back into the invoiced period
    bills=tuple((end + GRACE, 0 * DAY) for end in (DEC_2, JAN_2, FEB_2)),
    canceled_at=None,
    back_after=None,
    back_noticed_after=0 * HOUR,
    own_scheme=False,
)
ONE_OF_EACH = ACROSS_THE_BOUNDARY._replace(
    price="volume",
    calls=(
        call(0, "b", DEC_2 - 30 * HOUR, 1_000, 0 * HOUR, correction="amend", after=20 * DAY),
        call(1, "c", DEC_2 - 96 * HOUR, 80_000, 0 * HOUR, correction="void", after=20 * DAY),
        call(2, "d", JAN_2 - 49 * HOUR, 80_000, 0 * HOUR),
        call(3, "d", JAN_2 - 1 * HOUR, 80_000, 0 * HOUR),
        call(4, "d", JAN_2 - 25 * HOUR, 80_000, 33 * DAY),  # merges the two around it
        call(5, "e", DEC_2 - 96 * HOUR, 80_000, 40 * DAY),
    ),
    closes=(("c", DEC_2 - 95 * HOUR, 33 * DAY),),
    bills=tuple((end + GRACE, 0 * DAY) for end in (DEC_2, JAN_2)),
    canceled_at=DEC_2 + 12 * HOUR,
    back_after=0 * DAY,
    back_noticed_after=33 * DAY,
    own_scheme=True,
)


@given(story=stories())
@example(story=ACROSS_THE_BOUNDARY)
@example(story=ONE_OF_EACH)
@settings(
    max_examples=int(os.environ.get("PARLEY_EXAMPLES", "8")),
    derandomize="PARLEY_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_invoices_come_to_the_same_whatever_the_order_of_arrival(db: None, story: Story) -> None:
    with undone():
        expected = told(story, straight(story))
    with undone():
        assert told(story, crooked(story)) == expected


@pytest.mark.parametrize(
    ("story", "adjusted"),
    [(ACROSS_THE_BOUNDARY, {(0, False), (1, True)}), (ONE_OF_EACH, {(0, True), (0, False), (1, False)})],
)
def test_the_stories_told_as_examples_do_adjust_what_was_invoiced(
    story: Story, adjusted: set[tuple[int, bool]]
) -> None:
    told(story, crooked(story))
    assert {(line.period_index, line.amount > 0) for line in adjustments_of(acme())} >= adjusted
