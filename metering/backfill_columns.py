"""Which event does a row of a CSV file stand for? Pure.

Columns are named as in the REST contract; token counts stand in columns of their own (input_tokens ...), provider_usage
holds JSON. An empty cell is an absent field. Values are as strict as in JSON: a whole number is digits without sign,
point or leading zero; only TRUE and FALSE are also taken as spreadsheets write them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from api.json_faults import BadJson, Fault
from api.strict_json import decode_tree
from metering.reports import EventIn, UsageIn

WHOLE_EVENT = "event"
"""The column of a file whose rows hold the event as JSON, as in the file of rejected lines of NDJSON."""
REMARKS = ("parley_line", "parley_status", "parley_pointer", "parley_reason")
"""Columns that we add to rejected rows; skipped when the file is sent again."""
SKIPPED = ""
"""The field of a column that is not read."""
TOKENS = UsageIn.__struct_fields__
WHOLE_NUMBERS = ("turn", "attempt", *TOKENS)
FIELDS = (*(name for name in EventIn.__struct_fields__ if name != "usage"), *TOKENS)
REQUIRED = ("id", "customer", "conversation", "occurred_at", "provider", "model")
DELIMITERS = ",;\t"
FLAGS = {"true": True, "false": False, "TRUE": True, "FALSE": False}
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class UnusableFile(ValueError):
    """The file cannot be read as a whole; nothing of it was stored."""

    def __init__(self, detail: str, *, line: int | None = None) -> None:
        super().__init__(detail if line is None else f"line {line}: {detail}")


def delimiter_of(head: str, mapping: Mapping[str, str]) -> str:
    """What parts the columns of a first line: the one that makes most names known; a comma in doubt."""
    known = {*FIELDS, WHOLE_EVENT, *mapping}
    return max(DELIMITERS, key=lambda mark: sum(name.strip('"\r\n') in known for name in head.split(mark)))


def read_head(head: Sequence[str], mapping: Mapping[str, str], *, has_customer: bool) -> list[str]:
    """The field that each column holds. Raises UnusableFile where a column is unknown, twice there, or missing.

    `mapping` names columns of the file by our fields ("" to skip one); `has_customer`: who is meant is said elsewhere.
    """
    if absent := [name for name in mapping if name not in head]:
        raise UnusableFile(f"there is no column {absent[0]!r}, which the mapping names", line=1)
    fields = [mapping.get(name, SKIPPED if name in REMARKS else name) for name in head]
    for name, field in zip(head, fields, strict=True):
        if field not in (*FIELDS, WHOLE_EVENT, SKIPPED):
            raise UnusableFile(f"{name!r} is no field of an event; name it so, or map it", line=1)
        if field != SKIPPED and fields.count(field) > 1:
            raise UnusableFile(f"two columns for {field}", line=1)
    if WHOLE_EVENT in fields:
        return fields
    required = [name for name in REQUIRED if not (has_customer and name == "customer")]
    if missing := [name for name in required if name not in fields]:
        raise UnusableFile(f"a column is missing: {', '.join(missing)}", line=1)
    if "provider_usage" not in fields and not {"input_tokens", "output_tokens"} <= {*fields}:
        raise UnusableFile("columns are missing: input_tokens and output_tokens, or provider_usage", line=1)
    return fields


def read_cells(fields: Sequence[str], cells: Sequence[str]) -> Any:
    """The event of a row as JSON would hold it, not yet checked as one. Raises BadJson."""
    if len(cells) != len(fields):
        raise BadJson([Fault("", f"has {len(cells)} cells, the head {len(fields)}")])
    given = {field: cell for field, cell in zip(fields, cells, strict=True) if field != SKIPPED and cell != ""}
    for field, cell in given.items():
        if "\0" in cell:
            raise BadJson([Fault(_pointer(field), "contains a NUL character")])
        if not cell.isascii() and any("\ud800" <= character <= "\udfff" for character in cell):
            raise BadJson([Fault(_pointer(field), "is not valid UTF-8")])
    if WHOLE_EVENT in fields:
        return decode_tree(given.get(WHOLE_EVENT, "").encode())
    read = {field: _value(field, cell) for field, cell in given.items()}
    tokens = {name: read.pop(name) for name in TOKENS if name in read}
    return read | {"usage": tokens} if tokens else read


def _value(field: str, cell: str) -> Any:
    if field in WHOLE_NUMBERS:
        if not _WHOLE.fullmatch(cell):
            raise BadJson([Fault(_pointer(field), f"must be a whole number in digits, not {cell[:40]!r}")])
        return int(cell)
    if field == "byok":
        if cell not in FLAGS:
            raise BadJson([Fault("/byok", f"must be true or false, not {cell[:40]!r}")])
        return FLAGS[cell]
    if field == "provider_usage":
        try:
            return decode_tree(cell.encode())
        except BadJson as error:
            raise BadJson([Fault("/provider_usage" + at, detail) for at, detail in error.errors]) from error
    return cell


def _pointer(field: str) -> str:
    return f"/usage/{field}" if field in TOKENS else f"/{field}"
