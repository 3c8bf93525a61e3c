"""A key gets the rate it has, in the long run exactly; who is too fast is told when to come again, and harms nobody."""

from io import StringIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from hypothesis import given
from hypothesis import strategies as st

from api.keys import create_key
from api.models import ApiKey
from api.rate_limits import RateLimit, UnreadableRateLimit, admit, configured, read_rate_limit
from tests.api.test_endpoints import problem
from tests.rest import LONG_AGO

NUMBERS = iter(range(10**9))


def a_key(**fields) -> ApiKey:
    """Kept nowhere, and never used before."""
    return ApiKey(lookup_id=f"{next(NUMBERS):016x}", **fields)


def test_a_key_without_limits_is_never_told_to_wait():
    key = a_key()
    assert [admit(key, events=1_000, now_s=5.0) for _ in range(1_000)] == [None] * 1_000


def test_a_burst_is_let_in_at_once_and_then_the_rate():
    key = a_key(events_per_s=10, events_burst=100)
    assert [admit(key, events=10, now_s=5.0) for _ in range(10)] == [None] * 10
    assert admit(key, events=1, now_s=5.0) == pytest.approx(0, abs=0.001)
    assert admit(key, events=1, now_s=5.1) is None


def test_a_batch_larger_than_the_burst_is_let_in_and_paid_for_later():
    key = a_key(events_per_s=10, events_burst=100)
    assert admit(key, events=1_000, now_s=5.0) is None
    assert admit(key, events=1, now_s=5.0) == pytest.approx(90, abs=0.001)
    assert admit(key, events=1, now_s=95.001) is None


def test_requests_are_counted_beside_their_events():
    key = a_key(requests_per_s=2)
    assert [admit(key, events=1_000, now_s=5.0) for _ in range(20)] == [None] * 20
    assert admit(key, events=0, now_s=5.0) is not None
    assert admit(key, events=1_000, requests=0, now_s=5.0) is None


def test_one_key_does_not_feel_another():
    fast, slow = a_key(events_per_s=1), a_key(events_per_s=1)
    assert admit(fast, events=1_000, now_s=5.0) is None
    assert admit(fast, events=1, now_s=5.0) is not None
    assert admit(slow, events=1, now_s=5.0) is None


def test_the_keys_of_one_customer_share_the_limit_of_customers(settings):
    settings.CUSTOMER_RATE_LIMIT = "events=10"
    name = f"customer {next(NUMBERS)}"
    first, second, free = a_key(customer_key=name), a_key(customer_key=name), a_key()
    assert admit(first, events=100, now_s=5.0) is None
    assert admit(second, events=1, now_s=5.0) is not None
    assert admit(free, events=1, now_s=5.0) is None


def test_a_key_without_a_rate_of_its_own_has_the_configured_one(settings):
    settings.RATE_LIMIT = "events=10,requests=5"
    usual, own = a_key(), a_key(events_per_s=1_000)
    assert admit(usual, events=100, now_s=5.0) is None
    assert admit(usual, events=1, now_s=5.0) is not None
    assert admit(own, events=100, now_s=5.0) is None
    assert admit(own, events=1, now_s=5.0) is None


def test_every_process_grants_its_share(settings):
    settings.WEB_WORKERS = 4
    key = a_key(events_per_s=40, events_burst=400)
    assert admit(key, events=100, now_s=5.0) is None
    assert admit(key, events=10, now_s=5.1) is None
    assert admit(key, events=10, now_s=5.1) == pytest.approx(0.9, abs=0.001)


REQUESTS = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 1_000)), max_size=60)


@given(REQUESTS, st.integers(1, 200), st.integers(1, 2_000))
def test_no_more_is_let_in_than_burst_and_rate_allow_but_for_the_last_batch(requests, rate, burst):
    key = a_key(events_per_s=rate, events_burst=burst)
    now_s, admitted = 1_000.0, []
    for pause_s, events in requests:
        now_s += pause_s
        if admit(key, events=events, now_s=now_s) is None:
            admitted.append((now_s, events))
    for first, (since_s, _) in enumerate(admitted):
        total = 0
        for at_s, events in admitted[first:]:
            assert total <= burst + rate * (at_s - since_s) + 0.001
            total += events


@given(REQUESTS, st.integers(1, 200), st.integers(1, 2_000))
def test_whoever_waits_as_long_as_told_is_let_in(requests, rate, burst):
    key = a_key(events_per_s=rate, events_burst=burst, requests_per_s=rate)
    now_s = 1_000_000.0
    for pause_s, events in requests:
        now_s += pause_s
        wait_s = admit(key, events=events, now_s=now_s)
        if wait_s is not None:
            now_s += wait_s
            assert admit(key, events=events, now_s=now_s) is None


# --- what a caller sees ---


@pytest.fixture
def hasty(caller):
    """Somebody who may send one request a second, ten at once."""
    somebody = caller("read", "manage")
    ApiKey.objects.update(requests_per_s=1)
    return somebody


@pytest.mark.urls("tests.api.tiny")
def test_who_is_too_fast_is_told_whole_seconds_and_the_limit_and_nothing_is_done(hasty):
    while (answer := hasty.get("/v1/things")).status_code == 200:
        pass
    answer = hasty.post("/v1/things", {"name": "late"})
    assert "Nothing of the request was stored" in problem(answer, 429)["detail"]
    assert (answer["Retry-After"], answer["RateLimit-Limit"], answer["RateLimit-Remaining"]) == ("1", "1", "0")
    assert int(answer["RateLimit-Reset"]) == 1
    assert not ApiKey.objects.filter(name="late").exists()


# --- how a limit is set ---


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", RateLimit()),
        ("events=500", RateLimit(500)),
        ("requests=50, events=500, burst=5000", RateLimit(500, 5_000, 50)),
    ],
)
def test_a_limit_is_spelled_out(text, limit):
    assert read_rate_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    ["500", "events", "events=0", "events=-1", "events=1.5", "events=1,events=2", "burst=5", "events=4294967296"],
)
def test_a_limit_spelled_otherwise_is_refused(text):
    with pytest.raises(UnreadableRateLimit):
        read_rate_limit(text)
    with pytest.raises(ImproperlyConfigured):
        configured(text)


@pytest.mark.django_db
def test_the_command_makes_a_key_with_its_limit():
    call_command("create_api_key", "x", "--scopes", "ingest", "--rate-limit", "events=5,requests=1", stdout=StringIO())
    assert ApiKey.objects.values_list("events_per_s", "events_burst", "requests_per_s").get() == (5, None, 1)
    with pytest.raises(CommandError, match="a rate limit reads"):
        call_command("create_api_key", "x", "--scopes", "ingest", "--rate-limit", "fast")


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [RateLimit(0), RateLimit(requests_per_s=0), RateLimit(events_burst=5)])
def test_the_database_keeps_no_limit_without_sense(limit):
    with pytest.raises(IntegrityError, match="api_key_"):
        create_key("x", ["ingest"], rate_limit=limit, now=LONG_AGO)
