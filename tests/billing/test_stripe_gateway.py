"""One call to Stripe: intended, sent, and its outcome written down, whatever the answer."""

import datetime as dt

import pytest
import stripe
from django.db import connection

from billing.models import StripeCall
from billing.stripe_gateway import (
    StripeNotConfigured,
    StripeRefused,
    StripeUnavailable,
    once,
    retry_delay,
    stripe_client,
)
from tests.billing.stripe_desk import Desk, open_desk, start_stripe  # noqa: F401
from tests.cast import acme


class Asked:
    """A change at Stripe that answers as it is told to, and counts."""

    def __init__(self, *answers: "str | Exception", there: str | None = None) -> None:
        self.answers, self.there = list(answers), there
        self.keys: list[str] = []
        self.looks: list[dt.datetime] = []

    def send(self, options: stripe.RequestOptions) -> str:
        self.keys.append(str(options["idempotency_key"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def find(self, since: dt.datetime) -> str | None:
        self.looks.append(since)
        return self.there

    def once(self, desk: Desk) -> str:
        call = {"step": "step", "customer": acme(), "invoice": None, "now": desk.now}
        return once("key", send=self.send, find=self.find, **call)


LOST = stripe.APIConnectionError("reset")
NO = stripe.InvalidRequestError("no such thing", "id", http_status=404, code="resource_missing")


def test_the_intent_is_committed_before_the_call_is_sent(desk: Desk):
    seen = []

    def send(options: stripe.RequestOptions) -> str:
        assert not connection.in_atomic_block
        seen.append(StripeCall.objects.get().state)
        return "in_1"

    once("key", step="step", customer=acme(), invoice=None, send=send, find=lambda since: None, now=desk.now)
    assert (seen, StripeCall.objects.get().state) == (["intent"], "done")


def test_a_first_try_is_sent_without_a_look(desk: Desk):
    asked = Asked("in_1")
    assert (asked.once(desk), asked.keys, asked.looks) == ("in_1", ["key"], [])


def test_what_is_done_is_not_sent_again(desk: Desk):
    asked = Asked("in_1")
    assert [asked.once(desk) for _ in range(3)] == ["in_1"] * 3
    assert len(asked.keys) == 1


def test_an_unknown_outcome_is_looked_up_and_what_is_there_is_not_sent_again(desk: Desk):
    asked = Asked(LOST, there="in_1")
    with pytest.raises(StripeUnavailable):
        asked.once(desk)
    assert (asked.once(desk), asked.keys) == ("in_1", ["key"])


def test_an_unknown_outcome_that_is_not_there_is_sent_again_under_the_same_key(desk: Desk):
    asked = Asked(LOST, LOST, "in_1")
    for _ in range(2):
        with pytest.raises(StripeUnavailable):
            asked.once(desk)
    assert (asked.once(desk), asked.keys, len(asked.looks)) == ("in_1", ["key"] * 3, 2)


def test_a_look_reaches_back_to_the_first_intent(desk: Desk):
    asked = Asked(LOST, "in_1")
    first = desk.now
    with pytest.raises(StripeUnavailable):
        asked.once(desk)
    desk.clock.ahead += dt.timedelta(days=30)
    asked.once(desk)
    desk.clock.ahead -= dt.timedelta(days=30)
    assert asked.looks[0] < first


def test_a_refusal_is_remembered_and_not_sent_again(desk: Desk):
    asked = Asked(NO)
    for _ in range(3):
        with pytest.raises(StripeRefused):
            asked.once(desk)
    assert (len(asked.keys), StripeCall.objects.get().state) == (1, "refused")


@pytest.mark.parametrize(
    "error",
    [
        stripe.APIConnectionError("timed out"),
        stripe.APIError("internal", http_status=500),
        stripe.RateLimitError("slow down", http_status=429),
        stripe.InvalidRequestError("in use", None, http_status=409),
        stripe.IdempotencyError("other parameters", http_status=400),
        stripe.AuthenticationError("wrong key", http_status=401),
        stripe.PermissionError("not yours", http_status=403),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_says_nothing_about_the_change_leaves_it_open(desk: Desk, error):
    with pytest.raises(StripeUnavailable):
        Asked(error).once(desk)
    call = StripeCall.objects.get()
    assert (call.state, bool(call.error), call.finished_at) == ("intent", True, None)


def test_without_a_key_and_without_a_sandbox_nothing_is_sent(settings, tmp_path):
    settings.STRIPE_API_KEY, settings.DATA_DIR = "", tmp_path
    with pytest.raises(StripeNotConfigured):
        stripe_client()


def test_without_a_key_the_running_sandbox_is_stripe(settings, tmp_path):
    settings.STRIPE_API_KEY, settings.DATA_DIR = "", tmp_path
    (tmp_path / "serve.json").write_text('{"stripe_url": "http://127.0.0.1:1"}')
    with pytest.raises(stripe.APIConnectionError):
        stripe_client().v1.customers.list()


def test_waits_grow_to_an_hour_and_never_overflow():
    waits = [retry_delay(failures).total_seconds() for failures in (0, 1, 2, 9, 10, 100_000)]
    assert waits == [5, 10, 20, 2560, 3600, 3600]
