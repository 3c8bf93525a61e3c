"""PostgreSQL is killed under load, again and again: nothing acknowledged is lost, and nothing is counted twice.

PARLEY_KILLS asks for more kills than are made otherwise.
"""

import http.client
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.served.killing import DATABASE, children, kill, program
from tests.served.posting import Client, added_up, an_event, conversations, create_acme, stored_events
from tests.served.serving import Served, eventually, serving

KILLS = int(os.environ.get("PARLEY_KILLS", "4"))
CLIENTS, EVENTS_A_BATCH, CONVERSATIONS = 16, 10, 50
GOES_ON_WITHIN_S = 60.0


class Load:
    """Clients that report new events without end, each batch until it is acknowledged, and never another before."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.sent: dict[str, int] = {}
        self.acknowledged: set[str] = set()
        self.statuses: set[int] = set()
        self.lost_answers = 0
        self.over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        clients = [threading.Thread(target=self._report, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self.over.set()
            for client in clients:
                client.join()

    def _report(self, number: int) -> None:
        drawn = random.Random(number)
        with Client(self.served) as connection:
            for batch in itertools.count():
                names = [f"chat-{drawn.randrange(CONVERSATIONS)}/{number}-{batch}-{i}" for i in range(EVENTS_A_BATCH)]
                events = {name: drawn.randint(1, 100) for name in names}
                self.sent.update(events)
                while not self._acknowledged(connection, events):
                    if self.over.is_set():
                        return
                    time.sleep(0.05)
                if self.over.is_set():
                    return

    def _acknowledged(self, connection: Client, events: dict[str, int]) -> bool:
        try:
            status, answer = connection.post(an_event(name, output) for name, output in events.items())
        except (OSError, http.client.HTTPException):
            self.lost_answers += 1
            return False
        self.statuses.add(status)
        if status != 200:
            return False
        assert answer["accepted"] + answer["duplicate"] == len(events), answer
        self.acknowledged.update(events)
        return True


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """One of its own, as nothing of it will be spared."""
    with serving(tmp_path) as running:
        yield running


def test_no_acknowledged_event_is_lost_however_often_the_database_is_killed(served: Served) -> None:
    create_acme(served)
    load = Load(served)
    with load.running():
        for number in range(KILLS):
            goes_on(load)
            # The whole server, or one process of it, at which the others give up as well.
            victims = program(served, DATABASE) if number % 2 else random.sample(sorted(children(served, DATABASE)), 1)
            kill(victims)
        goes_on(load)
    stored = stored_events(served)
    assert load.acknowledged <= stored.keys() <= load.sent.keys()
    assert all(stored[name] == load.sent[name] for name in stored)
    assert load.statuses <= {200, 503}
    assert conversations(served) == added_up(stored)
    print(f"{KILLS} kills, {len(load.acknowledged)} events acknowledged, {load.lost_answers} answers lost")


def goes_on(load: Load) -> None:
    """Returns when more events are acknowledged than can have been on their way."""
    wanted = len(load.acknowledged) + 2 * CLIENTS * EVENTS_A_BATCH
    assert eventually(lambda: len(load.acknowledged) >= wanted, within_s=GOES_ON_WITHIN_S), "nothing is taken any more"
