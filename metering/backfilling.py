"""How do files of historical events come in, and what would become of one? The same reading and judging for both.

A file is stored in batches, each in a transaction with its provenance, its rejected rows and its counters; a run that
was killed goes on where it stopped when the same file is sent again. A dry run judges all rows by the merge that
ingest uses, against what is stored and its own earlier rows (kept in a temporary table), locks nothing, and stores its
report.
"""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.db import transaction

from metering.backfill_dry_run import DryRun
from metering.backfill_effect import effect_of
from metering.backfill_provenance import ingest_noted
from metering.backfill_reading import EventFile, Row, Survey, batches, survey
from metering.ingest import QUARANTINED, UNKNOWN, Verdict
from metering.models import Backfill, BackfillReject
from metering.payers import find_payers
from metering.quarantine import quarantine
from metering.reports import Report, UnusableReport, read_report

STATUSES = ("accepted", "duplicate", "updated", "conflict", "quarantined", "rejected")
NEED_A_PERSON = ("rejected", "conflict")
DOOR = "backfill"
MAX_TEXT = 1_000

Clock = Callable[[], dt.datetime]
"""Tells the time of each batch: a long file is not stored at the instant at which it began."""


class RunsElsewhere(Exception):
    """Another run is storing the same file, or it was undone meanwhile; what this run had stored stays noted."""


class Batch(NamedTuple):
    """The rows of a batch that make events, as reports, and verdicts on those that do not; indexes are into `rows`."""

    rows: Sequence[Row]
    reports: list[Report]
    rejected: list[Verdict]


def backfill(
    file: EventFile,
    *,
    dry_run: bool,
    by: str,
    clock: Clock,
    admit: Callable[[int], object] = lambda rows: None,
    progress: Callable[[int], object] = lambda rows: None,
) -> Backfill:
    """Store a file, or say what would become of it; its report. Not inside a transaction, for a file of any size.

    `by` is who sends it; `admit` is called with the number of all rows before anything is stored, and may raise;
    `progress` with those of each batch. Raises UnusableFile (nothing was stored), RunsElsewhere, IngestContended (send
    it again).
    """
    found = survey(file)
    admit(found.rows)
    if dry_run:
        with transaction.atomic():
            return _try(file, found, by=by, clock=clock, progress=progress)
    record = _begun(file, found, by=by, now=clock())
    for rows in batches(file, skip=record.rows):
        now = clock()
        with transaction.atomic():
            _hold(record)
            batch = read_batch(rows, now=now)
            _add(record, batch, _store(record, batch, now))
        progress(len(rows))
    with transaction.atomic():
        _hold(record)
        _finish(record, *effect_of(record.id), now=clock())
    return record


def read_batch(rows: Sequence[Row], *, now: dt.datetime) -> Batch:
    """Rows as reports, as far as they make any."""
    batch = Batch(rows, [], [])
    for index, row in enumerate(rows):
        try:
            if row.sent is None:
                assert row.fault is not None
                raise UnusableReport(row.fault.pointer, row.fault.detail)
            batch.reports.append(read_report(index, row.sent, now=now, backfill=True))
        except UnusableReport as error:
            batch.rejected.append(Verdict(index, row.event_id, "rejected", error.detail, error.pointer))
    return batch


# --- for good -------------------------------------------------------------------------------------------------------


def _begun(file: EventFile, found: Survey, *, by: str, now: dt.datetime) -> Backfill:
    """The unfinished run of the same file, or a new one."""
    unfinished = Backfill.objects.filter(
        content_sha256=found.sha256,
        customer_key=file.customer,
        mapping=dict(file.mapping),
        format=file.format,
        dry_run=False,
        finished_at=None,
    )
    return unfinished.order_by("id").last() or _record(file, found, dry_run=False, by=by, now=now)


def _record(file: EventFile, found: Survey, *, dry_run: bool, by: str, now: dt.datetime) -> Backfill:
    return Backfill.objects.create(
        name=_storable(file.name),
        format=file.format,
        content_sha256=found.sha256,
        customer_key=file.customer,
        mapping=dict(file.mapping),
        columns=found.head,
        dry_run=dry_run,
        started_by=by,
        started_at=now,
    )


def _hold(record: Backfill) -> None:
    """Lock the run until the transaction ends. Raises RunsElsewhere if it is no longer as this process left it."""
    current = Backfill.objects.select_for_update().get(pk=record.pk)
    if current.rows != record.rows or current.finished_at is not None:
        raise RunsElsewhere(f"{record.name} is being stored by another run, or was undone; see its report")


def _store(record: Backfill, batch: Batch, now: dt.datetime) -> list[Verdict]:
    payers = find_payers(report.customer for report in batch.reports)
    strangers = [report for report in batch.reports if report.customer not in payers]
    quarantine(strangers, reason=UNKNOWN, now=now, door=DOOR, backfill=record)
    verdicts = [Verdict(one.index, one.event.event_id, QUARANTINED, UNKNOWN, "/customer") for one in strangers]
    known = [report for report in batch.reports if report.customer in payers]
    return verdicts + (ingest_noted(known, record.id, now=now) if known else [])


# --- not for good ---------------------------------------------------------------------------------------------------


def _try(
    file: EventFile,
    found: Survey,
    *,
    by: str,
    clock: Clock,
    progress: Callable[[int], object],
) -> Backfill:
    record = _record(file, found, dry_run=True, by=by, now=clock())
    with DryRun() as dry_run:
        for rows in batches(file):
            batch = read_batch(rows, now=clock())
            _add(record, batch, dry_run.judge(batch.reports))
            progress(len(rows))
        _finish(record, *dry_run.effect(), now=clock())
    return record


# --- its report -----------------------------------------------------------------------------------------------------


def _add(record: Backfill, batch: Batch, verdicts: Sequence[Verdict]) -> None:
    """Count a batch, and keep the rows that need a person."""
    verdicts = [*verdicts, *batch.rejected]
    counts = Counter(verdict.status for verdict in verdicts)
    for status in STATUSES:
        setattr(record, status, getattr(record, status) + counts[status])
    record.rows += len(batch.rows)
    record.save(update_fields=["rows", *STATUSES])
    BackfillReject.objects.bulk_create(
        _reject(record.id, batch.rows[verdict.index], verdict)
        for verdict in verdicts
        if verdict.status in NEED_A_PERSON
    )


def _reject(backfill_id: uuid.UUID, row: Row, verdict: Verdict) -> BackfillReject:
    return BackfillReject(
        backfill_id=backfill_id,
        line=row.line,
        event_id=_storable(row.event_id),
        status=verdict.status,
        pointer=_storable(verdict.pointer or ""),
        reason=_storable(verdict.detail),
        row=row.raw,
    )


def _storable(text: str) -> str:
    """What a row says of itself may hold anything; PostgreSQL takes no NUL and no half of a surrogate pair."""
    return text[:MAX_TEXT].encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _finish(record: Backfill, conversations: int, counted_before: int, *, now: dt.datetime) -> None:
    record.conversations, record.counted_before, record.finished_at = conversations, counted_before, now
    record.save(update_fields=["conversations", "counted_before", "finished_at"])
