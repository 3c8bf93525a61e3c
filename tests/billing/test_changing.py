"""What a change of a subscription costs, and that trying it first says exactly that.

Acme's growth plan costs 49.00 a month from 2 November, 12:00; scale costs 199.00. November's period has 30 days.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from billing.books import check
from billing.changing import make_change
from billing.models import Invoice, InvoiceLine
from plans import changing
from plans.models import Subscription
from plans.periods import parts_of, period_of
from plans.publishing import draft_plan_version, publish_plan_version
from plans.subscribing import subscribe
from tests.billing.books import DEC_2, GRACE, JAN_2, balance, billed, conversations, happened, lines_of
from tests.cast import NOON, a_plan, acme, raw_terms, subscribed

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
MIDDLE = NOON + 15 * DAY
INCLUDED = {"simple": {"included": 10, "price": {"model": "flat", "unit": "1.00"}}, "standard": "2.00"}
MORE = {"simple": {"included": 40, "price": {"model": "flat", "unit": "0.50"}}, "standard": "2.00"}
RATES = {"complex": "3.00", "enterprise": "4.00"}


def growth() -> Any:
    return a_plan("growth", rates=INCLUDED | RATES)


def scale(**terms: Any) -> Any:
    return a_plan("scale", **{"rates": MORE | RATES, "base_fee": "199.00"} | terms)


@pytest.fixture
def acme_on_growth() -> Subscription:
    subscription = subscribed(acme(), growth())
    billed(NOON)
    return subscription


def newest(plan: Any) -> Any:
    return plan.versions.latest("version")


def done(
    subscription: Subscription,
    now: dt.datetime,
    change: Callable[..., Subscription],
    *,
    preview: bool = False,
    **said: Any,
) -> list[Any]:
    """Make the change; what it invoiced, as (kind, subtotal, lines)."""

    def show(changed: Subscription, invoices: list[Invoice]) -> list[Any]:
        return [(invoice.kind, invoice.subtotal, lines_of(invoice)) for invoice in invoices]

    return make_change(subscription.pk, lambda pk: change(pk, now=now, **said), now=now, preview=preview, show=show)


def moved(
    subscription: Subscription, plan: Any, now: dt.datetime, *, when: Any = None, preview: bool = False
) -> list[Any]:
    return done(subscription, now, changing.change_plan, version=newest(plan), when=when, preview=preview)


def test_an_upgrade_now_credits_what_is_left_and_charges_the_rest(acme_on_growth: Subscription) -> None:
    (invoice,) = moved(acme_on_growth, scale(), MIDDLE)
    assert invoice == ("change", 7500, [("proration", "", -2450), ("proration", "", 9950)])
    credit, debit = InvoiceLine.objects.filter(kind="proration").order_by("position")
    assert credit.description == "Growth, base fee 17 Nov 2026 to 02 Dec 2026, not used"
    assert debit.description == "Scale, base fee 17 Nov 2026 to 02 Dec 2026"
    assert debit.details == {"base_fee": "199.00", "share": "1/2"}


def test_a_downgrade_waits_for_the_end_of_the_period() -> None:
    subscription = subscribed(acme(), scale())
    billed(NOON)
    assert moved(subscription, growth(), MIDDLE) == []
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]


def test_a_scheduled_change_is_billed_when_it_comes(acme_on_growth: Subscription) -> None:
    assert moved(acme_on_growth, scale(), NOON + DAY, when=MIDDLE) == []
    assert billed(MIDDLE - DAY) == []
    (invoice,) = billed(MIDDLE)
    assert (invoice.kind, invoice.subtotal) == ("change", 7500)


def test_a_scheduled_change_can_be_taken_back(acme_on_growth: Subscription) -> None:
    moved(acme_on_growth, scale(), NOON + DAY, when=MIDDLE)
    assert done(acme_on_growth, NOON + 2 * DAY, changing.unschedule_change) == []
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]
    with pytest.raises(changing.NothingToChange):
        done(acme_on_growth, DEC_2 + DAY, changing.unschedule_change)


def test_what_was_used_of_the_allowance_stays_used(acme_on_growth: Subscription) -> None:
    """Half a period of 10 and half of 40 are 25 in all; 10 were used up before, so 15 are left."""
    happened(*conversations(12, 1, name="early"), now=MIDDLE - DAY)
    moved(acme_on_growth, scale(), MIDDLE)
    happened(*conversations(20, MIDDLE + DAY, name="late"), now=MIDDLE + 3 * DAY)
    (december,) = billed(DEC_2 + GRACE)
    early, late = december.lines.filter(kind="usage")
    assert early.description == "12 simple conversations: 12 included = 0.00 USD"
    assert late.description == ("20 simple conversations: 13 included, 7 x 0.50 = 3.50 USD")


def test_there_and_back_at_one_instant_costs_nothing(acme_on_growth: Subscription) -> None:
    (there,) = moved(acme_on_growth, scale(), MIDDLE)
    (back,) = moved(acme_on_growth, acme_on_growth.phases.all()[0].plan_version.plan, MIDDLE, when="now")
    assert there[1] + back[1] == 0
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]


def test_another_interval_ends_the_period_and_begins_its_own(acme_on_growth: Subscription) -> None:
    happened(*conversations(11), now=NOON + 5 * DAY)
    (invoice,) = moved(acme_on_growth, scale(interval="year", base_fee="1000.00"), MIDDLE)
    assert invoice == (
        "cycle",
        100_000 - 2450 + 600,
        [("base_fee", "", 100_000), ("proration", "", -2450), ("usage", "simple", 600)],
    )
    subscription = Subscription.objects.get()
    year = period_of(subscription, 1)
    assert year is not None and (year.start, year.end) == (MIDDLE, MIDDLE.replace(year=2027))


def test_another_interval_and_back_at_one_instant_begins_a_month_of_its_own(acme_on_growth: Subscription) -> None:
    growth_plan = acme_on_growth.phases.get().plan_version.plan
    moved(acme_on_growth, scale(interval="year", base_fee="1000.00"), MIDDLE, when="now")
    (back,) = moved(acme_on_growth, growth_plan, MIDDLE, when="now")
    assert back == ("change", 4900 - 100_000, [("proration", "", 4900), ("proration", "", -100_000)])
    assert not check(MIDDLE, only=["base_fees_are_billed_as_agreed", "invoiced_period_is_that_of_the_calendar"])


def test_cancelling_now_bills_all_usage_and_gives_back_what_is_left(acme_on_growth: Subscription) -> None:
    """The allowance is that of half a period: 5 of 10. The last call is still going on when the subscription ends."""
    happened(*conversations(6), *conversations(1, MIDDLE, name="open"), now=MIDDLE)
    (invoice,) = done(acme_on_growth, MIDDLE + dt.timedelta(hours=1), changing.cancel, when="now")
    kinds = [(kind, amount) for kind, _, amount in invoice[2]]
    assert invoice[0] == "cycle"
    assert kinds == [("proration", -2443), ("usage", 100)]
    assert billed(DEC_2 + GRACE) == billed(JAN_2 + GRACE) == []
    assert balance(acme(), "credit") == -2343


def test_what_comes_late_after_a_cancellation_is_billed_too(acme_on_growth: Subscription) -> None:
    done(acme_on_growth, MIDDLE, changing.cancel, when="now")
    happened(*conversations(6, MIDDLE - dt.timedelta(hours=1), name="late"), now=MIDDLE + DAY)
    (invoice,) = billed(MIDDLE + 2 * DAY)
    assert (invoice.kind, lines_of(invoice)) == ("adjustment", [("adjustment", "", 100)])


def test_a_cancellation_at_the_periods_end_can_be_undone(acme_on_growth: Subscription) -> None:
    assert done(acme_on_growth, MIDDLE, changing.cancel, when="period_end") == []
    assert done(acme_on_growth, MIDDLE + DAY, changing.uncancel) == []
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]
    with pytest.raises(changing.NotEnding):
        done(acme_on_growth, DEC_2 + DAY, changing.uncancel)


def test_a_subscription_that_has_not_begun_is_withdrawn() -> None:
    subscription = subscribed(acme(), growth(), since=NOON + DAY)
    assert done(subscription, NOON, changing.cancel, when="now") == []
    assert billed(JAN_2) == []
    assert subscribed(acme(), scale(), since=NOON + DAY)


def test_a_pause_accrues_nothing_and_usage_in_it_is_priced(acme_on_growth: Subscription) -> None:
    (paused,) = done(acme_on_growth, NOON + 10 * DAY, changing.pause)
    assert paused == ("change", -3267, [("proration", "", -3267)])
    happened(*conversations(9, NOON + 12 * DAY), now=NOON + 14 * DAY)
    (resumed,) = done(acme_on_growth, NOON + 20 * DAY, changing.resume)
    assert resumed == ("change", 1633, [("proration", "", 1633)])
    (december,) = billed(DEC_2 + GRACE)
    (usage,) = december.lines.filter(kind="usage")
    assert usage.description == "9 simple conversations: 7 included, 2 x 1.00 = 2.00 USD"


def test_a_subscription_stays_on_its_version_until_it_is_moved(acme_on_growth: Subscription) -> None:
    plan = newest(acme_on_growth.phases.get().plan_version.plan).plan
    dearer = draft_plan_version(plan, raw_terms=raw_terms(base_fee="59.00", rates=INCLUDED | RATES), now=NOON)
    publish_plan_version(dearer, now=NOON)
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900)]
    moved(acme_on_growth, plan, DEC_2 + DAY, when="period_end")
    (january,) = billed(JAN_2 + GRACE)
    assert lines_of(january) == [("base_fee", "", 5900)]


def test_a_trial_waives_the_fee_and_not_the_rules() -> None:
    subscription = subscribed(acme(), a_plan("growth", rates=INCLUDED | RATES, trial_days=15))
    happened(*conversations(11), now=NOON + 2 * DAY)
    assert billed(NOON + 14 * DAY) == []
    (begins,) = billed(NOON + 15 * DAY)
    assert (begins.kind, lines_of(begins)) == ("change", [("base_fee", "", 2450)])
    (december,) = billed(DEC_2 + GRACE)
    assert lines_of(december) == [("base_fee", "", 4900), ("usage", "simple", 100)]
    assert [part.trial for part in parts_of(subscription, period_of(subscription, 0))] == [True, False]  # type: ignore[arg-type]


def test_who_cancels_in_the_trial_pays_no_fee() -> None:
    subscription = subscribed(acme(), a_plan("growth", rates=INCLUDED | RATES, trial_days=15))
    billed(NOON)
    (final,) = done(subscription, NOON + 3 * DAY, changing.cancel, when="now")
    assert final == ("cycle", 0, [])


def test_usage_in_a_trial_can_be_free() -> None:
    subscribed(acme(), a_plan("growth", rates=INCLUDED | RATES, trial_days=15, trial_usage="free"))
    happened(*conversations(50), now=NOON + 2 * DAY)
    billed(NOON + 15 * DAY)
    (december,) = billed(DEC_2 + GRACE)
    (free,) = december.lines.filter(kind="usage")
    assert (free.amount, free.description) == (0, "50 simple conversations: free in the trial = 0.00 USD")


def test_a_trial_is_given_once() -> None:
    plan = a_plan("growth", rates=INCLUDED | RATES, trial_days=15)
    done(subscribed(acme(), plan), NOON + DAY, changing.cancel, when="now")
    assert subscribed(acme(), plan, since=NOON + DAY).trial_ends_at is None


def test_a_preview_says_what_then_happens_and_changes_nothing(acme_on_growth: Subscription) -> None:
    happened(*conversations(20), now=NOON + 3 * DAY)
    plan, before = scale(), list(Invoice.objects.values_list("id", "number", "status"))
    tried = moved(acme_on_growth, plan, MIDDLE, preview=True)
    assert list(Invoice.objects.values_list("id", "number", "status")) == before
    assert Subscription.objects.get().phases.count() == 1
    assert moved(acme_on_growth, plan, MIDDLE) == tried


def test_fees_that_were_billed_ahead_are_given_back(acme_on_growth: Subscription) -> None:
    billed(JAN_2 + GRACE)
    (invoice,) = done(acme_on_growth, MIDDLE, changing.cancel, when="now")
    assert invoice == (
        "change",
        -2450 - 2 * 4900,
        [("proration", "", -2450), ("proration", "", -4900), ("proration", "", -4900)],
    )


def test_a_change_within_the_grace_follows_the_invoice_of_the_period_before(acme_on_growth: Subscription) -> None:
    assert moved(acme_on_growth, scale(), DEC_2 + GRACE / 2) == []
    cycle, change = billed(DEC_2 + GRACE)
    assert (cycle.kind, change.kind) == ("cycle", "change")
    assert change.subtotal > 14_900


def test_an_anchor_on_another_day_makes_the_first_period_a_part() -> None:
    """From 2 November, 12:00 to the first of December is 57/60 of the period from the first of November on."""
    plan = growth()
    first = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    subscribe(acme(), plan, version=None, starts_at=NOON, anchor_at=first, now=NOON)
    (start,) = billed(NOON)
    assert lines_of(start) == [("base_fee", "", 4655)]
    (cycle,) = billed(first + GRACE)
    assert (cycle.period_end, lines_of(cycle)) == (first, [("base_fee", "", 4900)])


def test_what_was_billed_ahead_for_a_withdrawn_subscription_is_given_back() -> None:
    subscription = subscribed(acme(), growth(), since=NOON + DAY)
    billed(NOON + 2 * DAY)
    (invoice,) = done(subscription, NOON, changing.cancel, when="now")
    assert invoice == ("change", -4900, [("proration", "", -4900)])


def test_cancelling_at_the_first_instant_gives_the_whole_fee_back(acme_on_growth: Subscription) -> None:
    (final,) = done(acme_on_growth, NOON, changing.cancel, when="now")
    assert final == ("change", -4900, [("proration", "", -4900)])
