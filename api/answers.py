"""How does an answer become bytes? JSON with decimals as plain strings ("0.000001", never "1E-6") and times in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import msgspec


@dataclass(frozen=True)
class Answer:
    """What a view returns when the value alone does not say it all; None takes what the operation declares."""

    value: object = None
    status: int | None = None
    location: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def encode(value: object) -> bytes:
    """`value` (structs, dicts, lists, dates, decimals ...) as JSON."""
    plain = msgspec.to_builtins(value, builtin_types=(Decimal, datetime), str_keys=True)
    return msgspec.json.encode(_spell_out(plain))


_AS_IT_IS = frozenset({str, int, bool, float, type(None)})
"""What most of an answer consists of."""


def _spell_out(value: object) -> object:
    match value:
        case dict():  # a call for each of its values would take as long as all the rest
            return {key: part if type(part) in _AS_IT_IS else _spell_out(part) for key, part in value.items()}
        case list() | tuple():
            return [_spell_out(part) for part in value]
        case Decimal():
            return format(value, "f")
        case datetime():
            if value.tzinfo is None:
                raise ValueError("a time without a zone cannot be answered")
            return value.astimezone(UTC)
    return value
