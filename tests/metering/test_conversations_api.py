"""What does the API say of conversations: the fold, the tier while open and when settled, and why?"""

import pytest
import time_machine

from plans.models import Customer
from tests.cast import NOON, a_plan, acme, bolt, report, send, settled, subscribed

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(caller):
    with time_machine.travel(NOON.replace(day=20), tick=False):
        subscribed(acme(), a_plan())
        yield caller("read")


def talk(turns, *, conversation="chat", start=1.0):
    """So many turns of 1,000 tokens, a minute apart, the second answered at the second attempt."""
    calls = [report(f"{conversation}-{n}", start + n / 60, conversation=conversation, turn=n + 1) for n in range(turns)]
    failed = report(f"{conversation}-failed", start + 1 / 60, conversation=conversation, turn=2, status="error")
    send([*calls, failed])


def test_a_conversation_explains_its_tier_with_the_event_that_crossed_the_limit(desk):
    talk(5)
    settled(100)
    (row,) = desk.get("/v1/conversations?customer=acme").json()["data"]
    one = desk.get(f"/v1/conversations/{row['id']}").json()
    assert (one["state"], one["tier"], one["turns"], one["calls"]) == ("settled", "standard", 5, 6)
    assert one["tokens"]["counted"] == 5_000
    assert one["retry"] == {"calls": 1, "tokens": 1_000}
    assert one["cost"] == {"amount": None, "currency": "USD", "unpriced_calls": 6, "paid_by_customer": "0.000000000"}
    why = one["explanation"]
    assert (why["scheme"], why["scheme_version"], why["cheaper_tier"]) == ("default", 1, "simple")
    assert why["crossed"] == {"limit": "turns", "value": 4, "event_id": "chat-3"}
    assert (why["turns_over"], why["tokens_over"]) == (2, 1)
    assert why["price"]["price"] == {"model": "flat", "unit": "0.05"}
    assert why["sentence"] == (
        "This conversation had 5 turns and 5,000 tokens, which is standard: "
        "simple needs fewer than 4 turns and fewer than 5,000 tokens."
    )


def test_while_open_the_tier_is_what_it_would_be_now(desk):
    talk(3, start=17.9 * 24)
    (row,) = desk.get("/v1/conversations?state=open").json()["data"]
    assert (row["state"], row["tier"]) == ("open", "simple")


def test_filters_by_customer_state_tier_time_and_reference(desk):
    bolt()
    talk(2, conversation="a")
    talk(6, conversation="b", start=50)
    settled(100)

    def found(query):
        return [row["reference"] for row in desk.get(f"/v1/conversations?{query}").json()["data"]]

    assert found("customer=acme") == ["b", "a"]
    assert found("customer=bolt") == []
    assert found("tier=standard") == ["b"]
    assert found("state=open") == []
    assert found("reference=a") == ["a"]
    assert found("from=2026-11-05T00:00:00Z") == ["b"]
    assert desk.get("/v1/conversations?customer=nobody").status_code == 404
    assert desk.get("/v1/conversations?tire=simple").status_code == 400


def test_a_conversation_that_is_none_is_404(desk):
    assert desk.get(f"/v1/conversations/{Customer.objects.get().id}").status_code == 404
    assert desk.get("/v1/conversations/none").status_code == 404
