import json
import urllib.error
import urllib.request

import pytest
import stripe

from sandbox.stripe_refunds import NoSuchCourse
from tests.sandbox.stripe_cast import acme, charge_of, paid_invoice


@pytest.fixture
def charge(client):
    return charge_of(client, paid_invoice(client, acme(client), 1000)).id


def refunded(client, charge):
    """What the charge says: how much of it was given back, and whether that is all."""
    found = client.v1.charges.retrieve(charge)
    return found.amount_refunded, found.refunded


def told(client, prefix):
    """The types of events so far, oldest first."""
    return [event.type for event in client.v1.events.list({"limit": 100}).data[::-1] if event.type.startswith(prefix)]


def test_a_refund_keeps_its_reason_and_metadata_and_is_found_again(client, charge):
    made = client.v1.refunds.create(
        {"charge": charge, "amount": 300, "reason": "duplicate", "metadata": {"parley": "CN-1"}}
    )
    client.v1.refunds.create({"charge": charge, "amount": 200})
    found = client.v1.refunds.list({"charge": charge}).data
    assert [one.amount for one in found] == [200, 300]
    assert (found[1].id, found[1].reason, found[1].metadata["parley"]) == (made.id, "duplicate", "CN-1")
    assert refunded(client, charge) == (500, False)


def test_the_same_key_refunds_once(client, sandbox, charge):
    for _ in range(2):
        client.v1.refunds.create({"charge": charge, "amount": 300}, {"idempotency_key": "CN-1"})
    assert refunded(client, charge) == (300, False)
    assert sandbox.count("refund") == 1


def test_a_pending_refund_has_not_arrived_until_it_succeeds(client, sandbox, charge):
    sandbox.refunds_are_born("pending")
    made = client.v1.refunds.create({"charge": charge})
    customer = client.v1.charges.retrieve(charge).customer
    assert (made.status, made.pending_reason, refunded(client, charge)) == ("pending", "processing", (1000, True))
    assert sandbox.charged(customer)["refunded"] == {}
    sandbox.move_refund(made.id, "succeeded")
    assert client.v1.refunds.retrieve(made.id).status == "succeeded"
    assert sandbox.charged(customer)["refunded"] == {"usd": 1000}
    assert told(client, ("refund", "charge.refund")) == [
        "refund.created",
        "charge.refunded",
        "refund.updated",
        "charge.refund.updated",
    ]


def test_a_refund_that_fails_later_gives_its_amount_back_to_the_charge(client, sandbox, charge):
    made = client.v1.refunds.create({"charge": charge})
    customer = client.v1.charges.retrieve(charge).customer
    sandbox.move_refund(made.id, "failed", reason="lost_or_stolen_card")
    failed = client.v1.refunds.retrieve(made.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert refunded(client, charge) == (0, False)
    assert sandbox.charged(customer)["refunded"] == {"usd": 0}
    assert told(client, "refund") == ["refund.created", "refund.updated", "refund.failed"]
    assert client.v1.refunds.create({"charge": charge}).amount == 1000


def test_a_refund_can_be_born_dead(client, sandbox, charge):
    sandbox.refunds_are_born("failed", reason="insufficient_funds", times=2)
    first, second, third = (client.v1.refunds.create({"charge": charge}) for _ in range(3))
    assert [one.status for one in (first, second, third)] == ["failed", "failed", "succeeded"]
    assert first.failure_reason == "insufficient_funds"
    assert told(client, ("refund", "charge.refund")) == [
        *("refund.created", "refund.failed") * 2,
        "refund.created",
        "charge.refunded",
    ]


@pytest.mark.parametrize(
    ("card", "first", "last"),
    [("pm_card_refundFail", "succeeded", "failed"), ("pm_card_pendingRefund", "pending", "succeeded")],
)
def test_stripes_test_cards_for_refunds_do_what_they_say(client, sandbox, card, first, last):
    charge = charge_of(client, paid_invoice(client, acme(client, card), 1000)).id
    made = client.v1.refunds.create({"charge": charge})
    sandbox.move_clock(59)
    client.v1.refunds.update(made.id, {"metadata": {"seen": "yes"}})
    assert client.v1.refunds.retrieve(made.id).status == first
    sandbox.move_clock(1)
    assert client.v1.refunds.retrieve(made.id).status == last
    sandbox.move_clock(86_400)
    assert client.v1.refunds.retrieve(made.id).status == last


def test_refunds_are_steered_over_http(client, sandbox, charge):
    def post(asked):
        body = json.dumps(asked).encode()
        request = urllib.request.Request(f"{sandbox.url}/_sandbox/refunds", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()

    post({"status": "pending"})
    made = client.v1.refunds.create({"charge": charge})
    post({"refund": made.id, "status": "failed", "reason": "declined"})
    assert client.v1.refunds.retrieve(made.id).failure_reason == "declined"
    for wrong in ({"refund": made.id, "status": "succeeded"}, {"refund": "re_x", "status": "failed"}, {"status": "x"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(wrong)
        refused.value.close()
        assert refused.value.code == 400


def test_a_course_that_no_refund_takes_is_refused(client, sandbox, charge):
    made = client.v1.refunds.create({"charge": charge}).id
    for status, reason in (("pending", "declined"), ("succeeded", "declined"), ("failed", "bad mood")):
        with pytest.raises(NoSuchCourse):
            sandbox.move_refund(made, status, reason=reason)


def test_a_cards_refund_cannot_be_canceled(client, charge):
    made = client.v1.refunds.create({"charge": charge}).id
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        client.v1.refunds.cancel(made)
