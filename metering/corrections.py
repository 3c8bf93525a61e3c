"""How is a wrong event put right? By a void or an amendment with a reason, kept as history beside the event.

A corrected event takes no more reports under its id, so that a client that sends the original again does not undo the
correction. Its conversation is cut anew (both conversations, where it moves from one to another), and if its period is
invoiced the next invoice carries the difference. A void is for good: what was voided by mistake is sent under a new id.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import transaction

from metering import event_rows
from metering.catching_up import catch_up
from metering.ingest import write
from metering.models import Correction
from metering.reports import UnusableReport, check_time
from metering.sittings import CLOSE, MeteredEvent
from metering.usage_lock import take_usage_lock
from plans.models import Customer


class EventNotFound(Exception):
    """The customer has no event with this id."""


class AlreadyVoided(Exception):
    """The event is void; nothing more can be done to it."""


class UnusableAmendment(ValueError):
    """The amendment makes no event; `errors` has (JSON pointer, detail) pairs."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = [(pointer, detail)]


def void_event(customer: Customer, event_id: str, *, reason: str, now: dt.datetime) -> None:
    """Let an event count as never having happened. Raises EventNotFound, AlreadyVoided."""
    _correct(customer, event_id, {"voided": True}, action="void", reason=reason, now=now)


def amend_event(
    customer: Customer, event_id: str, changes: Mapping[str, Any], *, reason: str, now: dt.datetime
) -> None:
    """Let an event say what it should have said: `changes` are fields of MeteredEvent, token counts all or none.

    Raises EventNotFound, AlreadyVoided, UnusableAmendment.
    """
    if not changes:
        raise UnusableAmendment("", "an amendment changes something")
    if changes.get("reasoning_tokens", 0) > changes.get("output_tokens", 0):
        raise UnusableAmendment("/usage/reasoning_tokens", "reasoning is a part of output and cannot exceed it")
    if "occurred_at" in changes:
        try:
            check_time(changes["occurred_at"], now=now, backfill=True)
        except UnusableReport as error:
            raise UnusableAmendment(error.pointer, error.detail) from error
    _correct(customer, event_id, changes, action="amend", reason=reason, now=now)


def _correct(
    customer: Customer, event_id: str, changes: Mapping[str, Any], *, action: str, reason: str, now: dt.datetime
) -> None:
    with transaction.atomic():
        take_usage_lock(customer.id)  # alone, because it folds at once
        stored = event_rows.read_stored([(customer.id, event_id)])
        if not stored or stored[0].kind == CLOSE:
            raise EventNotFound(f"{customer.key} has no event {event_id!r}")
        before = stored[0]
        if before.voided:
            raise AlreadyVoided(f"the event {event_id!r} is void")
        after = msgspec.structs.replace(before, corrected=True, **changes)
        Correction.objects.create(
            customer=customer,
            event_id=event_id,
            action=action,
            reason=reason,
            before=_plain(before),
            after=None if after.voided else _plain(after),
            created_at=now,
        )
        write([], [after], [before], now=now)
        catch_up([customer.id], now=now)


def _plain(event: MeteredEvent) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(event, str_keys=True)
    return plain
