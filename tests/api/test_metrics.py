"""What Prometheus reads: everything counted, by all processes, and what waits in the database."""

import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cast import NOON, acme, report, send, the_sitting

pytestmark = pytest.mark.django_db


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def scrape(caller, name: str, **labels: str) -> float:
    answer = caller.get("/metrics")
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/plain")
    return samples(answer.content.decode()).get((name, tuple(sorted(labels.items()))), 0)


def an_event(event_id: str, **fields):
    usage = {"usage": {"input_tokens": 1, "output_tokens": 2}}
    names = {"id": event_id, "customer": "acme", "conversation": "chat", "provider": "openai", "model": "gpt-5"}
    return {**names, **usage, "occurred_at": "2026-11-02T12:00:00Z", **fields}


@pytest.fixture
def backend(caller, time_machine):
    time_machine.move_to(NOON, tick=False)
    acme()
    return caller()


def test_events_are_counted_by_what_became_of_them(backend):
    def counted():
        verdicts = ("accepted", "duplicate", "rejected")
        return [scrape(backend, "parley_events_total", door="events", verdict=verdict) for verdict in verdicts]

    before = counted()
    backend.post("/v1/events", {"events": [an_event("a"), an_event("a"), an_event("b"), {"id": "c"}]})
    assert [after - was for after, was in zip(counted(), before, strict=True)] == [2, 1, 1]


def test_requests_are_counted_by_door_and_status(backend):
    def counted(door, status):
        return scrape(backend, "parley_request_seconds_count", door=door, status=status)

    taken, refused, read = counted("events", "200"), counted("events", "400"), counted("rest", "200")
    backend.post("/v1/events", an_event("a"))
    backend.post("/v1/events", b"[")
    backend.get("/v1/customers")
    assert counted("events", "200") - taken == 1
    assert counted("events", "400") - refused == 1
    assert counted("rest", "200") - read > 1  # scraping is a request too


def test_events_without_a_rate_are_counted(backend, django_capture_on_commit_callbacks):
    before = scrape(backend, "parley_unpriced_events_total")
    with django_capture_on_commit_callbacks(execute=True):
        backend.post("/v1/events", {"events": [an_event("a", model="no-such-model"), an_event("b", model="nor-this")]})
    assert scrape(backend, "parley_unpriced_events_total") - before == 2


def test_what_waits_is_looked_up(backend, time_machine):
    backend.post("/v1/events", {"events": [an_event("a"), an_event("x", customer="nobody yet")]})
    time_machine.shift(7)
    assert scrape(backend, "parley_unfolded_rows") == 1
    assert scrape(backend, "parley_folding_lag_seconds") == 7
    assert scrape(backend, "parley_quarantined_events", door="events", waits_for="customer") == 1
    assert scrape(backend, "parley_database_up") == 1


def test_conversations_due_and_not_settled_are_looked_up(backend, time_machine):
    send([report("a", 0)])
    assert the_sitting("acme").settled is None
    assert scrape(backend, "parley_due_conversations") == 0
    time_machine.move_to(NOON.replace(day=4), tick=False)
    assert scrape(backend, "parley_due_conversations") == 1
    assert scrape(backend, "parley_settling_lag_seconds") == 24 * 3600


def test_figures_are_for_keys_that_may_read_unless_they_are_public(caller, client, settings):
    assert client.get("/metrics").status_code == 401
    assert caller("ingest").get("/metrics").status_code == 403
    settings.METRICS_PUBLIC = True
    assert client.get("/metrics").status_code == 200


def test_every_process_answers_for_all(tmp_path):
    code = "from api.metrics import count_verdicts, exposition; import sys; count_verdicts('d', {'v': 2})"
    show = code + "; sys.stdout.write(exposition().decode())"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    shown = subprocess.run([sys.executable, "-c", show], env=environment, check=True, capture_output=True, text=True)
    assert samples(shown.stdout)["parley_events_total", (("door", "d"), ("verdict", "v"))] == 4


def test_what_comes_in_by_another_door_is_counted_under_its_name(backend):
    taken = scrape(backend, "parley_events_total", door="openmeter", verdict="quarantined")
    assert backend.post("/ingest/openmeter/api/v1/events", {"specversion": "1.0", "id": "a"}).status_code == 204
    assert scrape(backend, "parley_events_total", door="openmeter", verdict="quarantined") - taken == 1
    assert scrape(backend, "parley_request_seconds_count", door="openmeter", status="204") >= 1
