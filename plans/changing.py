"""How does a subscription change? Another plan or version, a pause, an end; now, at the period's end, or scheduled.

A change begins a new phase; what is past stays. A later change that is scheduled is replaced by the next one. What a
change costs is billing's question (`billing.changing`), which calls these inside its transaction.
"""

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Literal

from django.db import IntegrityError, transaction

from plans.calendar import MONTHS_IN
from plans.models import Customer, PlanVersion, Subscription, SubscriptionPhase
from plans.periods import WITH_PHASES, Agreement, agreement_at, period_holding, phases_of
from plans.publishing import terms_of
from plans.subscribing import (
    SubscriptionOverlaps,
    SubscriptionRefused,
    check_tiers_have_prices,
    note_end,
    note_scheme,
)
from plans.terms import Terms

When = Literal["now", "period_end"] | dt.datetime


class AlreadyEnding(Exception):
    """The subscription's end is set already."""


class NotEnding(Exception):
    """No end is set, or it has passed."""


class AlreadyEnded(Exception):
    """What has ended does not change."""


class NothingToChange(Exception):
    """The subscription is like that already."""


def change_plan(
    subscription_id: uuid.UUID, version: PlanVersion, *, when: When | None, now: dt.datetime
) -> Subscription:
    """Another plan, or another version of the same one. Unless said, a dearer one now, any other at the period's end.

    The caller has checked that the version is for this customer (`version_to_sell`). Raises AlreadyEnded,
    NothingToChange, SubscriptionRefused.
    """
    with _locked(subscription_id, now) as subscription:
        subscription = _without_scheduled(subscription, now)
        current = _agreement(subscription, now)
        at = _instant(subscription, current, when or _usual_moment(current.terms, terms_of(version)), now)
        check_tiers_have_prices(version)
        ends_at = subscription.ends_at
        if ends_at is not None and at >= ends_at:
            raise SubscriptionRefused("/when", f"the subscription ends at {ends_at.isoformat()}")
        *_, before = (phase for phase in phases_of(subscription) if phase.starts_at <= at)
        if before.plan_version_id == version.pk:
            raise NothingToChange(f"the subscription is on {version} then")
        _begin(before, at, plan_version=version, anchor_at=_anchor(subscription, before, version, at), now=now)
        if before.plan_version.tier_scheme_id != version.tier_scheme_id:
            note_scheme(subscription.customer_id, before.plan_version, since=at)
            note_scheme(subscription.customer_id, version, since=at)
        return _read(subscription.pk)


def unschedule_change(subscription_id: uuid.UUID, *, now: dt.datetime) -> Subscription:
    """Take back a change that has not begun yet. Raises AlreadyEnded, NothingToChange."""
    with _locked(subscription_id, now) as subscription:
        if not _scheduled(subscription, now):
            raise NothingToChange("no change is scheduled")
        return _without_scheduled(subscription, now)


def pause(subscription_id: uuid.UUID, *, now: dt.datetime) -> Subscription:
    """From now on no fee and no allowance accrue; what is used all the same is priced. Raises NothingToChange."""
    return _set_paused(subscription_id, True, now)


def resume(subscription_id: uuid.UUID, *, now: dt.datetime) -> Subscription:
    """The end of a pause. Raises AlreadyEnded, NothingToChange."""
    return _set_paused(subscription_id, False, now)


def _set_paused(subscription_id: uuid.UUID, paused: bool, now: dt.datetime) -> Subscription:
    with _locked(subscription_id, now) as subscription:
        if now < subscription.starts_at:
            raise NothingToChange("the subscription has not begun")
        current = _agreement(subscription, now).phase
        if current.paused == paused:
            raise NothingToChange("the subscription is paused" if paused else "the subscription is not paused")
        following = [phase for phase in phases_of(subscription) if phase.starts_at > now]
        ends_at = current.ends_at
        current.ends_at = now
        current.save(update_fields=["ends_at"])
        _copy(current, starts_at=now, ends_at=ends_at, paused=paused, now=now)
        for phase in following:
            phase.paused = paused
            phase.save(update_fields=["paused"])
        return _read(subscription.pk)


def cancel(subscription_id: uuid.UUID, *, when: Literal["now", "period_end"], now: dt.datetime) -> Subscription:
    """Let the subscription end, and drop what is scheduled. One that has just begun, or not yet, is withdrawn by `now`.

    In a trial `period_end` is the end of the trial. Raises AlreadyEnding, AlreadyEnded.
    """
    with _locked(subscription_id, now) as subscription:
        earlier_end = subscription.ends_at
        if when == "now":
            ends_at = max(now, subscription.starts_at)
        elif earlier_end is not None:
            raise AlreadyEnding(f"the subscription ends at {earlier_end.isoformat()} already")
        elif subscription.trial_ends_at is not None and now < subscription.trial_ends_at:
            ends_at = subscription.trial_ends_at  # who leaves in the trial pays no fee
        else:
            ends_at = period_holding(subscription, max(now, subscription.starts_at)).end
        _end_phases(subscription, ends_at)
        _set_end(subscription, ends_at, canceled_at=now)
        for moved in {ends_at, earlier_end} - {None}:
            note_end(subscription.customer_id, moved)  # type: ignore[arg-type]
        return _read(subscription.pk)


def uncancel(subscription_id: uuid.UUID, *, now: dt.datetime) -> Subscription:
    """Let the subscription go on after all. Raises NotEnding, SubscriptionOverlaps."""
    with _locked(subscription_id, now, ended=NotEnding) as subscription:
        ends_at = subscription.ends_at
        if ends_at is None:
            raise NotEnding("no end is set")
        last = phases_of(subscription)[-1]
        try:
            with transaction.atomic():
                _set_end(subscription, None, canceled_at=None)
        except IntegrityError as error:
            raise SubscriptionOverlaps("another subscription of the customer follows") from error
        last.ends_at = None
        last.save(update_fields=["ends_at"])
        note_end(subscription.customer_id, ends_at)
        return _read(subscription.pk)


@contextmanager
def _locked(
    subscription_id: uuid.UUID, now: dt.datetime, *, ended: type[Exception] = AlreadyEnded
) -> Iterator[Subscription]:
    """The subscription, which nobody else changes meanwhile, if it has not ended."""
    with transaction.atomic():
        customer = Subscription.objects.values_list("customer_id", flat=True).get(pk=subscription_id)
        Customer.objects.select_for_update(no_key=True).get(pk=customer)
        subscription = _read(subscription_id)
        if subscription.ends_at is not None and subscription.ends_at <= max(now, subscription.starts_at):
            raise ended(f"the subscription ended at {subscription.ends_at.isoformat()}")
        yield subscription


def _read(subscription_id: uuid.UUID) -> Subscription:
    return Subscription.objects.select_related("customer").prefetch_related(WITH_PHASES).get(pk=subscription_id)


def _agreement(subscription: Subscription, now: dt.datetime) -> Agreement:
    return agreement_at(subscription, max(now, subscription.starts_at))


def _usual_moment(current: Terms, wanted: Terms) -> When:
    return "now" if _fee_a_year(wanted) > _fee_a_year(current) else "period_end"


def _fee_a_year(terms: Terms) -> Decimal:
    return terms.base_fee * (12 // MONTHS_IN[terms.interval])


def _instant(subscription: Subscription, current: Agreement, when: When, now: dt.datetime) -> dt.datetime:
    if when == "period_end":
        return current.period.end
    at = max(now, subscription.starts_at) if when == "now" else when
    if at < now:
        raise SubscriptionRefused("/at", "lies in the past, which does not change")
    if at < subscription.starts_at:
        raise SubscriptionRefused("/at", "lies before the subscription begins")
    return at


def _anchor(
    subscription: Subscription, before: SubscriptionPhase, version: PlanVersion, at: dt.datetime
) -> dt.datetime:
    """Periods go on as they were, except that another interval begins anew; what has begun anew just now stays so."""
    if before.starts_at == before.anchor_at == at:
        return at
    begun = [phase for phase in phases_of(subscription) if phase.starts_at < at] or phases_of(subscription)[:1]
    same = terms_of(begun[-1].plan_version).interval == terms_of(version).interval
    return begun[-1].anchor_at if same else at


def _scheduled(subscription: Subscription, now: dt.datetime) -> list[SubscriptionPhase]:
    """The phases that have not begun, but for the first one of a subscription that has not."""
    begun = max(now, subscription.starts_at)
    return [phase for phase in phases_of(subscription) if phase.starts_at > begun]


def _without_scheduled(subscription: Subscription, now: dt.datetime) -> Subscription:
    """The subscription as if no change were scheduled: what runs goes on."""
    scheduled = _scheduled(subscription, now)
    if not scheduled:
        return subscription
    for phase in scheduled:
        phase.ends_at = phase.starts_at
        phase.save(update_fields=["ends_at"])
    current = phases_of(subscription)[-1]
    current.ends_at = subscription.ends_at
    current.save(update_fields=["ends_at"])
    for phase in (current, *scheduled):
        note_scheme(subscription.customer_id, phase.plan_version, since=scheduled[0].starts_at)
    return _read(subscription.pk)


def _begin(
    before: SubscriptionPhase, at: dt.datetime, *, plan_version: PlanVersion, anchor_at: dt.datetime, now: dt.datetime
) -> None:
    ends_at = Subscription.objects.values_list("ends_at", flat=True).get(pk=before.subscription_id)
    before.ends_at = at
    before.save(update_fields=["ends_at"])
    _copy(before, starts_at=at, ends_at=ends_at, plan_version=plan_version, anchor_at=anchor_at, now=now)


def _copy(phase: SubscriptionPhase, *, now: dt.datetime, **fields: object) -> None:
    same = {name: getattr(phase, name) for name in ("subscription_id", "customer_id", "anchor_at", "paused")}
    if "plan_version" not in fields:
        same["plan_version_id"] = phase.plan_version_id
    SubscriptionPhase.objects.create(**same | fields, created_at=now)


def _end_phases(subscription: Subscription, ends_at: dt.datetime) -> None:
    for phase in phases_of(subscription):
        if phase.ends_at is None or phase.ends_at > ends_at:
            phase.ends_at = max(ends_at, phase.starts_at)
            phase.save(update_fields=["ends_at"])


def _set_end(subscription: Subscription, ends_at: dt.datetime | None, *, canceled_at: dt.datetime | None) -> None:
    subscription.ends_at, subscription.canceled_at = ends_at, canceled_at
    subscription.save(update_fields=["ends_at", "canceled_at"])
