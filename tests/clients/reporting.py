"""How do the tests look at a Parley that runs in this process, and at what the client brought it?"""

from typing import Any

from api import keys
from metering.models import Event
from tests import cast
from tests.rest import Caller

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def ready() -> str:
    """A key to a Parley that knows acme."""
    keys._cache.clear()
    cast.restore_default_scheme()
    cast.acme()
    return keys.create_key("product", ["ingest", "read"], now=cast.NOON)[1]


def stored() -> dict[str, tuple[int, ...]]:
    """The stored events by id, with their tokens per bucket."""
    return {event_id: tuple(tokens) for event_id, *tokens in Event.objects.values_list("event_id", *BUCKETS)}


def conversations(key: str) -> dict[str, dict[str, Any]]:
    """What the REST API tells of the conversations of acme, by reference."""
    answer = Caller(key).get("/v1/conversations?customer=acme&limit=1000").json()
    return {conversation["reference"]: conversation for conversation in answer["data"]}
