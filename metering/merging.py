"""What does a second report of the same event mean? Pure.

The same call with larger usage is growth, with nothing larger a duplicate; another call under the same id is a
conflict and changes nothing. A merge is a join: each counter becomes the largest reported and `occurred_at` the
earliest, so that reports may arrive in any order. The fields a caller may learn late are joined as well: the
largest turn and attempt, an error over an ok, BYOK over not, the last outcome and feature in alphabetical order.
"""

from typing import Any

import msgspec

from metering.sittings import MeteredEvent

IDENTITY = ("conversation", "provider", "model", "kind")
COUNTERS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Merge(msgspec.Struct, frozen=True):
    """`status` is duplicate, updated or conflict; `event` the state afterwards; `changed` whether to store it."""

    status: str
    event: MeteredEvent
    changed: bool = False
    detail: str = ""


def merge(stored: MeteredEvent, sent: MeteredEvent) -> Merge:
    """Merge a report into the stored event. A corrected (voided, amended) event no longer takes reports."""
    if stored.corrected:
        return Merge("duplicate", stored)
    differing = [name for name in IDENTITY if getattr(stored, name) != getattr(sent, name)]
    greater = [name for name in COUNTERS if getattr(sent, name) > getattr(stored, name)]
    smaller = [name for name in COUNTERS if getattr(sent, name) < getattr(stored, name)]
    if differing or (greater and smaller):
        named = differing or [*greater, *smaller]
        return Merge("conflict", stored, detail="; ".join(_difference(name, stored, sent) for name in named))
    joined = _join(stored, sent)
    grown = "; ".join(_difference(name, stored, sent) for name in greater)
    return Merge("updated" if greater else "duplicate", joined, changed=joined != stored, detail=grown)


def _difference(name: str, stored: MeteredEvent, sent: MeteredEvent) -> str:
    return f"{name}: stored {getattr(stored, name)}, sent {getattr(sent, name)}"


def _join(stored: MeteredEvent, sent: MeteredEvent) -> MeteredEvent:
    joined = msgspec.structs.replace(
        stored,
        occurred_at=min(stored.occurred_at, sent.occurred_at),
        status="error" if "error" in (stored.status, sent.status) else "ok",
        attempt=max(stored.attempt, sent.attempt),
        turn=_later(stored.turn, sent.turn),
        outcome=_later(stored.outcome, sent.outcome),
        feature=_later(stored.feature, sent.feature),
        byok=stored.byok or sent.byok,
    )
    for name in COUNTERS:
        setattr(joined, name, max(getattr(stored, name), getattr(sent, name)))
    return joined


def _later(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
