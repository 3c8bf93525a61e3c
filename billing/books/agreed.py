"""Which subscriptions are there, and on which terms is a line? Read page by page, each with what it agrees."""

import uuid
from collections.abc import Callable, Iterator
from functools import cache

from django.db.models import prefetch_related_objects

from billing.models import BillingSchedule
from plans.models import SubscriptionPhase
from plans.periods import WITH_PHASES
from plans.publishing import terms_of
from plans.terms import Terms

TermsOfPhase = Callable[[uuid.UUID], Terms]
PAGE = 500


def schedules() -> Iterator[BillingSchedule]:
    """Every scheduled subscription, with its customer and phases."""
    for page in schedules_by_page():
        yield from page


def schedules_by_page() -> Iterator[list[BillingSchedule]]:
    """The same, for whoever reads more about many at once."""
    rows = BillingSchedule.objects.select_related("subscription__customer").order_by("pk")
    last: uuid.UUID | None = None
    while page := list((rows if last is None else rows.filter(pk__gt=last))[:PAGE]):
        prefetch_related_objects([schedule.subscription for schedule in page], WITH_PHASES)
        yield page
        last = page[-1].pk


def terms_of_phases() -> TermsOfPhase:
    """The terms of phases by id, each read once."""
    phases = SubscriptionPhase.objects.select_related("plan_version")
    return cache(lambda phase_id: terms_of(phases.get(pk=phase_id).plan_version))
