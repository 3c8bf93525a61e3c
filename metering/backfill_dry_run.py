"""What would become of a file's events, if it were stored? Judged as ingest judges, with the writing left out.

Nothing is locked: the file's own events, as they would be, are kept in a temporary table, so that a row can meet an
earlier one of the same file however far above it stands.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType

import msgspec
from django.db import connection

from metering import event_rows
from metering.backfill_effect import counted
from metering.ingest import Verdict, judge
from metering.payers import Payer, find_payers
from metering.reports import Report
from metering.sittings import MeteredEvent

TABLE = "metering_backfill_dry_run"
CREATE = f"""
CREATE TEMPORARY TABLE {TABLE} (customer_id uuid, event_id text COLLATE "C", conversation text, occurred_at timestamptz,
    event bytea NOT NULL, PRIMARY KEY (customer_id, event_id))"""
READ = f"""
SELECT event FROM {TABLE} t JOIN unnest(%s::uuid[], %s::text[]) k (customer_id, event_id)
  ON t.customer_id = k.customer_id AND t.event_id = k.event_id"""
KEEP = f"""
INSERT INTO {TABLE} SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::bytea[])
ON CONFLICT (customer_id, event_id) DO UPDATE SET occurred_at = excluded.occurred_at, event = excluded.event"""

_decode = msgspec.msgpack.Decoder(MeteredEvent).decode

Key = tuple[str, str]
"""A customer's key and an event id."""


class DryRun:
    """The events of a file as they would be by now. Inside a transaction, and one at a time on a connection."""

    def __enter__(self) -> "DryRun":
        with connection.cursor() as cursor:
            cursor.execute(CREATE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:  # otherwise the transaction takes it along
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {TABLE}")

    def judge(self, reports: Sequence[Report]) -> list[Verdict]:
        """What would become of each report."""
        payers = find_payers(report.customer for report in reports)
        before = self._known([one for one in reports if one.customer in payers], payers)
        current = dict(before)
        verdicts = [judge(report, payers, current) for report in reports]
        self._keep([event for key, event in current.items() if before.get(key) != event])
        return verdicts

    def effect(self) -> tuple[int, int]:
        """As `backfill_effect.effect_of`, of what would be stored."""
        return counted(TABLE, [])

    def _known(self, reports: Sequence[Report], payers: Mapping[str, Payer]) -> dict[Key, MeteredEvent]:
        """The events of these reports so far: as the file would have left them, or else as they are stored."""
        named = {payers[report.customer].id: report.customer for report in reports}
        keys = sorted({(payers[report.customer].id, report.event.event_id) for report in reports})
        events = {(named[one.customer_id], one.event_id): one for one in event_rows.look_up(keys)}
        with connection.cursor() as cursor:
            cursor.execute(READ, [[who for who, _ in keys], [event_id for _, event_id in keys]])
            ours = [_decode(packed) for (packed,) in cursor.fetchall()]
        return events | {(named[one.customer_id], one.event_id): one for one in ours}

    def _keep(self, events: Sequence[MeteredEvent]) -> None:
        if events:
            rows = [
                (one.customer_id, one.event_id, one.conversation, one.occurred_at, msgspec.msgpack.encode(one))
                for one in events
            ]
            with connection.cursor() as cursor:
                cursor.execute(KEEP, [list(column) for column in zip(*rows, strict=True)])
