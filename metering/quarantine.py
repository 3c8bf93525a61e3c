"""How is kept what cannot be billed to anybody yet? As sent, once, until `releasing` or a reviewer lets it in.

Two things come here: events of customers who do not exist yet, which wait for them, and pieces of a front door's
payload that make no event, which wait for a person. Keeping never fails on what a piece holds. Sent again, what was
released waits again, for the customer whose it became may be gone; what was discarded stays so.
"""

import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from metering.models import Backfill, QuarantinedEvent
from metering.reports import Report

MAX_BODY_BYTES = 1024 * 1024
KEPT_OF_LARGER = 64 * 1024
"""Of a body beyond the limit only so many characters are kept, as text; nobody can replay it."""
MAX_LEVELS = 50
MAX_NAME = 512
MAX_REASON = 500


class Unusable(NamedTuple):
    """A piece of a front door's payload that makes no event, and why.

    `customer_key` and `event_id` are "" where the piece names none. `body` is the piece as sent (JSON; bytes and other
    objects become text). `event` are the fields of `reports.EventIn` that could be read, in its words: a reviewer adds
    what is missing and replays it. Without it only a body that is itself such an object can be replayed.
    """

    door: str
    customer_key: str
    event_id: str
    reason: str
    body: Any
    event: Mapping[str, Any] | None = None


def quarantine(
    reports: Sequence[Report],
    *,
    reason: str,
    now: dt.datetime,
    door: str,
    backfill: Backfill | None = None,
) -> None:
    """Keep reports whose customer does not exist yet; the same body (which names customer and id) waits once.

    What a backfill brings is kept apart, so that its undo takes back no other's.
    """
    rows = []
    for report in reports:
        body = msgspec.json.encode(report.sent)
        identity = body if backfill is None else backfill.id.bytes + body
        rows.append(
            QuarantinedEvent(
                door=door,
                customer_key=report.customer,
                event_id=report.event.event_id,
                reason=reason,
                body=msgspec.json.decode(body),
                body_sha256=hashlib.sha256(identity).digest(),
                backfill=backfill,
                received_at=now,
            )
        )
    _keep(rows)


def keep_unusable(items: Sequence[Unusable], *, now: dt.datetime) -> None:
    """Keep pieces that make no event, each once per door, customer and body, whatever they hold."""
    _keep([_unusable_row(item, now) for item in items])


def _unusable_row(item: Unusable, now: dt.datetime) -> QuarantinedEvent:
    customer_key = _text(item.customer_key)
    body = _storable(item.body)
    encoded = msgspec.json.encode(body)
    event = None if item.event is None else _storable(item.event)
    if len(encoded) > MAX_BODY_BYTES:
        body = encoded[:KEPT_OF_LARGER].decode(errors="replace")
        event = None
    return QuarantinedEvent(
        door=_text(item.door)[:64],
        customer_key=customer_key[:MAX_NAME],
        event_id=_text(item.event_id)[:MAX_NAME],
        reason=_text(item.reason)[:MAX_REASON],
        body=body,
        event=event,
        body_sha256=hashlib.sha256(msgspec.json.encode(customer_key) + encoded).digest(),
        received_at=now,
        refused_at=now,
    )


def _keep(rows: list[QuarantinedEvent]) -> None:
    rows.sort(key=lambda row: bytes(row.body_sha256))  # so that overlapping batches queue instead of deadlock
    QuarantinedEvent.objects.bulk_create(rows, ignore_conflicts=True)


def _storable(value: Any, levels: int = MAX_LEVELS) -> Any:
    """A copy that JSON and PostgreSQL can hold; what they cannot becomes text."""
    if levels == 0:
        return "(nested deeper)"
    if isinstance(value, Mapping):
        return {_text(key): _storable(part, levels - 1) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(part, levels - 1) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else hex(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(value)


def _text(value: object) -> str:
    """Text without what PostgreSQL refuses: NUL and halves of surrogate pairs."""
    text = bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray | memoryview) else str(value)
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
