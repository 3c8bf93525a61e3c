"""Every request of docs/corrections.md is sent, in the order of the page, and answered as it says.

A block "http" is a request, its body, and behind an arrow the status and what the answer has to contain. A text in
braces in an answer names a value that later requests use.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine

from metering.catching_up import fold_waiting
from metering.models import Event
from tests.cast import LATER, acme
from tests.rest import Caller

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).resolve().parents[2] / "docs" / "corrections.md"
BLOCK = re.compile(r"^```(?P<kind>\w+) ?(?P<name>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
REQUEST = re.compile(r"(?P<method>GET|POST) (?P<url>\S+)\n(?P<body>.*)-> (?P<status>\d+) (?P<answer>.*)", re.DOTALL)


class Reader:
    """Somebody who follows the page: their client, the files they have, and the ids they have noted."""

    def __init__(self, client: Caller) -> None:
        self.client = client
        self.files: dict[str, str] = {}
        self.noted: dict[str, str] = {}

    def send(self, example: str) -> None:
        match = REQUEST.fullmatch(example.strip())
        assert match is not None, f"not understood: {example}"
        url, body = (self.filled(match[part].strip()) for part in ("url", "body"))
        if match["method"] == "GET":
            answer = self.client.get(url)
        elif body.startswith("<"):
            answer = self.client.post(url, self.files[body[1:]].encode(), content_type="text/csv")
        else:
            answer = self.client.post(url, body.encode())
        assert answer.status_code == int(match["status"]), answer.content
        self.compare(match["answer"], answer)
        fold_waiting(now=LATER)

    def compare(self, expected: str, answer: Any) -> None:
        if expected.startswith("text\n"):
            text = b"".join(answer.streaming_content).decode().replace("\r\n", "\n")
            assert text == expected.removeprefix("text\n") + "\n"
        else:
            self.contained(json.loads(expected), answer.json())

    def contained(self, part: Any, whole: Any) -> None:
        """An object has to have these members, a list these elements; what is in braces is noted."""
        if isinstance(part, dict):
            for name, value in part.items():
                self.contained(value, whole[name])
        elif isinstance(part, list):
            assert len(part) == len(whole), whole
            for one, other in zip(part, whole, strict=True):
                self.contained(one, other)
        elif isinstance(part, str) and re.fullmatch(r"\{\w+\}", part):
            self.noted[part] = whole
        else:
            assert part == whole

    def filled(self, text: str) -> str:
        for name, value in self.noted.items():
            text = text.replace(name, value)
        return text


@pytest.fixture
def reader(caller: Any) -> Iterator[Reader]:
    acme()
    with time_machine.travel("2026-11-21T00:00:00Z", tick=False):
        yield Reader(caller())


def test_every_example_of_the_page_is_answered_as_it_says(reader: Reader) -> None:
    sent = 0
    for block in BLOCK.finditer(PAGE.read_text("utf-8")):
        if block["kind"] == "events":
            events = [json.loads(line) for line in block["body"].splitlines()]
            assert reader.client.post("/v1/events", {"events": events}).json()["accepted"] == len(events)
        elif block["kind"] == "csv":
            reader.files[block["name"]] = block["body"]
        else:
            assert block["kind"] == "http"
            reader.send(block["body"])
            sent += 1
    assert sent == PAGE.read_text("utf-8").count("```http") == 14
    assert sorted(Event.objects.values_list("event_id", flat=True)) == ["req_1", "req_2", "req_3"]


def test_an_example_that_is_wrong_is_found(reader: Reader) -> None:
    for example in (
        "GET /v1/quarantine\n-> 404 {}",
        'GET /v1/quarantine\n-> 200 {"data": [{}]}',
        'GET /v1/quarantine\n-> 200 {"next": "more"}',
    ):
        with pytest.raises(AssertionError):
            reader.send(example)
