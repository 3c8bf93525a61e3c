"""Real clients send to a running server by the snippets of docs/front-doors.md: OpenTelemetry's exporter and LiteLLM.

LiteLLM is large (340 MB) and takes more than a minute to install, so it gets an environment of its own, which is made
once, where PARLEY_REAL_LITELLM=1 asks for it, and used from then on.
"""

import gzip
import http.client
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.served.serving import ROOT, Served

LITELLM = "litellm==1.106.2"
LITELLM_ENVIRONMENT = ROOT / ".pytest_cache" / LITELLM
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
WITHIN_S = 60
CALL_THE_MODEL = """
import time
def call_the_model():
    told = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5"}
    used = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 30, "gen_ai.response.id": "chatcmpl-otel"}
    with trace.get_tracer("instrument").start_as_current_span("chat gpt-5", attributes=told | used):
        pass
    provider.force_flush()  # so that the span that names the conversation goes in a later export
"""


def snippets(served: Served, about: str) -> list[str]:
    """The Python of a section of the page, for this server and this key."""
    page = (ROOT / "docs" / "front-doors.md").read_text()
    section = page.partition(f"\n## {about}\n")[2].partition("\n## ")[0]
    return [
        text.replace("https://parley.example", served.url).replace("pk_...", served.key)
        for text in SNIPPET.findall(section)
    ]


def run(python: str | Path, code: str) -> None:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def acme(served: Served) -> Served:
    """The server, knowing Acme."""
    served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})
    return served


def events(served: Served) -> dict[str, dict]:
    """Acme's events by their ids."""
    return {event["id"]: event for event in served.ask("/v1/events?customer=acme")["data"]}


def test_opentelemetrys_exporter_sends_protobuf_in_gzip_and_a_call_finds_its_conversation(acme: Served) -> None:
    set_up, name_the_conversation = snippets(acme, "OpenTelemetry")
    run(sys.executable, set_up + CALL_THE_MODEL + name_the_conversation)
    event = events(acme)["chatcmpl-otel"]
    assert (event["conversation"], event["provider"], event["model"]) == ("chat-9", "openai", "gpt-5")
    assert (event["usage"]["input_tokens"], event["usage"]["output_tokens"]) == (100, 30)


def test_an_exporter_that_packs_what_it_sends_in_chunks_is_taken(acme: Served) -> None:
    """As OpenTelemetry's for JavaScript does, which cannot know the length beforehand."""
    payload = gzip.compress(b'{"resourceSpans":[]}')
    address = http.client.HTTPConnection("127.0.0.1", int(acme.url.rpartition(":")[2]), timeout=WITHIN_S)
    headers = {"Authorization": f"Bearer {acme.key}", "Content-Type": "application/json", "Content-Encoding": "gzip"}
    pieces = iter([payload[:5], payload[5:]])
    address.request(
        "POST", "/ingest/otlp/v1/traces", pieces, headers | {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    answer = address.getresponse()
    assert (answer.status, answer.read()) == (200, b"{}")
    address.close()


@pytest.fixture(scope="module")
def litellm() -> Path:
    """The Python of an environment with LiteLLM."""
    python = LITELLM_ENVIRONMENT / "bin" / "python"
    if (LITELLM_ENVIRONMENT / "complete").exists():
        return python
    if not os.environ.get("PARLEY_REAL_LITELLM"):
        pytest.skip("LiteLLM is not installed here; PARLEY_REAL_LITELLM=1 installs it (over a minute, 340 MB)")
    venv.create(LITELLM_ENVIRONMENT, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", LITELLM]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"LiteLLM cannot be installed here: {done.stderr[-200:]}")
    (LITELLM_ENVIRONMENT / "complete").touch()
    return python


def test_litellm_sends_its_calls_by_its_generic_api_callback(acme: Served, litellm: Path) -> None:
    before = events(acme).keys()
    (program,) = snippets(acme, "LiteLLM")
    run(litellm, program)
    sent = [event for event_id, event in events(acme).items() if event_id not in before]
    assert [(event["conversation"], event["provider"], event["kind"]) for event in sent] == [
        ("chat-9", "openai", "completion")
    ] * 2
    assert all(event["usage"]["output_tokens"] > 0 for event in sent)
