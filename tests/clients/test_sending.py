"""Batches go out when they are full or have waited, again until they are answered, and a bad event goes alone."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from parley_client.api import Api, seconds_to_wait
from parley_client.problems import RequestRefused, ServerSilent
from tests.clients.door import Says

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def record(parley, *numbers, conversation="chat-9", **details):
    usage = {"input_tokens": 86, "output_tokens": 300}
    for number in numbers:
        parley.record(
            id=f"e{number}",
            customer="acme",
            conversation=conversation,
            provider="openai",
            model="gpt-5",
            usage=usage,
            **details,
        )


def ids(*numbers):
    return [f"e{number}" for number in numbers]


def test_a_batch_is_sent_when_it_has_waited(parley_at, door):
    parley = parley_at(door.url, linger_s=0.2)
    record(parley, 1, 2)
    time.sleep(0.05)
    assert door.requests == []
    record(parley, 3)
    wait_for(lambda: door.requests)
    assert door.requests[0].ids == ids(1, 2, 3)


def test_a_batch_is_sent_when_it_has_so_many_events(parley_at, door):
    parley = parley_at(door.url, linger_s=60, batch_events=10)
    record(parley, *range(25))
    wait_for(lambda: len(door.events) == 20)
    assert parley.flush(5)
    assert [len(request.ids) for request in door.requests] == [10, 10, 5]
    assert [event_id for request in door.requests for event_id in request.ids] == ids(*range(25))


@pytest.mark.parametrize("spooled", [False, True])
def test_no_batch_has_more_bytes_than_it_may(parley_at, door, tmp_path, spooled):
    parley = parley_at(door.url, linger_s=60, batch_bytes=2_000, spool=tmp_path if spooled else None)
    record(parley, *range(50))
    record(parley, 50, feature="f" * 5_000)
    record(parley, 51)
    assert parley.flush(5)
    assert len(door.events) == 52
    lengths = [len(request.body) for request in door.requests]
    assert max(length for length in lengths if length < 5_000) <= 2_000
    assert len([length for length in lengths if length > 2_000]) == 1
    assert len(lengths) < 12


AGAIN = {
    "429": Says(429),
    "500": Says(500),
    "502 of a proxy": Says(502, b"<html>"),
    "503": Says(503, headers={"Retry-After": "0"}),
    "504": Says(504),
    "hangs up": Says(0),
    "answer lost": Says(0, takes_effect=True),
    "too slow": Says(200, after_s=0.6, takes_effect=True),
    "half an answer": Says(200, b"{", {"Content-Length": "9"}, takes_effect=True),
    "a page of somebody else": Says(200, b"<html>"),
}


@pytest.mark.parametrize("answer", AGAIN.values(), ids=AGAIN)
def test_what_was_not_answered_is_sent_again_as_it_was(parley_at, door, problems, answer):
    door.answers = [answer, answer]
    parley = parley_at(door.url, timeout_s=0.2)
    record(parley, 1, 2)
    assert parley.flush(10)
    assert len({request.body for request in door.requests}) == 1
    assert len(door.requests) >= 3
    assert ([*door.events], problems) == (ids(1, 2), [])


def test_retry_after_is_honoured(parley_at, door):
    door.answers = [Says(503, headers={"Retry-After": "1"})]
    parley = parley_at(door.url)
    record(parley, 1)
    wait_for(lambda: door.requests)
    assert not parley.flush(0.6)
    assert len(door.requests) == 1
    assert parley.flush(5)


def test_retry_after_is_seconds_or_a_date():
    assert seconds_to_wait("7", now=NOON) == 7
    assert seconds_to_wait("Fri, 20 Nov 2026 12:00:09 GMT", now=NOON) == 9
    assert seconds_to_wait("Fri, 20 Nov 2026 12:00:09 GMT", now=NOON + timedelta(hours=1)) == 0
    assert [seconds_to_wait(text, now=NOON) for text in ("", "soon", "-1", "1e9", "²")] == [0] * 5


def test_pauses_grow_up_to_a_limit_and_differ():
    waits = []
    api = Api("http://127.0.0.1:9", "pk_test", wait=lambda seconds, asked: waits.append(seconds) or len(waits) < 12)
    with pytest.raises(ServerSilent):
        api.request("GET", "/v1/plans")
    bounds = [min(0.2 * 2**n, 30.0) for n in range(12)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits)) == 12


def test_a_connection_that_the_server_closed_while_idle_costs_no_pause(door):
    waits = []
    api = Api(door.url, "pk_test", wait=lambda seconds, asked: waits.append(seconds) or True)
    for _ in range(3):
        door.answers = [Says(200, b'{"accepted": 1}', then_hangs_up=True)]
        assert api.request("POST", "/v1/events", b"{}").body == {"accepted": 1}
        time.sleep(0.05)
    assert (waits, len(door.requests)) == ([], 3)
    api.close()


def test_one_bad_event_spoils_none_beside_it_and_is_told(parley, door, problems):
    record(parley, *range(5))
    record(parley, 5, conversation="a\0b")
    record(parley, *range(6, 11))
    assert parley.flush(5)
    assert sorted(door.events) == sorted(ids(*range(5), *range(6, 11)))
    assert [(problem.status, problem.event["id"]) for problem in problems] == [("rejected", "e5")]
    assert "/events: NUL" in problems[0].detail


@pytest.mark.parametrize("status", ["rejected", "conflict", "quarantined"])
def test_an_event_that_is_not_stored_is_told_with_its_reason_and_never_sent_again(parley, door, problems, status):
    door.verdict = lambda event: status if event["id"] == "e2" else "accepted"
    record(parley, 1, 2, 3)
    assert parley.flush(5)
    record(parley, 4)
    assert parley.flush(5)
    assert [(problem.status, problem.detail, problem.event["id"]) for problem in problems] == [
        (status, "because", "e2")
    ]
    assert [event_id for request in door.requests for event_id in request.ids] == ids(1, 2, 3, 4)
    assert parley.counts == {"accepted": 3, status: 1}


def test_growing_usage_is_no_problem(parley, door, problems):
    door.verdict = lambda event: "updated"
    record(parley, 1)
    assert parley.flush(5)
    assert (parley.counts, problems) == ({"updated": 1}, [])


def test_closes_go_out_with_the_events(parley_at, door, problems, tmp_path):
    parley = parley_at(door.url, linger_s=60, spool=tmp_path)
    record(parley, 1)
    parley.close_conversation(customer="acme", conversation="chat-9", outcome="resolved")
    door.verdict = lambda event: "conflict" if event["id"] == "e2" else "accepted"
    record(parley, 2)
    assert parley.flush(5)
    assert [close["outcome"] for close in door.closes] == ["resolved"]
    assert [problem.event["id"] for problem in problems] == ["e2"]
    assert parley.counts == {"accepted": 2, "conflict": 1}


def test_a_close_that_is_refused_is_told(parley, door, problems):
    door.answers = [Says(404, b'{"title": "Not found", "detail": "There is no customer acme."}')]
    parley.close_conversation(customer="acme", conversation="chat-9")
    assert parley.flush(5)
    assert [(problem.status, problem.event["conversation"]) for problem in problems] == [("rejected", "chat-9")]


REFUSALS = {
    "wrong key": Says(401, b'{"title": "Unauthorized"}'),
    "no scope": Says(403, b'{"title": "Forbidden"}'),
    "wrong address": Says(404, b"<html>"),
    "wrong host": Says(400, b'{"title": "Bad request"}'),
    "moved": Says(301, headers={"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_of_all_is_told_and_loses_nothing(parley, door, problems, answer):
    door.answers = [answer]
    record(parley, 1, 2)
    wait_for(lambda: problems)
    time.sleep(0.3)
    assert ([problem.status for problem in problems], len(door.requests)) == (["refused"], 1)
    assert parley.flush(5)  # the operator has put it right and is in a hurry
    assert [*door.events] == ids(1, 2)


def test_a_server_that_is_away_costs_nothing_but_time(parley_at, problems):
    parley = parley_at("http://127.0.0.1:9")
    record(parley, *range(100))
    assert not parley.flush(0.5)
    assert problems == []
    assert not parley.close(0.1)
    assert [(problem.status, problem.event["id"]) for problem in problems] == [("dropped", f"e{n}") for n in range(100)]


def test_memory_is_bounded_and_what_does_not_fit_is_told(parley_at, door, problems):
    parley = parley_at("http://127.0.0.1:9", memory_bytes=10_000)
    record(parley, *range(100))
    dropped = [problem.event["id"] for problem in problems]
    assert {problem.status for problem in problems} == {"dropped"}
    assert dropped == ids(*range(100 - len(dropped), 100))
    assert 20 < len(dropped) < 70


def test_after_close_nothing_is_recorded(parley, door, problems):
    record(parley, 1)
    assert parley.close()
    record(parley, 2)
    assert ([*door.events], [problem.status for problem in problems]) == (ids(1), ["dropped"])
    assert threads() == []


def test_close_does_not_wait_for_a_server_that_does_not_answer(parley_at, door, problems):
    door.answers = [Says(200, after_s=3)]
    parley = parley_at(door.url, timeout_s=30)
    record(parley, 1)
    wait_for(lambda: door.requests)
    started_at_s = time.monotonic()
    assert not parley.close(0.2)
    assert time.monotonic() - started_at_s < 2
    assert [problem.status for problem in problems] == ["dropped"]


def test_many_threads_record_at_once(parley_at, door, tmp_path):
    parley = parley_at(door.url, spool=tmp_path, batch_events=20)
    threads = [threading.Thread(target=record, args=(parley, *range(n * 100, n * 100 + 100))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parley.flush(20)
    assert sorted(door.events) == sorted(ids(*range(800)))
    assert sum(len(request.ids) for request in door.requests) == 800
    assert [*tmp_path.iterdir()] == []


def test_a_refused_request_of_the_api_says_why(door):
    door.answers = [REFUSALS["no scope"]]
    api = Api(door.url, "pk_test")
    with pytest.raises(RequestRefused, match="HTTP 403: Forbidden"):
        api.send([b'{"id": "e1"}'])
    api.close()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "parley-client"]


def wait_for(condition, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
