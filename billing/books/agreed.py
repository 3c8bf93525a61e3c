"""On which terms is a subscription's period? Found as `plans.subscribing.agreement` does, for many at once."""

import uuid
from collections.abc import Callable
from functools import cache

from plans.models import PlanVersion
from plans.publishing import terms_of
from plans.terms import Terms

TermsBook = Callable[[uuid.UUID], Terms]

FIRST_PHASE = """JOIN LATERAL (SELECT plan_version_id FROM plans_subscriptionphase phase
    WHERE phase.subscription_id = subscription.id AND phase.starts_at <= subscription.starts_at
    ORDER BY phase.starts_at DESC LIMIT 1) phase ON true"""
"""Joins `phase`, with the plan version of all periods so far, to `subscription`."""


def terms_book() -> TermsBook:
    """The terms of plan versions by id, each read once."""
    return cache(lambda version_id: terms_of(PlanVersion.objects.get(pk=version_id)))
