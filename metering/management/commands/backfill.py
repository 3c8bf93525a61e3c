"""`manage.py backfill FILE...`: store files of historical events (CSV or NDJSON, .gz too) in the database."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from metering.backfill_columns import UnusableFile
from metering.backfill_reading import CSV, NDJSON, EventFile, format_of, open_path
from metering.backfill_rejects import rejected_rows
from metering.backfilling import NEED_A_PERSON, STATUSES, RunsElsewhere, backfill
from metering.ingest import IngestContended
from metering.models import Backfill, BackfillReject
from plans.models import Customer

SHOWN = 10
WIDTH = 13


class Command(BaseCommand):
    help = "Store files of historical events. Safe to repeat: a run that was cut off goes on where it stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="only say what would become of every row")
        parser.add_argument("--customer", default="", metavar="KEY", help="whose the rows are that name no customer")
        parser.add_argument(
            "--mapping",
            action="append",
            default=[],
            metavar="COLUMN=FIELD",
            help="what a column of the file holds; nothing behind the = skips it",
        )
        parser.add_argument("--format", choices=(CSV, NDJSON), help="where the file's name does not tell")
        parser.add_argument("--rejects", type=Path, metavar="DIR", help="write the rows to be put right here")

    def handle(self, *args: Any, files: list[Path], mapping: list[str], **options: Any) -> None:
        if options["customer"] and not Customer.objects.filter(key=options["customer"], erased_at=None).exists():
            raise CommandError(f"there is no customer {options['customer']!r}")
        named = dict(column.rpartition("=")[::2] for column in mapping)
        if "" in named:
            raise CommandError("--mapping is COLUMN=FIELD")
        records = []
        try:
            for path in files:
                file = EventFile(
                    path.name, _format(path, options["format"]), partial(open_path, path), options["customer"], named
                )
                records.append(self.store(file, dry_run=options["dry_run"]))
        except (UnusableFile, RunsElsewhere, IngestContended) as error:
            raise CommandError(f"{path}: {error}") from error
        finally:
            self.report(records, options["rejects"])
        if wrong := sum(getattr(record, status) for record in records for status in NEED_A_PERSON):
            raise CommandError(f"{wrong:,} rows are to be put right and sent again")

    def store(self, file: EventFile, *, dry_run: bool) -> Backfill:
        # disable=None: no bar where nobody watches a terminal
        with tqdm(desc=file.name, unit=" rows", disable=None) as bar:
            return backfill(file, dry_run=dry_run, by="manage.py backfill", clock=timezone.now, progress=bar.update)

    def report(self, records: list[Backfill], rejects: Path | None) -> None:
        if not records:
            return
        width = max(len("file"), *(len(record.name) for record in records))
        self.stdout.write(f"{'file':<{width}}" + "".join(f"{head:>{WIDTH}}" for head in ("rows", *STATUSES)))
        for record in records:
            numbers = (record.rows, *(getattr(record, status) for status in STATUSES))
            self.stdout.write(f"{record.name:<{width}}" + "".join(f"{number:>{WIDTH},}" for number in numbers))
        for record in records:
            self.explain(record)
            if rejects is not None and BackfillReject.objects.filter(backfill=record).exists():
                self.write_rejects(record, rejects)

    def explain(self, record: Backfill) -> None:
        self.stdout.write(
            f"{record.name}: {record.conversations:,} conversations touched; {record.counted_before:,} events of "
            "time that was counted for a bill"
        )
        self.stdout.write("A dry run: nothing was stored." if record.dry_run else f"Backfill {record.id}")
        for row in BackfillReject.objects.filter(backfill=record).defer("row").order_by("line")[:SHOWN]:
            self.stdout.write(f"{record.name}:{row.line} {row.event_id} {row.status}: {row.pointer} {row.reason}")

    def write_rejects(self, record: Backfill, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{record.name.removesuffix('.gz')}.rejects.csv"
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows(rejected_rows(record))
        self.stdout.write(f"Rows to be put right: {path}")


def _format(path: Path, given: str | None) -> str:
    format = given or format_of(path.name)
    if format is None:
        raise CommandError(f"{path}: is it CSV or NDJSON? Say so by --format")
    return format
