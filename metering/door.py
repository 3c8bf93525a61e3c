"""How does `POST /v1/events` come in without a web framework? As ASGI messages, read within limits and a deadline.

The path of every event of every customer is the one where a framework's request costs more than the work itself. What
is answered is decided in metering.receiving, for this door and for Django's view alike.
"""

from collections.abc import Iterable

from api.arriving import Arriving, Gone
from api.asgi import Message, Receive, Send, send_whole
from api.bodies import declared_length
from api.metrics import count_refused
from api.problems import Problem, bad_request, unavailable
from metering.group_commit import GroupCommit, Overloaded
from metering.ingest import EVENTS
from metering.receiving import Reply, Sent

BODY_DEADLINE_S = 10.0
MOST_ARRIVING_BYTES = 32 * 1024 * 1024
"""Of bodies that are not complete yet, in one process. Most come in one piece and are never among them."""


arriving = Arriving(MOST_ARRIVING_BYTES)
group_commit = GroupCommit()
"""Of this process: whichever way requests come, they are stored together."""


async def event_door(scope: Message, receive: Receive, send: Send) -> None:
    """The ASGI application for `POST /v1/events`."""
    try:
        reply = await _answer(scope, receive)
    except Gone:
        return
    except Overloaded:
        reply = overloaded()
    except Problem as problem:
        reply = _refused(problem)
    await send_whole(send, *reply)


def overloaded() -> Reply:
    """What is said when more is waiting than this process will keep."""
    return _refused(unavailable())


def _refused(problem: Problem) -> Reply:
    count_refused(EVENTS, problem.status)
    return Reply(problem.status, *problem.rendered())


async def _answer(scope: Message, receive: Receive) -> Reply:
    headers = joined(scope["headers"])
    length = declared_length(headers.get("content-length"), chunked="transfer-encoding" in headers)
    async with arriving.whole(receive, most=length, within_s=BODY_DEADLINE_S) as body:
        if len(body) != length:
            raise bad_request(f"The body ended after {len(body):,} of {length:,} bytes.")
        sent = Sent(
            headers.get("authorization"),
            scope["query_string"].decode("latin-1"),
            headers.get("content-type"),
            headers.get("content-encoding"),
            bytes(body),
            host=headers.get("host"),
        )
    return await group_commit.answer(sent)


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Each header once, as WSGI has them: without blanks around it, and said twice with a comma in between.

    So neither of two hosts or keys is believed.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip(" \t")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
