"""Whatever a subscription goes through: a preview is the change, and fees are what was agreed, by the second.

A history is a list of changes at odd instants, with usage and bill runs between. After it, the fees that were billed
are compared with a second account of them, kept here in fractions of the time spent on each plan.
"""

import datetime as dt
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.books import INVARIANTS, check
from billing.changing import make_change
from billing.models import Invoice, InvoiceLine
from plans import changing
from plans.models import Plan, Subscription
from plans.money import to_minor
from plans.periods import period_of
from plans.publishing import terms_of
from plans.subscribing import SubscriptionRefused
from tests.billing.books import assert_books_balance, bill_run, conversation, frozen_rows, happened
from tests.cast import NOON, a_plan, acme, subscribed
from tests.undoing import undone

pytestmark = pytest.mark.django_db

HOUR, DAY, SECOND = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(seconds=1)
FEES = {"small": "49.00", "large": "199.99", "odd": "33.33", "yearly": "1000.00"}
SIMPLE = {"included": 3, "price": {"model": "graduated", "steps": [{"up_to": 2, "unit": "0.335"}, {"unit": "0.25"}]}}
RATES = {"simple": SIMPLE, "standard": "0.5", "complex": "1", "enterprise": "2"}
NOT_NOW = (
    changing.AlreadyEnded,
    changing.AlreadyEnding,
    changing.NotEnding,
    changing.NothingToChange,
    SubscriptionRefused,
)
"""What some histories ask for and cannot be had; then nothing may happen at all."""


OF_THE_CLOCK = {"commit_survives_a_power_cut", "collection_is_not_stuck", "due_conversation_is_settled"}
"""Not about this: settings of the test database, a Stripe that nobody asked, and what is due since the last run."""
INVARIANTS_HERE = {invariant.name for invariant in INVARIANTS} - OF_THE_CLOCK


class Event(NamedTuple):
    """What happens so long after the event before it."""

    after: dt.timedelta
    what: str
    detail: Any = None


waits = st.builds(
    lambda days, seconds: days * DAY + seconds * SECOND, st.integers(0, 25), st.integers(1, 86_399)
) | st.just(0 * DAY)
changes = st.one_of(
    st.tuples(
        st.just("move"),
        st.tuples(st.sampled_from(sorted(FEES)), st.sampled_from((None, "now", "period_end", 5, 40))),
    ),
    st.tuples(st.sampled_from(("pause", "resume", "cancel", "cancel now", "uncancel", "unschedule")), st.none()),
    st.tuples(st.just("use"), st.integers(1, 4)),
    st.tuples(st.just("bill"), st.none()),
)
histories = st.lists(st.builds(lambda after, change: Event(after, *change), waits, changes), min_size=1, max_size=7)


class World:
    """Acme on the small plan since NOON, and what is done to it."""

    def __init__(self, trial_days: int) -> None:
        self.plans: dict[str, Plan] = {
            name: a_plan(
                name,
                base_fee=fee,
                interval="year" if name == "yearly" else "month",
                rates=RATES,
                trial_days=trial_days if name == "small" else 0,
            )
            for name, fee in FEES.items()
        }
        self.subscription = subscribed(acme(), self.plans["small"])
        self.now = NOON
        self.talks = 0
        bill_run(NOON)

    def live(self, event: Event) -> None:
        self.now += event.after
        if event.what == "use":
            talks = [conversation(f"talk-{self.talks + n}", self.now) for n in range(event.detail)]
            self.talks += len(talks)
            happened(*talks, now=self.now)
        elif event.what == "bill":
            assert not bill_run(self.now).failed
        else:
            self.tried_then_done(self.change(event))

    def change(self, event: Event) -> Callable[[Any], Subscription]:
        now = self.now
        if event.what == "move":
            name, when = event.detail
            version = self.plans[name].versions.get()
            at = now + when * DAY if isinstance(when, int) else when
            return lambda pk: changing.change_plan(pk, version, when=at, now=now)
        return {
            "pause": lambda pk: changing.pause(pk, now=now),
            "resume": lambda pk: changing.resume(pk, now=now),
            "cancel": lambda pk: changing.cancel(pk, when="period_end", now=now),
            "cancel now": lambda pk: changing.cancel(pk, when="now", now=now),
            "uncancel": lambda pk: changing.uncancel(pk, now=now),
            "unschedule": lambda pk: changing.unschedule_change(pk, now=now),
        }[event.what]

    def tried_then_done(self, change: Callable[[Any], Subscription]) -> None:
        before, frozen = self.state(), frozen_rows()
        tried = self.made(change, preview=True)
        assert (self.state(), frozen_rows()) == (before, frozen)
        assert self.made(change, preview=False) == tried
        assert frozen <= frozen_rows()

    def made(self, change: Callable[[Any], Subscription], *, preview: bool) -> Any:
        def show(subscription: Subscription, invoices: list[Invoice]) -> Any:
            lines = InvoiceLine.objects.filter(invoice__in=invoices).order_by(
                "invoice__created_at", "invoice", "position"
            )
            written = lines.values_list(
                "kind", "tier", "description", "amount", "period_start", "period_end", "details"
            )
            sums = [(each.kind, each.subtotal, each.total, each.amount_due, each.status) for each in invoices]
            phases = subscription.phases.values_list("plan_version", "starts_at", "ends_at", "paused", "anchor_at")
            return sums, list(written), subscription.ends_at, list(phases)

        try:
            return make_change(self.subscription.pk, change, now=self.now, preview=preview, show=show)
        except NOT_NOW as refused:
            return type(refused), str(refused)

    def state(self) -> Any:
        invoices = Invoice.objects.order_by("id").values_list("id", "number", "status", "amount_due")
        return list(invoices), list(Subscription.objects.values("ends_at")), list(self.subscription.phases.values())

    def to_the_end(self) -> dt.datetime:
        """Everything is billed, up to and with the period that runs then."""
        end = self.now + 70 * DAY
        assert not bill_run(end).failed
        return end


def fees_agreed(subscription: Subscription, until: dt.datetime) -> tuple[Fraction, int]:
    """Base fees by the second, up to the end of the period that holds `until`; and into how many parts they are cut."""
    owed, parts, index = Fraction(0), 0, 0
    while (period := period_of(subscription, index)) is not None and period.start <= until:
        for phase in subscription.phases.all():
            start = max(phase.starts_at, period.start, subscription.trial_ends_at or period.start)
            end = min(phase.ends_at or period.end, period.end)
            if start < end and not phase.paused:
                terms = terms_of(phase.plan_version)
                share = Fraction(_micro(end - start), _micro(period.whole.end - period.whole.start))
                owed += share * to_minor(terms.base_fee, "USD")
                parts += 1
        index += 1
    return owed, parts


def _micro(span: dt.timedelta) -> int:
    return span // dt.timedelta(microseconds=1)


def fees_billed(subscription: Subscription) -> int:
    lines = InvoiceLine.objects.filter(subscription=subscription, kind__in=["base_fee", "proration"])
    return lines.aggregate(sum=Sum("amount"))["sum"] or 0


@given(history=histories, trial_days=st.sampled_from((0, 0, 0, 10, 45)))
@settings(
    max_examples=int(os.environ.get("PARLEY_EXAMPLES", "12")),
    derandomize="PARLEY_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # a history is short enough to read, and slow to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_history_is_billed_as_previewed_and_by_the_second(db: None, history: list[Event], trial_days: int) -> None:
    with undone():
        world = World(trial_days)
        for event in history:
            world.live(event)
        end = world.to_the_end()
        subscription = Subscription.objects.get(pk=world.subscription.pk)
        owed, parts = fees_agreed(subscription, end)
        assert abs(fees_billed(subscription) - owed) <= parts
        assert_books_balance()
        assert [
            (found.invariant.name, found.rows) for found in check(end) if found.invariant.name not in OF_THE_CLOCK
        ] == []
