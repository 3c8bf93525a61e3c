"""OpenMeter's CloudEvents: what the data tell, and whose an id is that two sources use."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from metering.doors.admitting import DoorSender
from metering.doors.cloud_events import feature_of, read_call
from metering.doors.foreign_calls import NO_USAGE
from metering.doors.openmeter import receive
from metering.ingest import ingest
from metering.models import Event, QuarantinedEvent
from tests.cast import acme, report
from tests.metering.conftest import Sessions
from tests.metering.doors.captured import NOW, stored

URL = "/ingest/openmeter/api/v1/events"
Send = Callable[..., Any]


def event(id: str = "e1", source: str = "shop", **data: Any) -> dict[str, Any]:
    told = {"tokens": 10, "model": "gpt-5", "conversation_id": "chat"} | data
    head = {"id": id, "source": source, "specversion": "1.0", "type": "prompt", "subject": "acme"}
    return head | {"time": "2026-11-20T10:00:00Z", "data": told}


@pytest.fixture
def send(caller: Any) -> Send:
    acme()
    sender = caller("ingest")
    return lambda body, content_type="application/cloudevents-batch+json": sender.post(
        URL, json.dumps(body).encode(), content_type=content_type
    )


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"tokens": 7}, {"input_tokens": 7}),
        ({"tokens": "7", "type": "input"}, {"input_tokens": 7}),
        ({"tokens": 7.0, "type": "output"}, {"output_tokens": 7}),
        ({"tokens": 7, "type": "cached_input"}, {"cache_read_tokens": 7}),
        ({"input_tokens": "100", "output_tokens": 5}, {"input_tokens": 100, "output_tokens": 5}),
        ({"prompt_tokens": 100, "cached_tokens": 60}, {"input_tokens": 40, "cache_read_tokens": 60}),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 3}}, {"input_tokens": 9, "output_tokens": 3}),
    ],
)
def test_tokens_are_read_by_bucket_by_type_or_as_the_providers_usage(data: Any, usage: dict[str, int]) -> None:
    assert read_call(event(**data)).fields["usage"] == NO_USAGE | usage


def test_of_a_call_told_in_parts_the_input_makes_the_turn() -> None:
    parts = [read_call(event(type=part)) for part in ("input", "output")]
    assert [part.fields["kind"] for part in parts] == ["completion", "other"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"tokens": None}, "data: reports no tokens"),
        ({"type": "image"}, "data/type: 'image' is no kind of tokens"),
        ({"tokens": 10**10}, "data/tokens: more than 1000000000"),
        ({"tokens": "-1"}, "data/tokens: is not a number of tokens"),
        ({"input_tokens": 1, "cached_tokens": 2}, "usage/prompt_tokens_details/cached_tokens: 2 read + 0 written"),
    ],
)
def test_what_cannot_be_used_is_said(data: dict[str, Any], fault: str) -> None:
    assert read_call(event(**data)).fault.startswith(fault)


def test_a_long_source_is_still_told_from_others() -> None:
    long = [feature_of("https://example.test/" + "x" * 100 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert {len(feature) for feature in long} == {64}


@pytest.mark.django_db
def test_a_provider_that_is_not_named_is_found_by_the_model(send: Send) -> None:
    send([event("1"), event("2", model="claude-sonnet-4-5"), event("3", model="house-blend")])
    assert {key: found.provider for key, found in stored().items()} == {
        "1": "openai",
        "2": "anthropic",
        "3": "unknown",
    }


@pytest.mark.django_db
@pytest.mark.parametrize("together", [True, False])
def test_a_second_source_under_the_same_id_is_kept_and_not_taken_for_a_repetition(send: Send, together: bool) -> None:
    both = [event(source="shop"), event(source="support")]
    for batch in [both] if together else [[one] for one in both]:
        assert send(batch).status_code == 204
    send(both)
    assert Event.objects.get().feature == "shop"
    assert QuarantinedEvent.objects.get().reason == "id: the source 'shop' has used it for another event"


@pytest.mark.django_db
def test_what_cannot_be_used_is_still_answered_204_and_kept(send: Send) -> None:
    answers = [send(body) for body in ([{"id": "x"}], [7], event(tokens=None), [event(conversation_id=None)])]
    assert {answer.status_code for answer in answers} == {204}
    assert QuarantinedEvent.objects.count() == 4


@pytest.mark.django_db
def test_only_a_body_that_is_no_json_is_refused(send: Send, caller: Any) -> None:
    assert caller("ingest").post(URL, b"{", content_type="application/json").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_sources_that_use_one_id_at_the_same_moment_are_told_apart(sessions: Sessions) -> None:
    acme()
    told = [
        event(f"e{number}", source, tokens=tokens) for number in range(20) for source, tokens in (("a", 1), ("b", 2))
    ]
    sessions.all([lambda one=one: receive([one], sender=DoorSender(), now=NOW) for one in told])
    first = {event_id: (found.feature, found.input_tokens) for event_id, found in stored().items()}
    assert len(first) == 20
    assert set(first.values()) <= {("a", 1), ("b", 2)}
    assert dict(QuarantinedEvent.objects.values_list("event_id", "reason")) == {
        event_id: f"id: the source {source!r} has used it for another event" for event_id, (source, _) in first.items()
    }
    assert QuarantinedEvent.objects.count() == 20


@pytest.mark.django_db
def test_a_call_that_another_door_stored_without_a_source_is_the_same_call(send: Send) -> None:
    tokens = {"provider": "openai", "model": "gpt-5", "tokens": (10, 0, 0, 0, 0)}
    ingest([report("e1", NOW - dt.timedelta(hours=1), **tokens)], now=NOW)
    send(event())
    assert (Event.objects.count(), Event.objects.get().feature) == (1, "shop")
    assert not QuarantinedEvent.objects.exists()
