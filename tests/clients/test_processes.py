"""What was recorded arrives exactly once, whatever happens to the processes that recorded it."""

import random
import time
from collections import Counter

import pytest

from tests.clients.door import Door, open_door
from tests.clients.producing import Producer

AWAY = "http://127.0.0.1:9"


def arrived(door: Door) -> Counter[str]:
    """How often each event came in."""
    return Counter(event_id for request in door.requests for event_id in request.ids)


@pytest.mark.parametrize("seed", range(6))
def test_a_producer_killed_at_any_moment_loses_nothing_that_it_had_recorded(door, parley_at, tmp_path, seed):
    fate, recorded = random.Random(seed), []
    for life in range(4):
        with Producer(door.url if fate.random() < 0.5 else AWAY, tmp_path, f"{seed}-{life}", 100_000) as producer:
            producer.wait_for_calls(1)
            time.sleep(fate.uniform(0.0, 0.15))
            recorded += producer.kill()
    parley = parley_at(door.url, spool=tmp_path)
    wait_until_empty(tmp_path)
    assert len(recorded) > 20
    assert set(recorded) <= set(door.events)
    assert len(set(door.events) - set(recorded)) <= 4  # killed between recording and saying so
    assert parley.counts.get("rejected", 0) == 0


def test_a_killed_producer_is_outlived_by_its_neighbour_which_sends_what_is_left(door, tmp_path):
    with Producer(door.url, tmp_path, "neighbour", 1), Producer(AWAY, tmp_path, "victim", 50) as victim:
        victim.wait_for_calls(50)
        recorded = victim.kill()
        wait_until_empty(tmp_path)
    assert set(recorded) < set(door.events)


def test_two_processes_share_a_spool_and_send_nothing_twice(door, tmp_path):
    with (
        Producer(door.url, tmp_path, "one", 2_000, "exit") as one,
        Producer(door.url, tmp_path, "two", 2_000, "exit") as two,
    ):
        recorded = one.finish() + two.finish()
    assert len(recorded) == 4_000
    assert arrived(door) == Counter(recorded)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("spooled", [True, False])
def test_parent_and_child_of_a_fork_send_what_each_recorded(door, tmp_path, spooled):
    with Producer(door.url, tmp_path if spooled else None, "family", 300, "fork") as producer:
        recorded = producer.finish()
    assert len(set(recorded)) == 900
    assert arrived(door) == Counter(recorded)


def test_a_process_that_ends_without_a_word_sends_what_it_has(door):
    with Producer(door.url, None, "short", 3, "exit") as producer:
        recorded = producer.finish()
    assert len(recorded) == 3
    assert arrived(door) == Counter(recorded)


def test_closing_in_a_signal_handler_sends_what_there_is(door):
    with Producer(door.url, None, "asked", 100_000, "sigterm") as producer:
        producer.wait_for_calls(100)
        producer.ask_to_end()
        recorded = producer.finish()
    assert set(recorded) <= set(door.events)


def test_what_waited_for_the_server_is_sent_when_it_is_back(tmp_path):
    with open_door() as door:
        port = int(door.url.rpartition(":")[2])
    with Producer(door.url, tmp_path, "patient", 500) as producer:
        producer.wait_for_calls(500)
        with open_door(port) as door:
            wait_until_empty(tmp_path)
            assert arrived(door) == Counter(producer.recorded)


def wait_until_empty(spool, within_s=20.0):
    deadline = time.monotonic() + within_s
    while any(spool.iterdir()):
        assert time.monotonic() < deadline, [*spool.iterdir()]
        time.sleep(0.02)
