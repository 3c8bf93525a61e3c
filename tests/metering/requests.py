"""Requests for `POST /v1/events` as a door takes them in, and what a database can do to them."""

import json
from typing import Any

from django.db import connection

from api.keys import create_key
from metering.receiving import Reply, Sent
from tests.rest import LONG_AGO

RAISE = """
CREATE OR REPLACE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON metering_event
    FOR EACH ROW WHEN (NEW.event_id = 'refused') EXECUTE FUNCTION refuse_event()"""


def authorization(*scopes: str, **named: Any) -> str:
    """The header of a new key."""
    return f"Bearer {create_key('a test', scopes or ('ingest', 'backfill'), now=LONG_AGO, **named)[1]}"


def an_event(event_id: str, *, customer: str = "acme", output: int = 100, **fields: Any) -> dict[str, Any]:
    """A call as a client reports it."""
    usage = {"input_tokens": 900, "output_tokens": output}
    said = {"id": event_id, "customer": customer, "conversation": "chat", "occurred_at": "2026-11-02T12:00:00Z"}
    return said | {"provider": "nobody", "model": "unpriced-1", "usage": usage} | fields


def sent(authorization: str | None, *events: Any, body: bytes | None = None, **said: Any) -> Sent:
    """A request with these events, or with this body."""
    body = json.dumps({"events": events}).encode() if body is None else body
    headers = {"query": "", "content_type": "application/json", "content_encoding": None, "host": "localhost"}
    return Sent(authorization, body=body, **headers | said)


def said(reply: Reply) -> dict[str, int]:
    """How many events became what."""
    answer = json.loads(reply.body)
    return {name: count for name, count in answer.items() if name != "results" and count}


def refuse_events(sqlstate: str) -> None:
    """Have the database raise this for events with the id `refused`, until `accept_events`."""
    with connection.cursor() as cursor:
        cursor.execute(RAISE.format(sqlstate))


def accept_events() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS refuse_event CASCADE")
