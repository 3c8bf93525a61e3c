"""The known cast: Acme pays, Bolt prepays, Cleo must see nothing; what they agreed to and the calls they make.

Times are hours after NOON (a Monday) or instants; everything goes in through the front doors that production uses.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from metering.catching_up import fold_waiting
from metering.ingest import close_conversation, ingest
from metering.models import Conversation, SettledConversation
from metering.reports import CloseIn, EventIn, Report, UsageIn, read_report
from metering.settling import settle
from plans.changing import cancel
from plans.customers import create_customer
from plans.models import Customer, Plan, Subscription, TierScheme
from plans.publishing import SchemeRules, create_plan, create_scheme, draft_plan_version, publish_plan_version
from plans.schemes import DEFAULT_SCHEME
from plans.subscribing import subscribe

NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(days=365)
"""When the server looks at its clock in these tests: after everything has happened."""

DEFAULT_TIERS = (("simple", 4, 5_000), ("standard", 10, 20_000), ("complex", 30, 80_000), ("enterprise", None, None))
FLAT_RATES = {"simple": "0.02", "standard": "0.05", "complex": "0.15", "enterprise": "0.50"}


def at(hours: float | dt.datetime) -> dt.datetime:
    """NOON plus so many hours."""
    return hours if isinstance(hours, dt.datetime) else NOON + dt.timedelta(hours=hours)


# Who


def acme(**fields: Any) -> Customer:
    """Acme pays by invoice, in US dollars."""
    return _customer("acme", "Acme Inc", **fields)


def bolt(**fields: Any) -> Customer:
    """Bolt prepays."""
    return _customer("bolt", "Bolt Ltd", **fields)


def cleo(**fields: Any) -> Customer:
    """Cleo is somebody else, and must see nothing of the others."""
    return _customer("cleo", "Cleo GmbH", **fields)


def _customer(key: str, name: str, **fields: Any) -> Customer:
    known = Customer.objects.filter(key=key).first()
    return known or create_customer(**{"key": key, "name": name, "currency": "USD", "now": NOON} | fields)


# What was agreed


def scheme_rules(
    *,
    idle_hours: float = 24,
    max_age_hours: float = 72,
    token_basis: str = "processed",
    count_retries: bool = False,
    tiers: Iterable[tuple[str, int | None, int | None]] = DEFAULT_TIERS,
) -> SchemeRules:
    """The rules of the default scheme, or what a test changes of them."""
    return SchemeRules(
        dt.timedelta(hours=idle_hours), dt.timedelta(hours=max_age_hours), token_basis, count_retries, list(tiers)
    )


def a_scheme(code: str = "support", **rules: Any) -> TierScheme:
    """A tier scheme in force since ever."""
    return create_scheme(code=code, rules=scheme_rules(**rules), now=NOON).scheme


def restore_default_scheme() -> None:
    """The scheme that a migration creates, where a flush has taken it away."""
    if not TierScheme.objects.filter(code=DEFAULT_SCHEME).exists():
        create_scheme(code=DEFAULT_SCHEME, rules=scheme_rules(), now=NOON)


def raw_terms(*, rates: dict[str, Any] | None = None, **terms: Any) -> dict[str, Any]:
    """Terms as JSON: 49.00 USD a month and the flat prices of the field's example; a rate may be just its price."""
    written = {
        tier: {"included": 0, "price": {"model": "flat", "unit": rate}} if isinstance(rate, str) else rate
        for tier, rate in (rates or FLAT_RATES).items()
    }
    return {"currency": "USD", "interval": "month", "base_fee": "49.00", "rates": written} | terms


def a_plan(code: str = "growth", *, customer: Customer | None = None, **terms: Any) -> Plan:
    """A plan whose first version is published; `terms` as for raw_terms."""
    plan = create_plan(code=code, name=code.title(), customer=customer, now=NOON)
    publish_plan_version(draft_plan_version(plan, raw_terms=raw_terms(**terms), now=NOON), now=NOON)
    return plan


def subscribed(customer: Customer, plan: Plan, *, since: float | dt.datetime = 0) -> Subscription:
    """The customer on the plan's newest version."""
    return subscribe(customer, plan, version=None, starts_at=at(since), now=NOON)


def canceled(
    subscription: Subscription, *, now: dt.datetime, when: Literal["now", "period_end"] = "period_end"
) -> Subscription:
    """The subscription ends with its period, or now; nothing is billed yet."""
    return cancel(subscription.pk, when=when, now=now)


# What happened


def report(
    event_id: str = "e1",
    hours: float | dt.datetime = 0,
    *,
    conversation: str = "chat",
    customer: str = "acme",
    tokens: tuple[int, int, int, int, int] | None = None,
    **fields: Any,
) -> Report:
    """One model call of 1,000 tokens; `tokens` are input, cache read, cache write, output, reasoning."""
    fresh, read, written, output, reasoning = tokens or (900, 0, 0, 100, 0)
    sent = EventIn(
        **{"provider": "nobody", "model": "unpriced-1"} | fields,
        id=event_id,
        customer=customer,
        conversation=conversation,
        occurred_at=at(hours),
        usage=UsageIn(fresh, output, read, written, reasoning),
    )
    return read_report(0, sent, now=LATER, backfill=True)


def send(reports: Iterable[Report], *, now: dt.datetime = LATER) -> list[str]:
    """Ingest copies of these reports as one batch, and fold them as the background does; what became of each."""
    batch = [
        msgspec.structs.replace(one, index=index, event=msgspec.structs.replace(one.event))
        for index, one in enumerate(reports)
    ]
    verdicts = ingest(batch, now=now)
    fold_waiting(now=now)
    return [verdict.status for verdict in verdicts]


def close(
    hours: float | dt.datetime, *, conversation: str = "chat", customer: str = "acme", outcome: str | None = None
) -> str:
    """Say that a conversation ended then."""
    sent = CloseIn(customer=customer, conversation=conversation, at=at(hours), outcome=outcome)
    verdict = close_conversation(sent, now=LATER)
    fold_waiting(now=LATER)
    return verdict.status


def settled(as_of: float | dt.datetime = LATER) -> int:
    """Settle what is due; how many conversations that were."""
    return settle(as_of=at(as_of), now=LATER)


def sittings_of(customer: str = "acme", conversation: str = "chat") -> list[Conversation]:
    """The sittings of a conversation reference, oldest first."""
    owner = Customer.objects.get(key=customer)
    return list(Conversation.objects.filter(customer=owner, reference=conversation).order_by("ordinal"))


def the_sitting(customer: str = "acme", conversation: str = "chat") -> Conversation:
    """The only sitting of a conversation reference."""
    (sitting,) = sittings_of(customer, conversation)
    return sitting


def the_settled(customer: str = "acme", conversation: str = "chat") -> SettledConversation:
    """In which tier it settled, and why."""
    return SettledConversation.objects.get(id=the_sitting(customer, conversation).id)
