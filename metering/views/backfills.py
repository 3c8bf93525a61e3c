"""`/v1/backfills`: files of historical events come in, tell what became of every row, and are taken back."""

import csv
import io
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Annotated

from django.http import StreamingHttpResponse
from django.utils import timezone
from msgspec import Meta
from rest_framework.request import Request

from api.bodies import read_body
from api.endpoints import Answer, Endpoint, operation, require_scope
from api.models import ApiKey
from api.pagination import Page, PageQuery, paginated
from api.problems import not_found, unsupported_media_type
from api.rate_limits import require_admission
from api.strict_json import BadJson, Body, decode
from metering.backfill_columns import UnusableFile
from metering.backfill_reading import CSV, NDJSON, EventFile
from metering.backfill_rejects import rejected_rows
from metering.backfill_undo import BackfillNotFound, NothingToUndo, undo_backfill
from metering.backfilling import RunsElsewhere, backfill
from metering.ingest import IngestContended
from metering.models import Backfill
from metering.reports import Reference
from metering.views.backfill_reports import BackfillOut, BackfillReport, backfill_out, report_of

FILE_LIMIT = 8 * 1024 * 1024
"""Of a file in one request, packed and unpacked; larger ones are split, or go by the command."""
FORMATS = {"text/csv": CSV, "application/x-ndjson": NDJSON, "application/ndjson": NDJSON, "application/jsonl": NDJSON}


class UploadQuery(Body, kw_only=True):
    """How to take the file: only try it, what to call it, whose the rows without a customer are, what columns mean."""

    dry_run: bool = False
    name: Annotated[str, Meta(min_length=1, max_length=200)] = "upload"
    customer: Reference | None = None
    mapping: Annotated[str, Meta(max_length=4000, description='{"column of the file": "field", ...}')] | None = None


UPLOAD_PROBLEMS: dict[type[Exception], int] = {UnusableFile: 400, RunsElsewhere: 409, IngestContended: 503}


class Backfills(Endpoint):
    """`/v1/backfills`"""

    @operation(
        scope="backfill",
        query=UploadQuery,
        returns=BackfillReport,
        status=201,
        idempotent=False,
        atomic=False,
        reads_body=False,
        problems=UPLOAD_PROBLEMS,
        summary="Store a file of historical events, or try it",
        description="The body is the file: text/csv or application/x-ndjson, up to 8 MiB, optionally packed with gzip. "
        "Sending a file again is harmless: events are stored once, and a run that was cut off goes on.",
    )
    def post(self, request: Request, query: UploadQuery) -> Answer:
        key = require_scope(request, "backfill")
        format = _format(request)
        body = read_body(request, FILE_LIMIT)
        file = EventFile(
            query.name,
            format,
            lambda: io.BytesIO(body),
            query.customer or "",
            _mapping(query.mapping),
        )
        record = backfill(
            file, dry_run=query.dry_run, by=str(request.auth), clock=timezone.now, admit=partial(_admit, key)
        )
        return Answer(report_of(record), location=f"/v1/backfills/{record.id}")

    @operation(scope="read", query=PageQuery, returns=Page[BackfillOut], summary="List backfills")
    def get(self, request: Request, query: PageQuery) -> Page[BackfillOut]:
        return paginated(request, Backfill.objects.all(), to_json=backfill_out, limit=query.limit, cursor=query.cursor)


class OneBackfill(Endpoint):
    """`/v1/backfills/{id}`"""

    @operation(scope="read", returns=BackfillReport, summary="Read the report on a file")
    def get(self, request: Request, backfill_id: uuid.UUID) -> BackfillReport:
        return report_of(_get(backfill_id))


class BackfillRejects(Endpoint):
    """`/v1/backfills/{id}/rejects.csv`"""

    @operation(
        scope="read",
        summary="Download the rows to be put right",
        description="In the columns of the file, with what is wrong beside: correct the rows and send it again.",
    )
    def get(self, request: Request, backfill_id: uuid.UUID) -> StreamingHttpResponse:
        response = StreamingHttpResponse(_csv(_get(backfill_id)), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="backfill-{backfill_id}-rejects.csv"'
        return response


class UndoneBackfill(Endpoint):
    """`/v1/backfills/{id}/undo`"""

    @operation(
        scope="backfill",
        returns=BackfillReport,
        idempotent=False,
        atomic=False,
        problems={BackfillNotFound: 404, NothingToUndo: 409},
        summary="Take a file back",
        description="What it made is removed, what it changed is as before, and its ids may be used again. Events that "
        "somebody else has touched since are kept and named; undoing again tries these again.",
    )
    def post(self, request: Request, backfill_id: uuid.UUID) -> BackfillReport:
        return report_of(undo_backfill(backfill_id, clock=timezone.now))


def _admit(key: ApiKey, rows: int) -> None:
    """Count the rows of a file, or refuse them; the request itself has been counted. Raises Problem 429."""
    require_admission(key, events=rows, requests=0, now_s=time.monotonic())


def _csv(record: Backfill) -> Iterator[bytes]:
    """A line at a time; bytes that were no UTF-8 go back as they came."""
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in rejected_rows(record):
        writer.writerow(cells)
        yield line.getvalue().encode(errors="surrogateescape")
        line.seek(0)
        line.truncate()


def _format(request: Request) -> str:
    media_type, _, parameters = request.META.get("CONTENT_TYPE", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    format = FORMATS.get(media_type.strip().lower())
    if format is None or charset not in ("", "charset=utf-8"):
        raise unsupported_media_type("The content type must be text/csv or application/x-ndjson (in UTF-8).")
    return format


def _mapping(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    try:
        return decode(text.encode(), dict[str, str])
    except BadJson as error:
        raise UnusableFile(f"the mapping is no JSON object of texts: {error}") from error


def _get(backfill_id: uuid.UUID) -> Backfill:
    record = Backfill.objects.filter(pk=backfill_id).first()
    if record is None:
        raise not_found(f"There is no backfill {backfill_id}.")
    return record
