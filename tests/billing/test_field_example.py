"""The example of the field, all the way: events over REST, settled, billed, read back over REST."""

import datetime as dt

import pytest
import time_machine

from tests.billing.books import DEC_2, GRACE, TOKENS, billed
from tests.cast import NOON, a_plan, acme, settled, subscribed
from tests.rest import Caller

pytestmark = pytest.mark.django_db

MIX = {"simple": 1_200, "standard": 300, "complex": 40, "enterprise": 2}
RATES = {
    "simple": {"included": 1_000, "price": {"model": "flat", "unit": "0.02"}},
    "standard": {"included": 200, "price": {"model": "flat", "unit": "0.05"}},
    "complex": "0.15",
    "enterprise": "0.50",
}
EXPLAINED = [
    ("base_fee", None, "49.00", "Growth, base fee 02 Dec 2026 to 02 Jan 2027"),
    ("usage", "simple", "4.00", "1,200 simple conversations: 1,000 included, 200 x 0.02 = 4.00 USD"),
    ("usage", "standard", "5.00", "300 standard conversations: 200 included, 100 x 0.05 = 5.00 USD"),
    ("usage", "complex", "6.00", "40 complex conversations: 40 x 0.15 = 6.00 USD"),
    ("usage", "enterprise", "1.00", "2 enterprise conversations: 2 x 0.50 = 1.00 USD"),
]


def reported(caller: Caller) -> None:
    """One call a conversation, spread over a week, in batches of 1,000."""
    names = [(f"{tier}-{number}", tier) for tier, count in MIX.items() for number in range(count)]
    events = [
        {
            "id": name,
            "customer": "acme",
            "conversation": name,
            "occurred_at": (NOON + dt.timedelta(minutes=5 * position)).isoformat(),
            "provider": "nobody",
            "model": "unpriced-1",
            "usage": {"input_tokens": TOKENS[tier] - 100, "output_tokens": 100},
        }
        for position, (name, tier) in enumerate(names)
    ]
    for start in range(0, len(events), 1_000):
        answer = caller.post("/v1/events", {"events": events[start : start + 1_000]})
        assert (answer.status_code, answer.json()["rejected"], answer.json()["results"]) == (200, 0, [])


def test_the_example_of_the_field_bills_65_dollars_and_every_line_says_why(caller) -> None:
    call = caller("ingest", "read")
    subscribed(acme(), a_plan(rates=RATES))
    with time_machine.travel(NOON + dt.timedelta(days=10), tick=False):
        reported(call)
    assert settled(DEC_2) == sum(MIX.values())
    _, november = billed(DEC_2 + GRACE)
    found = call.get(f"/v1/invoices/{november.pk}").json()
    lines = [(line["kind"], line["tier"], line["amount"], line["description"]) for line in found["lines"]]
    assert lines == EXPLAINED
    assert (found["total"], found["amount_due"], found["currency"]) == ("65.00", "65.00", "USD")
    assert [line["details"].get("explanation") for line in found["lines"][1:]] == [line[3] for line in EXPLAINED[1:]]


def test_the_same_mix_is_quoted_at_the_same_price(caller) -> None:
    a_plan(rates=RATES)
    quote = caller("read").post("/v1/quotes", {"plan": "growth", "conversations": MIX}).json()
    assert (quote["total"], quote["base_fee"]) == ("65.00", "49.00")
    assert [tier["explanation"] for tier in quote["tiers"]] == [line[3] for line in EXPLAINED[1:]]
