"""An item that nobody foresaw is kept with the reason, and the calls beside it come in, whichever door it came by."""

from typing import Any

import pytest

from metering.doors import foreign_calls
from metering.doors.foreign_calls import UNFORESEEN
from metering.models import Event, QuarantinedEvent
from metering.usage_normalising import Usage, normalise
from tests.cast import acme
from tests.metering.doors.captured import NOW
from tests.metering.doors.spans import STARTED_NANOS
from tests.rest import Caller

pytestmark = pytest.mark.django_db

OTLP = "/ingest/otlp/v1/traces"
BREAKING = 13
"""So many tokens of input that reading them breaks."""


@pytest.fixture
def sender(caller: Any) -> Caller:
    acme()
    return caller("ingest")


def span(tokens: int, **more: str) -> dict[str, Any]:
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": str(tokens),
        "gen_ai.usage.output_tokens": "5",
        "session.id": "chat",
        "user.id": "acme",
        "gen_ai.response.id": f"e{tokens}",
    }
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in (told | more).items()]
    place = {"traceId": f"a{tokens}", "spanId": "b", "startTimeUnixNano": STARTED_NANOS}
    return {**place, "attributes": attributes}


def export(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def of_litellm(tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens, "completion_tokens": 5}
    named = {"id": f"e{tokens}", "trace_id": "chat", "end_user": "acme", "model": "gpt-5"}
    return {**named, "startTime": NOW.timestamp(), "response": {"usage": usage}}


def of_openmeter(tokens: int) -> dict[str, Any]:
    data = {"input_tokens": tokens, "output_tokens": 5, "model": "gpt-5", "conversation_id": "chat"}
    return {"id": f"e{tokens}", "source": "shop", "subject": "acme", "time": NOW.isoformat(), "data": data}


def of_polar(tokens: int) -> dict[str, Any]:
    llm = {"input_tokens": tokens, "output_tokens": 5, "model": "gpt-5", "vendor": "openai"}
    named = {"external_id": f"e{tokens}", "external_customer_id": "acme", "timestamp": NOW.isoformat()}
    return {**named, "metadata": {"conversation_id": "chat", "_llm": llm}}


PAYLOADS = {
    "/ingest/litellm": [of_litellm(BREAKING), of_litellm(10)],
    OTLP: export(span(BREAKING), span(10)),
    "/ingest/openmeter/api/v1/events": [of_openmeter(BREAKING), of_openmeter(10)],
    "/ingest/polar/v1/events/ingest": {"events": [of_polar(BREAKING), of_polar(10)]},
}


@pytest.mark.parametrize("url", PAYLOADS)
def test_an_item_that_breaks_its_reader_is_kept_and_spoils_no_other(
    sender: Caller, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaking(provider: str, body: dict[str, Any]) -> Usage:
        usage = normalise(provider, body)
        return usage if usage.input_tokens != BREAKING else {}[BREAKING]

    monkeypatch.setattr(foreign_calls, "normalise", breaking)
    assert sender.post(url, PAYLOADS[url]).status_code in (200, 204)
    assert Event.objects.get().event_id == "e10"
    kept = QuarantinedEvent.objects.get()
    assert (kept.reason, kept.customer_key, kept.event_id) == (UNFORESEEN, "acme", f"e{BREAKING}")
    (logged,) = caplog.records
    assert "KeyError" in str(logged.exc_text)


def test_a_usage_that_no_python_prints_costs_no_other_span_its_place(sender: Caller) -> None:
    answer = sender.post(OTLP, export(span(10), span(11, **{"metadata.usage_object": "{[]: 1}"})))
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert Event.objects.count() == 2
