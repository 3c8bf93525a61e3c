"""What came in by file? Each file of historical events, what became of its rows, and what its undo had to leave."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q
from django.utils.safestring import SafeString

from console.filters import by_state
from console.links import event_url, link
from console.read_only import ReadOnlyAdmin
from console.tables import table
from metering.models import Backfill, BackfilledEvent, BackfillReject

ROWS_SHOWN = 50


def states(now: Any) -> dict[str, Q]:
    """Whether a file is in, was only tried, was cut off, or was taken back."""
    for_good = Q(dry_run=False)
    return {
        "stored": for_good & Q(finished_at__isnull=False, undone_at=None),
        "unfinished": for_good & Q(finished_at=None),
        "undone": Q(undone_at__isnull=False),
        "dry run": Q(dry_run=True),
    }


class BackfillAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "started_at",
        "started_by",
        "rows",
        "accepted",
        "duplicate",
        "updated",
        "to_correct",
        "state",
    )
    list_filter = (by_state(states), "format")
    search_fields = ("name",)
    ordering = ("-id",)
    fields = (
        "name",
        "state",
        "format",
        "customer_key",
        "started_by",
        "started_at",
        "finished_at",
        "rows",
        "accepted",
        "duplicate",
        "updated",
        "conflict",
        "quarantined",
        "rejected",
        "conversations",
        "counted_before",
        "rejects",
        "undone_at",
        "removed",
        "restored",
        "kept",
        "kept_events",
    )

    @admin.display(description="State")
    def state(self, backfill: Backfill) -> str:
        if backfill.dry_run:
            return "dry run"
        if backfill.undone_at is not None:
            return "undone"
        return "stored" if backfill.finished_at is not None else "unfinished"

    @admin.display(description="To correct")
    def to_correct(self, backfill: Backfill) -> int:
        return backfill.rejected + backfill.conflict

    @admin.display(description="The first rows to correct")
    def rejects(self, backfill: Backfill) -> SafeString | str:
        rows = BackfillReject.objects.filter(backfill=backfill).defer("row").order_by("line")[:ROWS_SHOWN]
        told = [(row.line, row.event_id, row.status, row.pointer, row.reason) for row in rows]
        return table(("Line", "Id", "Status", "Field", "Reason"), told, numbers=["Line"]) if told else "none"

    @admin.display(description="The first events that the undo left")
    def kept_events(self, backfill: Backfill) -> SafeString | str:
        kept = BackfilledEvent.objects.filter(backfill=backfill).exclude(kept_because="").select_related("customer")
        told = [
            (row.customer, link(event_url(row.customer.key, row.event_id), row.event_id), row.kept_because)
            for row in kept.order_by("customer_id", "event_id")[:ROWS_SHOWN]
        ]
        return table(("Customer", "Event", "Because"), told) if told else "none"


def register(site: AdminSite) -> None:
    """Put the files on the desk."""
    site.register(Backfill, BackfillAdmin)
