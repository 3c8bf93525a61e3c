"""A caller who sends more than agreed is told when to come again; others feel nothing, and everything is counted."""

import datetime as dt
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.hostile_bodies import an_event
from tests.served.serving import Served
from tests.served.wire import Answer, ask

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def hasty_key(served: Served) -> str:
    """May report ten events a second, fifty at once."""
    served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})
    scopes = ("--scopes", "ingest,read", "--rate-limit", "events=10,burst=50")
    return served.run("create_api_key", "hasty", *scopes).strip()


def report(served: Served, event_id: str, **headers: str) -> Answer:
    return ask(served, "POST", "/v1/events", json.dumps(an_event(NOW, id=event_id)).encode(), **headers)


def test_a_hasty_caller_gets_his_rate_and_what_is_refused_is_not_stored(served: Served, hasty_key: str) -> None:
    def hurry(number: int) -> tuple[str, Answer]:
        return f"hasty-{number}", report(served, f"hasty-{number}", authorization=f"Bearer {hasty_key}")

    with ThreadPoolExecutor(8) as threads:
        answers = dict(threads.map(hurry, range(200)))
    taken = {name for name, answer in answers.items() if answer.status == 200}
    refused = [answer for answer in answers.values() if answer.status != 200]
    assert 25 <= len(taken) < 150  # the burst of one process at least
    for answer in refused:
        assert (answer.status, answer.headers["ratelimit-limit"]) == (429, "10")
        assert int(answer.headers["retry-after"]) >= 1
    assert {row[0] for row in served.query("SELECT event_id FROM metering_event")} == taken
    assert report(served, "somebody else").status == 200


def test_other_doors_and_reads_count_against_the_same_rate(served: Served, hasty_key: str) -> None:
    authorization = f"Bearer {hasty_key}"
    batch = {"events": [an_event(NOW, id=f"batch-{number}") for number in range(1_000)]}
    answers = [ask(served, "POST", "/v1/events", json.dumps(batch).encode(), authorization=authorization)]
    while answers[-1].status == 200:  # once for every process, or after the test before this one
        answers.append(ask(served, "POST", "/v1/events", json.dumps(batch).encode(), authorization=authorization))
    assert len(answers) <= 3
    assert answers[-1].status == 429


def test_what_all_processes_took_and_refused_is_counted(served: Served, hasty_key: str) -> None:
    families = text_string_to_metric_families(ask(served, "GET", "/metrics").body.decode())
    samples = [sample for family in families for sample in family.samples]
    stored = served.count("metering_event")
    events = Counter({s.labels["verdict"]: s.value for s in samples if s.name == "parley_events_total"})
    assert events["accepted"] == stored
    requests = {
        s.labels["status"]: s.value
        for s in samples
        if s.name == "parley_request_seconds_count" and s.labels["door"] == "events"
    }
    assert requests["429"] > 50
    assert {s.name: s.value for s in samples}["parley_database_up"] == 1
