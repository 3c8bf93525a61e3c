"""Whatever is sent to POST /v1/events is taken, rejected item by item, or refused whole; never a failure of ours."""

import datetime as dt
import json
import tracemalloc

import pytest
import time_machine

from api.bodies import inflate
from api.problems import Problem
from metering.models import Event, QuarantinedEvent
from tests.api.hostile_bodies import an_event, bomb, hostile_bodies, hostile_items
from tests.cast import acme

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
MEBIBYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def at_noon():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def backend(caller):
    acme()
    return caller("ingest")


def stored():
    return Event.objects.count() + QuarantinedEvent.objects.count()


@pytest.mark.parametrize("hostile", hostile_bodies(NOW), ids=lambda hostile: hostile.name)
def test_a_hostile_body_is_refused_with_a_problem_and_nothing_is_stored(backend, hostile):
    headers = dict(hostile.headers)
    answer = backend.post("/v1/events", hostile.body, content_type=headers.pop("content-type"), **headers)
    assert (answer.status_code, answer["Content-Type"]) == (hostile.status, "application/problem+json")
    if hostile.pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == hostile.pointer
    assert stored() == 0


@pytest.mark.parametrize("hostile", hostile_items(NOW), ids=lambda hostile: hostile.name)
def test_a_hostile_item_is_rejected_with_its_place_and_spoils_nothing_beside_it(backend, hostile):
    good = json.dumps(an_event(NOW, id="good"))
    answer = backend.post("/v1/events", f'{{"events": [{hostile.text}, {good}]}}'.encode())
    assert answer.status_code == 200
    [rejected] = answer.json()["results"]
    assert (rejected["status"], rejected["pointer"]) == ("rejected", f"/events/0{hostile.pointer}")
    assert [event.event_id for event in Event.objects.all()] == ["good"]


@pytest.mark.parametrize("hostile", hostile_items(NOW), ids=lambda hostile: hostile.name)
def test_a_hostile_item_sent_alone_is_refused(backend, hostile):
    answer = backend.post("/v1/events", hostile.text.encode())
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == hostile.pointer
    assert stored() == 0


def test_what_nothing_is_wrong_with_is_taken(backend):
    assert backend.post("/v1/events", an_event(NOW)).json()["accepted"] == 1


def test_a_bomb_costs_less_than_16_mebibytes():
    packed = bomb()
    assert 0.9 * MEBIBYTE < len(packed) <= MEBIBYTE
    tracemalloc.start()
    with pytest.raises(Problem) as refused:
        inflate(packed, "gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.status == 413
    assert peak < 16 * MEBIBYTE
