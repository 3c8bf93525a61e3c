"""What does an event of Polar's ingestion API tell? Pure.

Only events with `_llm` metadata are model calls; `_cost` is not looked at.
"""

from collections.abc import Mapping
from typing import Any

from metering.doors.cloud_events import CONVERSATIONS, bucket_counts, disjoint
from metering.doors.foreign_calls import CannotBill, ForeignCall, call_of, first_text, instant, text

PROVIDERS = ("vendor", "provider")


def read_call(event: object) -> ForeignCall:
    """One event as a call."""
    return call_of(event, _read)


def _read(event: Mapping[str, Any], fields: dict[str, Any]) -> None:
    metadata = event.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    llm = metadata.get("_llm")
    llm = llm if isinstance(llm, Mapping) else {}
    for name, value in (
        ("id", text(event.get("external_id"), "external_id")),
        ("customer", first_text(event, ("external_customer_id", "customer_id"))),
        ("conversation", first_text(metadata, CONVERSATIONS)),
        ("provider", first_text(llm, PROVIDERS)),
        ("model", text(llm.get("model"), "metadata/_llm/model")),
    ):
        if value is not None:
            fields[name] = value.lower() if name == "provider" else value
    fields["occurred_at"] = instant(event.get("timestamp"), "timestamp")
    counts = bucket_counts(llm)
    if not counts:
        raise CannotBill("metadata/_llm: reports no tokens")
    fields["usage"] = disjoint(counts)
