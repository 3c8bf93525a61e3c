"""How do calls that another product told of come in? Through the same ingest as any event; the rest is quarantined.

Nobody reads these answers call by call, so nothing may be refused silently: what makes no event, and what is in
conflict with the event stored under its id, is kept with its reason. A second report of one call by another
instrument mostly differs in detail only (it knows of no cached tokens, or names the model by its alias): where it comes
to the same tokens in the same conversation it is a duplicate.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from api.json_faults import BadJson
from api.metrics import count_verdicts
from api.strict_json import convert
from metering.catalogue import provider_of_model
from metering.doors.foreign_calls import ForeignCall
from metering.ingest import Verdict, ingest
from metering.models import Event
from metering.quarantine import Unusable, keep_unusable
from metering.reports import EventIn, Report, UnusableReport, read_report

UNKNOWN_PROVIDER = "unknown"
"""Of a call that names none, by a model that no price list knows either; it is unpriced until somebody prices it."""
NO_CUSTOMER = "customer: the call names none, and neither do the URL (?customer=) and the API key"


class DoorSender(NamedTuple):
    """Who sends: bound to one customer (its key), or not; whose calls are that name nobody; old events allowed?"""

    bound_to: str | None = None
    default_customer: str | None = None
    backfill: bool = False


def admit(calls: Sequence[ForeignCall], *, door: str, sender: DoorSender, now: dt.datetime) -> list[Verdict]:
    """Store what can be stored and quarantine the rest; one verdict each, in order. Raises IngestContended."""
    reports: list[Report] = []
    verdicts: dict[int, Verdict] = {}
    for index, call in enumerate(calls):
        name_customer(call, sender)
        _name_provider(call)
        try:
            reports.append(_report(index, call, sender, now))
        except UnusableReport as error:
            verdicts[index] = Verdict(index, call.id, "quarantined", str(error).removeprefix("/").removeprefix(": "))
    keep_unusable([_unusable(calls[index], door, why.detail) for index, why in verdicts.items()], now=now)
    if reports:
        verdicts |= {verdict.index: verdict for verdict in ingest(reports, now=now, door=door)}
        verdicts |= _settle_conflicts(calls, verdicts, door, now)
    count_verdicts(door, Counter(verdict.status for verdict in verdicts.values()))
    return [verdicts[index] for index in range(len(calls))]


def name_customer(call: ForeignCall, sender: DoorSender) -> None:
    """A key bound to a customer reports for that one alone, whoever a payload takes for its user."""
    if sender.bound_to is not None:
        call.fields["customer"] = sender.bound_to
    elif sender.default_customer is not None:
        call.fields.setdefault("customer", sender.default_customer)


def _name_provider(call: ForeignCall) -> None:
    if "model" in call.fields and "provider" not in call.fields:
        call.fields["provider"] = provider_of_model(call.fields["model"]) or UNKNOWN_PROVIDER


def _report(index: int, call: ForeignCall, sender: DoorSender, now: dt.datetime) -> Report:
    if call.fault:
        raise UnusableReport("", call.fault)
    if "customer" not in call.fields:
        raise UnusableReport("", NO_CUSTOMER)
    try:
        sent = convert(call.fields, EventIn)
    except BadJson as error:
        raise UnusableReport(*error.errors[0]) from error
    return read_report(index, sent, now=now, backfill=sender.backfill)


def _unusable(call: ForeignCall, door: str, reason: str) -> Unusable:
    fields = msgspec.to_builtins(call.fields)
    return Unusable(door, str(fields.get("customer", "")), call.id, reason, body=call.sent, event=fields)


def _settle_conflicts(
    calls: Sequence[ForeignCall], verdicts: Mapping[int, Verdict], door: str, now: dt.datetime
) -> dict[int, Verdict]:
    """New verdicts for conflicts: duplicates where only the detail differs, else kept for a reviewer."""
    conflicts = {index: calls[index] for index, verdict in verdicts.items() if verdict.status == "conflict"}
    if not conflicts:
        return {}
    stored = _stored(conflicts.values())
    same = {index for index, call in conflicts.items() if _is_same_call(call, stored.get(_key(call)))}
    keep_unusable(
        [
            _unusable(call, door, f"conflict: {verdicts[index].detail}")
            for index, call in conflicts.items()
            if index not in same
        ],
        now=now,
    )
    return {index: Verdict(index, calls[index].id, "duplicate", verdicts[index].detail) for index in same}


def _stored(calls: Any) -> dict[tuple[str, str], Event]:
    keys = {_key(call) for call in calls}
    events = Event.objects.filter(
        customer__key__in={customer for customer, _ in keys}, event_id__in={event_id for _, event_id in keys}
    ).select_related("customer")
    return {(event.customer.key, event.event_id): event for event in events}


def _key(call: ForeignCall) -> tuple[str, str]:
    return call.fields["customer"], call.id


def _is_same_call(call: ForeignCall, stored: Event | None) -> bool:
    if stored is None or stored.conversation != call.fields["conversation"]:
        return False
    usage = call.fields["usage"]
    context = usage["input_tokens"] + usage["cache_read_tokens"] + usage["cache_write_tokens"]
    return (context, usage["output_tokens"]) == (
        stored.input_tokens + stored.cache_read_tokens + stored.cache_write_tokens,
        stored.output_tokens,
    )
