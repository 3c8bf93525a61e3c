"""What does a file of historical events hold? Its rows one by one, whatever its size, CSV or NDJSON, gzip or not.

A row that makes no event is a fault of that row alone. Only what leaves no rows to speak of makes the whole file
unusable: a head that names no event, quotes that do not close, gzip that is torn. That is found by reading the file
through before anything of it is stored.
"""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from api.json_faults import BadJson, Fault
from api.strict_json import convert, decode_tree
from metering.backfill_columns import UnusableFile, delimiter_of, read_cells, read_head
from metering.reports import EventIn

CSV, NDJSON = "csv", "ndjson"
MAX_LINE_BYTES = 1024 * 1024
"""Of a line of NDJSON (characters, of a row of CSV); a longer one is rejected, and only its beginning kept."""
LONGEST_CELL = 16 * 1024 * 1024
"""Characters. What is longer shows a quote left open, which would take the rest of a large file into memory."""
BATCH_ROWS = 1_000
BATCH_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"

csv.field_size_limit(LONGEST_CELL)


@dataclass(frozen=True)
class EventFile:
    """A file and how it is to be read: `open` gives its bytes from the beginning, each time it is called.

    `customer` is whose the rows are that name nobody ("" for none); `mapping` names columns (of CSV) or top-level
    fields (of NDJSON) by ours, "" to skip one.
    """

    name: str
    format: str
    open: Callable[[], BinaryIO]
    customer: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)


class Survey(NamedTuple):
    """What reading a file through has shown: its digest, the heads of its columns, how many rows it has."""

    sha256: bytes
    head: list[str]
    rows: int


class Row(NamedTuple):
    """One row: the line on which it begins (the first is 1), the event or what is wrong with it, and what was sent."""

    line: int
    sent: EventIn | None
    fault: Fault | None
    event_id: str
    raw: bytes


def open_path(path: Path) -> BinaryIO:
    """A file on disk, unpacked if it is gzip, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


def format_of(name: str) -> str | None:
    """The format that a file's name tells, .gz left aside."""
    endings = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON}
    return endings.get(Path(name.lower().removesuffix(".gz")).suffix)


def survey(file: EventFile) -> Survey:
    """Read a file through. Raises UnusableFile."""
    sha256 = hashlib.sha256()
    try:
        with file.open() as bytes_:
            while piece := bytes_.read(1 << 16):
                sha256.update(piece)
        with file.open() as bytes_:
            if file.format == NDJSON:
                return Survey(sha256.digest(), [], sum(1 for _ in _lines(bytes_)))
            with _text(bytes_) as text:
                table = _Table(text, file)
                return Survey(sha256.digest(), table.head, sum(1 for _ in table.rows()))
    except (EOFError, OSError, zlib.error) as error:
        raise UnusableFile(f"cannot be read: {error}") from error


def batches(file: EventFile, *, skip: int = 0) -> Iterator[list[Row]]:
    """The rows after the first `skip`, in lists of at most BATCH_ROWS and about BATCH_BYTES."""
    batch: list[Row] = []
    size = 0
    with file.open() as bytes_:
        found = _csv_rows(bytes_, file) if file.format == CSV else _ndjson_rows(bytes_, file)
        for number, one in enumerate(found):
            if number < skip:
                continue
            batch.append(_row(one))
            size += len(one.raw)
            if len(batch) == BATCH_ROWS or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


class _Found(NamedTuple):
    """A row as it stands in the file: `event_id` where that is seen at once, and `read` for what JSON would hold."""

    line: int
    raw: bytes
    event_id: str
    read: Callable[[], Any]


def _row(found: _Found) -> Row:
    tree: Any = None
    try:
        tree = found.read()
        return Row(found.line, convert(tree, EventIn), None, tree["id"], found.raw)
    except BadJson as error:
        named = tree.get("id") if isinstance(tree, dict) else found.event_id
        return Row(found.line, None, error.errors[0], named if isinstance(named, str) else "", found.raw)


def _named(tree: Any, file: EventFile) -> Any:
    """With the customer it was sent for, where it names none."""
    return {"customer": file.customer} | tree if file.customer and isinstance(tree, dict) else tree


# --- CSV ------------------------------------------------------------------------------------------------------------


def _text(bytes_: BinaryIO) -> io.TextIOWrapper:
    """Bytes that are no UTF-8 are kept as they are, for a fault of their row alone."""
    return io.TextIOWrapper(bytes_, "utf-8-sig", errors="surrogateescape", newline="")


class _Table:
    """A CSV file behind its head."""

    def __init__(self, text: io.TextIOWrapper, file: EventFile) -> None:
        first = text.readline()
        self._reader = csv.reader(_again(first, text), delimiter=delimiter_of(first, file.mapping), strict=True)
        self.head = self._next() or []
        if not any(self.head):
            raise UnusableFile("has no head that names the columns", line=1)
        self.fields = read_head(self.head, file.mapping, has_customer=file.customer != "")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with the line on which it begins; rows without any value are none."""
        line = self._reader.line_num + 1
        while (cells := self._next()) is not None:
            if any(cells):
                yield line, cells
            line = self._reader.line_num + 1

    def _next(self) -> list[str] | None:
        line = self._reader.line_num + 1
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise UnusableFile(f"is not CSV (is a quote left open?): {error}", line=line) from error


def _again(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _csv_rows(bytes_: BinaryIO, file: EventFile) -> Iterator[_Found]:
    with _text(bytes_) as text:
        table = _Table(text, file)
        place = table.fields.index("id") if "id" in table.fields else len(table.fields)
        for line, cells in table.rows():
            whole = sum(map(len, cells)) <= MAX_LINE_BYTES
            kept = cells if whole else _beginnings(cells, len(table.fields))
            event_id = kept[place] if place < len(kept) else ""
            read = partial(_read_row, kept, table.fields, file, whole=whole)
            yield _Found(line, json.dumps(kept).encode(), event_id, read)


def _beginnings(cells: list[str], columns: int) -> list[str]:
    """Of each cell under a head, so much that the row takes no more room than a line that is too long."""
    return [cell[: MAX_LINE_BYTES // 16 // columns] for cell in cells[:columns]]


def _read_row(cells: list[str], fields: list[str], file: EventFile, *, whole: bool) -> Any:
    if not whole:
        raise BadJson([Fault("", f"the row is longer than {MAX_LINE_BYTES:,} characters")])
    return _named(read_cells(fields, cells), file)


# --- NDJSON ---------------------------------------------------------------------------------------------------------


def _lines(bytes_: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Each line that is not empty with its number, and whether it is whole."""
    number = 0
    while line := bytes_.readline(MAX_LINE_BYTES + 1):
        number += 1
        whole = line.endswith(b"\n") or len(line) <= MAX_LINE_BYTES
        rest = line
        while not rest.endswith(b"\n") and rest:
            rest = bytes_.readline(MAX_LINE_BYTES)
        text = line.removeprefix(_BOM if number == 1 else b"").strip()
        if text:
            yield number, text, whole


def _ndjson_rows(bytes_: BinaryIO, file: EventFile) -> Iterator[_Found]:
    for number, text, whole in _lines(bytes_):
        kept = text if whole else text[: MAX_LINE_BYTES // 16]
        yield _Found(number, kept, "", partial(_read_line, text, file, whole=whole))


def _read_line(text: bytes, file: EventFile, *, whole: bool) -> Any:
    if not whole:
        raise BadJson([Fault("", f"the line is longer than {MAX_LINE_BYTES:,} bytes")])
    tree = decode_tree(text)
    if not isinstance(tree, dict):
        return tree
    fields = [file.mapping.get(name, name) for name in tree]
    if twice := next((name for name in fields if name and fields.count(name) > 1), None):
        raise BadJson([Fault(f"/{twice}", "two fields are mapped to it")])
    return _named({name: value for name, value in zip(fields, tree.values(), strict=True) if name}, file)
