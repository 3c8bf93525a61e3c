"""Why is a stored conversation in its tier, and what would an open one be if it settled now?"""

import datetime as dt
import functools
import uuid
from typing import Any

import msgspec
from msgspec.structs import replace

from metering import event_rows
from metering.boundaries import NEVER_ENDING
from metering.models import Conversation
from metering.sittings import AGREED_FIELDS, FOLDED_FIELDS, Sitting
from metering.tiering import Explanation, TierLimits, TierRules, classify, count_tokens, count_turns, explain
from plans.meters import meter_of, meters_of
from plans.models import Customer, TierSchemeVersion
from plans.periods import agreement_at
from plans.schemes import version_in_force
from plans.subscribing import live_subscription
from plans.terms import PEAK, POOL, terms_to_json


class Tiering(msgspec.Struct, frozen=True):
    """The tier of a conversation with the counts that decide it."""

    tier: str
    turns: int
    tokens: int


class TierPrice(msgspec.Struct, frozen=True):
    """What the customer's plan says of a conversation: so many included each period, then this price.

    `meter` is what it is counted by: its tier, "tier@peak" at peak hours, or "pool", of which it takes `credits`.
    Where its outcome costs nothing it is not `billable`.
    """

    plan: str
    plan_version: int
    currency: str
    meter: str
    included: int
    price: dict[str, Any]
    credits: int | None = None
    billable: bool = True


def tiering_of(conversation: Conversation, *, now: dt.datetime) -> Tiering:
    """The tier fixed at settling, or the one the conversation would get if it settled now."""
    if (settled := conversation.settled) is not None:
        return Tiering(settled.tier, settled.turns, settled.counted_tokens)
    rules = rules_for(conversation, now=now)
    sitting = sitting_of(conversation)
    turns, tokens = count_turns(sitting), count_tokens(sitting, rules.token_basis, rules.count_retries)
    return Tiering(rules.tiers[classify(turns, tokens, rules.tiers)].code, turns, tokens)


def explain_conversation(conversation: Conversation, *, now: dt.datetime) -> Explanation:
    """The explanation of the tier of `tiering_of`, with the event that crossed the first limit."""
    (events,) = event_rows.of_conversations(
        [(conversation.customer_id, conversation.reference)], [conversation.opened_at], [conversation.settles_at]
    )
    return explain(sitting_of(conversation), events, rules_for(conversation, now=now))


def price_of_tier(customer: Customer, tier: str, *, at: dt.datetime, outcome: str | None = None) -> TierPrice | None:
    """What the plan in force at an instant charges for a conversation of the tier that settles then.

    None without a subscription then, or where the plan does not price the tier.
    """
    subscription = live_subscription(customer, at=at)
    if subscription is None:
        return None
    agreed = agreement_at(subscription, at)
    terms, written = agreed.terms, terms_to_json(agreed.terms)
    counted_by = meter_of(meters_of(terms, subscription.timezone), tier, outcome, at)
    price = TierPrice(
        plan=agreed.plan_version.plan.code,
        plan_version=agreed.plan_version.version,
        currency=terms.currency,
        meter=counted_by or tier,
        included=0,
        price={},
        billable=counted_by is not None,
    )
    if terms.pool is not None and tier in terms.pool.weights:
        pool = written["pool"]
        weight = terms.pool.weights[tier]
        return replace(price, meter=POOL, included=pool["credits"], price=pool["overage"], credits=weight)
    if tier not in terms.rates:
        return None
    rate = written["rates"][tier]
    rate = rate["peak"] if price.meter.endswith(PEAK) else rate
    return replace(price, included=rate["included"], price=rate["price"])


def rules_for(conversation: Conversation, *, now: dt.datetime) -> TierRules:
    """The tier rules that decided, or would decide now."""
    if (settled := conversation.settled) is not None:
        return tier_rules(settled.scheme_version_id)
    return tier_rules(version_in_force(conversation.customer_id, min(now, conversation.settles_at)))


@functools.lru_cache(maxsize=256)
def tier_rules(version_id: uuid.UUID) -> TierRules:
    """The rules of a published scheme version; published is frozen, so they may be kept."""
    version = TierSchemeVersion.objects.select_related("scheme").get(pk=version_id)
    tiers = tuple(TierLimits(tier.code, tier.max_turns, tier.max_tokens) for tier in version.tiers.all())
    return TierRules(
        version_id, version.scheme.code, version.version, version.token_basis, version.count_retries, tiers
    )


def sitting_of(conversation: Conversation) -> Sitting:
    """The fold that a conversation row holds."""
    folded = {name: getattr(conversation, name) for name in FOLDED_FIELDS}
    agreed = {name: getattr(NEVER_ENDING, name) for name in AGREED_FIELDS}
    return Sitting(**agreed, **folded)
