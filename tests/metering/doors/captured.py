"""Where are the captured requests of real clients, and how is one sent again? (They are not part of the project.)"""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from metering.models import Event
from tests.rest import Caller

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "realdata" / "payloads"
NOW = dt.datetime(2026, 11, 21, 7, tzinfo=dt.UTC)
OWN_HEADERS = ("host", "connection", "content-length", "content-type", "authorization")
"""Headers that whoever sends the request makes anew."""

needs_captured_requests = pytest.mark.skipif(not FOLDER.is_dir(), reason="captured requests are not in the project")


def expected(folder: str) -> list[dict[str, Any]]:
    """The events that the requests of a folder must become."""
    return json.loads((FOLDER / folder / "EXPECTED.json").read_text())["events"]


def send_all(folder: str, url: str, caller: Caller) -> list[Any]:
    """Every request of a folder once more, unchanged but for the key; the answers."""
    return [_send(request, url, caller) for request in sorted((FOLDER / folder).glob("*.request.json"))]


def _send(request: Path, url: str, caller: Caller) -> Any:
    headers = {name.lower(): value for name, value in json.loads(request.read_text())["headers"].items()}
    content_type = headers["content-type"]
    stem = request.name.partition(".")[0]
    body = next(path for path in request.parent.glob(f"{stem}.*") if path.suffix == ".pb" or ".body." in path.name)
    kept = {name: value for name, value in headers.items() if name not in OWN_HEADERS}
    return caller.post(url, body.read_bytes(), content_type=content_type, **kept)


def stored() -> dict[str, Event]:
    """Every event by its id."""
    return {event.event_id: event for event in Event.objects.select_related("customer")}
