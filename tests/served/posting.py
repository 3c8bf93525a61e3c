"""How do many clients report events at once, and what must come of it? Clients that keep a connection, and sums."""

import datetime as dt
import http.client
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.served.serving import Served

INPUT_TOKENS = 1_000
NOW = dt.datetime.now(dt.UTC)


def an_event(event_id: str, output_tokens: int = 1) -> dict[str, Any]:
    """An event of Acme's, whose id begins with its conversation and a slash."""
    return {
        "id": event_id,
        "customer": "acme",
        "conversation": event_id.partition("/")[0],
        "occurred_at": NOW.isoformat(),
        "provider": "nobody",
        "model": "unpriced-1",
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens},
    }


class Client:
    """A client that keeps its connection as long as it can."""

    def __init__(self, served: Served) -> None:
        address = urlsplit(served.url)
        self.headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def post(self, events: Iterable[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """Status and answer; raises OSError or HTTPException where none came."""
        try:
            self.connection.request("POST", "/v1/events", json.dumps({"events": list(events)}), self.headers)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            with suppress(OSError):
                self.connection.close()
            raise


def create_acme(served: Served) -> None:
    served.ask("/v1/customers", {"key": "acme", "name": "Acme Inc", "currency": "USD"})


def stored_events(served: Served) -> dict[str, int]:
    """The output tokens of each event; an id stored twice would be found here."""
    rows = served.query("SELECT event_id, output_tokens FROM metering_event")
    assert len(rows) == len(dict(rows))
    return dict(rows)


def conversations(served: Served) -> dict[str, tuple[int, int, int]]:
    """Calls, input and output tokens of each conversation, as the API tells them."""
    told = served.ask_all("/v1/conversations?customer=acme&limit=1000")
    return {one["reference"]: (one["calls"], one["tokens"]["input"], one["tokens"]["output"]) for one in told}


def added_up(events: Mapping[str, int]) -> dict[str, tuple[int, int, int]]:
    """The same of events and their output tokens; the id of an event begins with its conversation and a slash."""
    totals: dict[str, tuple[int, int, int]] = {}
    for event_id, output in events.items():
        reference = event_id.partition("/")[0]
        calls, inputs, outputs = totals.get(reference, (0, 0, 0))
        totals[reference] = (calls + 1, inputs + INPUT_TOKENS, outputs + output)
    return totals
