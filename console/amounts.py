"""How is money written on a page? In major units with its currency; what has no price says so and is never zero."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from metering.explaining import TierPrice
from metering.models import Conversation
from metering.views.conversations import cost_out
from plans.money import format_amount, format_price
from plans.pricing import units_in_words
from plans.terms import PEAK, POOL

UNPRICED = "unpriced"


def money(minor: int, currency: str) -> str:
    """Minor units for people: "12.50 USD"."""
    return f"{format_amount(minor, currency)} {currency}"


def exact_price(amount: Decimal | None, currency: str) -> str:
    """A price in major units, with all its decimals: "0.0125 USD"; nothing where there is none."""
    return "" if amount is None else f"{format_price(amount, currency)} {currency}"


def percentage(percent: Decimal) -> str:
    """A percentage for people: "7.5 %"."""
    return f"{percent.normalize():f} %"


def supplier_cost(nanos: int | None) -> str:
    """What a call cost us, from nano-dollars: "0.0001089 USD", or "unpriced"."""
    return UNPRICED if nanos is None else exact_price(Decimal(nanos).scaleb(-9), "USD")


def conversation_cost(conversation: Conversation) -> str:
    """What a conversation cost us: an amount, the number of calls nobody has a price for, or both."""
    cost = cost_out(conversation)
    if cost.amount is None:
        return UNPRICED
    known = exact_price(cost.amount, cost.currency)
    if not cost.unpriced_calls:
        return known
    return f"{known} and {cost.unpriced_calls:,} {'call' if cost.unpriced_calls == 1 else 'calls'} {UNPRICED}"


def charge_in_words(price: TierPrice | None) -> str:
    """What a conversation costs: "0.05 USD each after 200 included a period (growth version 1)"."""
    if price is None:
        return "no subscription prices this tier at that time"
    plan = f"({price.plan} version {price.plan_version})"
    if not price.billable:
        return f"nothing: its outcome is not billable {plan}"
    words = price_in_words(price.price, price.currency)
    if price.included:
        words += f" after {price.included:,} included a period"
    if price.credits is not None:
        return f"{units_in_words(POOL, price.credits)} of the pool; its credits: {words} {plan}"
    return f"{words}{' at peak hours' if price.meter.endswith(PEAK) else ''} {plan}"


def price_in_words(price: Mapping[str, Any], currency: str) -> str:
    """A tier's price as the terms write it, for people: "0.02 USD each", "5.00 USD per package of 10"."""
    match price["model"]:
        case "flat":
            return f"{price['unit']} {currency} each"
        case "package":
            return f"{price['amount']} {currency} per package of {price['size']:,}"
        case "volume":
            return f"all at the price of the step reached: {_steps_in_words(price['steps'], currency)}"
        case _:
            return _steps_in_words(price["steps"], currency)


def _steps_in_words(steps: Sequence[Mapping[str, Any]], currency: str) -> str:
    return ", ".join(_step_in_words(step, currency) for step in steps)


def _step_in_words(step: Mapping[str, Any], currency: str) -> str:
    up_to = step.get("up_to")
    flat = f" + {step['flat']} {currency} flat" if "flat" in step else ""
    return f"{'beyond' if up_to is None else f'up to {up_to:,}'} {step['unit']} {currency} each{flat}"
