"""Which rows of a file have to be put right and sent again? Those rejected or in conflict, in a form to be sent again.

Rows of CSV stand in the columns of their file; lines of NDJSON in one column that holds the event as JSON. What is
wrong stands beside, in columns that are skipped when the file is sent. Cells are those of the sender, unchanged.
"""

import json
from collections.abc import Iterator

from metering.backfill_columns import REMARKS, WHOLE_EVENT
from metering.backfill_reading import CSV
from metering.models import Backfill, BackfillReject


def rejected_rows(record: Backfill) -> Iterator[list[str]]:
    """The head, and a row for each; texts may hold halves of surrogate pairs where the file was no UTF-8."""
    is_csv = record.format == CSV
    own = [(place, name) for place, name in enumerate(record.columns) if name not in REMARKS]
    yield [*(name for _, name in own), *REMARKS] if is_csv else [WHOLE_EVENT, *REMARKS]
    for reject in BackfillReject.objects.filter(backfill=record).order_by("line").iterator(chunk_size=500):
        sent = bytes(reject.row)
        cells = _in_columns(json.loads(sent), own) if is_csv else [sent.decode(errors="surrogateescape")]
        yield [*cells, str(reject.line), reject.status, reject.pointer, reject.reason]


def _in_columns(cells: list[str], own: list[tuple[int, str]]) -> list[str]:
    """The cells under their heads; what has no head is lost, what has no cell is empty."""
    return [cells[place] if place < len(cells) else "" for place, _ in own]
