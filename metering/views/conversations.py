"""`/v1/conversations`: what the events amount to, and why each is in its tier."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any, Literal

import msgspec
from django.utils import timezone
from rest_framework.request import Request

from api.endpoints import Endpoint, operation
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found
from api.strict_json import Instant
from metering.catching_up import catch_up, fold_waiting
from metering.explaining import TierPrice, explain_conversation, price_of_tier, tiering_of
from metering.models import Conversation
from metering.reports import Reference
from metering.tiering import Explanation
from plans.views.customers import get_customer


class ConversationFilter(PageQuery):
    """Which conversations to list.

    `from` and `to` bound the settling instant, which decides the period; `tier` finds settled ones, where it is fixed.
    """

    customer: Reference | None = None
    state: Literal["open", "settled"] | None = None
    tier: str | None = None
    from_: Instant | None = msgspec.field(name="from", default=None)
    to: Instant | None = None
    reference: Reference | None = None


class Tokens(msgspec.Struct):
    """Tokens by bucket; `counted` are those that decide the tier."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    counted: int


class Retries(msgspec.Struct):
    """The part of retries and failed calls."""

    calls: int
    tokens: int


class Cost(msgspec.Struct):
    """Supplier cost to us; null when no call could be priced. `paid_by_customer` is what BYOK calls cost."""

    amount: Decimal | None
    currency: str
    unpriced_calls: int
    paid_by_customer: Decimal


class PricedExplanation(Explanation, frozen=True):
    """Why the conversation is in its tier, and what its plan charges for that."""

    price: TierPrice | None = None


class ConversationOut(msgspec.Struct):
    """One sitting of a conversation; while open, `tier` is what it would be if it settled now."""

    id: uuid.UUID
    customer: str
    reference: str
    ordinal: int
    state: str
    opened_at: dt.datetime
    last_event_at: dt.datetime
    settles_at: dt.datetime
    tier: str
    turns: int
    calls: int
    tokens: Tokens
    retry: Retries
    cost: Cost
    outcome: str | None


class ExplainedConversationOut(ConversationOut):
    """One sitting with the explanation of its tier."""

    explanation: PricedExplanation


def conversation_out(conversation: Conversation) -> ConversationOut:
    return ConversationOut(**_fields(conversation))


def _fields(conversation: Conversation) -> dict[str, Any]:
    tiering = tiering_of(conversation, now=timezone.now())
    same = ("id", "reference", "ordinal", "opened_at", "last_event_at", "settles_at", "calls", "outcome")
    return {
        **{name: getattr(conversation, name) for name in same},
        "customer": conversation.customer.key,
        "state": "open" if conversation.settled is None else "settled",
        "tier": tiering.tier,
        "turns": tiering.turns,
        "tokens": Tokens(
            conversation.input_tokens,
            conversation.cache_read_tokens,
            conversation.cache_write_tokens,
            conversation.output_tokens,
            conversation.reasoning_tokens,
            tiering.tokens,
        ),
        "retry": Retries(
            conversation.retry_calls,
            conversation.retry_input_tokens
            + conversation.retry_cache_read_tokens
            + conversation.retry_cache_write_tokens
            + conversation.retry_output_tokens,
        ),
        "cost": cost_out(conversation),
    }


def cost_out(conversation: Conversation) -> Cost:
    unknown = conversation.unpriced_calls > 0 and conversation.unpriced_calls == conversation.calls
    return Cost(
        None if unknown else Decimal(conversation.cost_nanos).scaleb(-9),
        "USD",
        conversation.unpriced_calls,
        Decimal(conversation.byok_cost_nanos).scaleb(-9),
    )


class Conversations(Endpoint):
    """`/v1/conversations`"""

    @operation(scope="read", query=ConversationFilter, returns=Page[ConversationOut], summary="List conversations")
    def get(self, request: Request, query: ConversationFilter) -> Page[ConversationOut]:
        rows = Conversation.objects.select_related("customer", "settled")
        if query.customer is None:
            fold_waiting(now=timezone.now())
        else:
            customer = get_customer(query.customer)
            catch_up([customer.id], now=timezone.now())
            rows = rows.filter(customer=customer)
        if query.state is not None:
            rows = rows.still_open() if query.state == "open" else rows.settled_ones()
        if query.tier is not None:
            rows = rows.in_tier(query.tier)
        for name, value in (
            ("reference", query.reference),
            ("settles_at__gte", query.from_),
            ("settles_at__lt", query.to),
        ):
            if value is not None:
                rows = rows.filter(**{name: value})
        return paginated(request, rows, to_json=conversation_out, limit=query.limit, cursor=query.cursor)


class OneConversation(Endpoint):
    """`/v1/conversations/{id}`"""

    @operation(scope="read", returns=ExplainedConversationOut, summary="Read a conversation and why it is in its tier")
    def get(self, request: Request, conversation_id: uuid.UUID) -> ExplainedConversationOut:
        conversation = _current(conversation_id)
        if conversation is None:
            raise not_found("There is no such conversation.")
        explained = explain_conversation(conversation, now=timezone.now())
        settles_at, outcome = conversation.settles_at, conversation.outcome
        price = price_of_tier(conversation.customer, explained.tier, at=settles_at, outcome=outcome)
        return ExplainedConversationOut(
            **_fields(conversation),
            explanation=PricedExplanation(**msgspec.structs.asdict(explained), price=price),
        )


def _current(conversation_id: uuid.UUID) -> Conversation | None:
    """The conversation, after everything stored of its customer has been folded, which may have changed or ended it."""
    rows = Conversation.objects.select_related("customer", "settled").filter(id=conversation_id)
    owner = rows.values_list("customer_id", flat=True).first()
    if owner is not None:
        catch_up([owner], now=timezone.now())
    return rows.first()
