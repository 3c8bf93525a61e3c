"""Sixty-four clients report the same events at once, in other batches and with other usage: each is counted once."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.served.posting import Client, added_up, an_event, conversations, create_acme, stored_events
from tests.served.serving import Served

CLIENTS, BATCHES, EVENTS_A_BATCH = 64, 12, 40
CONVERSATIONS, EVENTS_A_CONVERSATION, LARGEST = 20, 20, 500
IDS = [f"chat-{one}/{number}" for one in range(CONVERSATIONS) for number in range(EVENTS_A_CONVERSATION)]
Batch = list[tuple[str, int]]
"""Events and the output tokens reported of them this time."""


def batches_of(client: int) -> list[Batch]:
    """What a client sends: all ids sooner or later, in an order of its own, with whatever usage it has seen."""
    drawn = random.Random(client)
    sent = [(event_id, drawn.randint(1, LARGEST)) for event_id in drawn.choices(IDS, k=BATCHES * EVENTS_A_BATCH)]
    return [sent[start : start + EVENTS_A_BATCH] for start in range(0, len(sent), EVENTS_A_BATCH)]


def test_overlapping_batches_of_many_clients_count_every_event_once(served: Served) -> None:
    create_acme(served)

    def report(client: int) -> tuple[set[int], Counter[str]]:
        statuses, verdicts = set(), Counter[str]()
        with Client(served) as connection:
            for batch in batches_of(client):
                status, answer = connection.post(an_event(event_id, output) for event_id, output in batch)
                statuses.add(status)
                verdicts.update({name: count for name, count in answer.items() if isinstance(count, int)})
        return statuses, verdicts

    with ThreadPoolExecutor(CLIENTS) as threads:
        told = list(threads.map(report, range(CLIENTS)))
    everything = [item for client in range(CLIENTS) for batch in batches_of(client) for item in batch]
    largest: dict[str, int] = {}
    for event_id, output in everything:
        largest[event_id] = max(output, largest.get(event_id, 0))
    verdicts = sum((counts for _, counts in told), Counter[str]())
    assert {status for statuses, _ in told for status in statuses} == {200}
    assert stored_events(served) == largest
    assert verdicts["accepted"] == len(largest)
    assert verdicts["accepted"] + verdicts["updated"] + verdicts["duplicate"] == len(everything)
    assert conversations(served) == added_up(largest)
    assert "deadlock" not in (served.data_dir / "postgres.log").read_text()


def test_batches_that_meet_in_both_orders_at_once_do_not_stop_each_other(served: Served) -> None:
    """The shape that deadlocks whoever stores in the order of arrival: the same rows, forwards and backwards."""
    ids = [f"both-ways/{number}" for number in range(500)]

    def report(client: int) -> int:
        with Client(served) as connection:
            order = ids if client % 2 else ids[::-1]
            return connection.post(an_event(event_id, client + 1) for event_id in order)[0]

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(report, range(64))) == {200}
    stored = {event_id: output for event_id, output in stored_events(served).items() if event_id in set(ids)}
    assert stored == dict.fromkeys(ids, 64)
    assert conversations(served)["both-ways"] == added_up(stored)["both-ways"]
