"""Which events are in files of NDJSON, and in which batches do they go to `POST /v1/events`?

Files are read twice, first to survey them and then to send, so that their size does not matter (but for the orders
`backward` and `shuffle`, which hold all lines in memory). A batch holds lines of one file, as they stand there.
"""

import datetime as dt
import gzip
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from parley_client.api import MAX_BODY_BYTES, body_length

ORDERS = ("forward", "backward", "shuffle")
SHUFFLE_SEED = 1  # the same disorder every time


class Source(NamedTuple):
    """A file to replay under the name it was given."""

    name: str
    path: Path


class Line(NamedTuple):
    """A line that is JSON; numbers count from 1."""

    number: int
    json: bytes


class Batch(NamedTuple):
    """Lines of one file that go in one request."""

    source: str
    lines: Sequence[Line]


class Unreadable(NamedTuple):
    """A line that is no JSON and is not sent, because it would spoil its batch."""

    source: str
    line: int
    detail: str


@dataclass
class Survey:
    """What the files hold: readable lines per file, each customer's first instant, the last instant of all."""

    events: Counter[str] = field(default_factory=Counter)
    first_seen: dict[str, dt.datetime] = field(default_factory=dict)
    last: dt.datetime | None = None
    unreadable: list[Unreadable] = field(default_factory=list)

    def days_to(self, day: dt.date) -> int:
        """By how many days everything moves for the last event to fall on `day` (UTC)."""
        return 0 if self.last is None else (day - self.last.date()).days


class _Glance(msgspec.Struct):
    customer: str
    occurred_at: dt.datetime


_glance = msgspec.json.Decoder(_Glance)


def survey(sources: Iterable[Source]) -> Survey:
    """Read all files through. Raises OSError and EOFError (a torn .gz)."""
    found = Survey()
    for source in sources:
        found.events[source.name] += 0
        for line in _lines(source.path):
            try:
                glance = _glance.decode(line.json)
            except msgspec.ValidationError:
                pass  # the server says what is wrong with it
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                found.unreadable.append(Unreadable(source.name, line.number, f"not JSON: {error}"))
                continue
            else:
                _note(found, glance)
            found.events[source.name] += 1
    return found


def batches(sources: Sequence[Source], *, size: int, order: str, shift_days: int) -> Iterator[Batch]:
    """The lines that are JSON, in batches of at most `size` events and under the size limit of a request."""
    if order == "forward":
        for source in sources:
            yield from _batches(source.name, _sent_lines(source, shift_days), size)
    elif order == "backward":
        for source in reversed(sources):
            yield from _batches(source.name, reversed([*_sent_lines(source, shift_days)]), size)
    else:
        disorder = random.Random(SHUFFLE_SEED)
        mixed: list[Batch] = []
        for source in sources:
            lines = [*_sent_lines(source, shift_days)]
            disorder.shuffle(lines)
            mixed += _batches(source.name, lines, size)
        disorder.shuffle(mixed)
        yield from mixed


def _note(found: Survey, glance: _Glance) -> None:
    if glance.occurred_at.tzinfo is None:
        return
    instant = glance.occurred_at.astimezone(dt.UTC)
    found.last = max(found.last or instant, instant)
    found.first_seen[glance.customer] = min(found.first_seen.get(glance.customer, instant), instant)


def _lines(path: Path) -> Iterator[Line]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if text := text.strip():
                yield Line(number, text)


def _sent_lines(source: Source, shift_days: int) -> Iterator[Line]:
    for line in _lines(source.path):
        try:
            event = msgspec.json.decode(line.json)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # reported by the survey
        yield Line(line.number, _shifted(event, shift_days)) if shift_days else line


def _shifted(event: object, days: int) -> bytes:
    if isinstance(event, dict) and isinstance(event.get("occurred_at"), str):
        try:
            instant = msgspec.convert(event["occurred_at"], dt.datetime)
            event["occurred_at"] = (instant + dt.timedelta(days=days)).isoformat()
        except (msgspec.ValidationError, OverflowError):
            pass  # no time: the server refuses it as it stands
    return msgspec.json.encode(event)


def _batches(source: str, lines: Iterable[Line], size: int) -> Iterator[Batch]:
    batch: list[Line] = []
    length = 0
    for line in lines:
        if batch and (len(batch) == size or body_length(length + len(line.json), len(batch) + 1) > MAX_BODY_BYTES):
            yield Batch(source, batch)
            batch, length = [], 0
        batch.append(line)
        length += len(line.json)
    if batch:
        yield Batch(source, batch)
