"""`manage.py undo_backfill ID`: take a file of historical events back, as far as nobody else has touched its events."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from metering.backfill_undo import BackfillNotFound, NothingToUndo, undo_backfill
from metering.models import BackfilledEvent

SHOWN = 10


class Command(BaseCommand):
    help = "Take a backfill back: what it made is removed, what it changed is as before, its ids are free again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backfill", type=uuid.UUID, metavar="ID")

    def handle(self, *args: Any, backfill: uuid.UUID, **options: Any) -> None:
        try:
            with tqdm(desc="undone", unit=" events", disable=None) as bar:
                record = undo_backfill(backfill, clock=timezone.now, progress=bar.update)
        except (BackfillNotFound, NothingToUndo) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{record.name}: {record.removed:,} events removed, {record.restored:,} as before")
        kept = BackfilledEvent.objects.filter(backfill=record).exclude(kept_because="").select_related("customer")
        for row in kept.order_by("customer_id", "event_id")[:SHOWN]:
            self.stdout.write(f"{row.customer.key} {row.event_id} stays: {row.kept_because}")
        if record.kept:
            raise CommandError(f"{record.kept:,} events stay, because somebody else touched them since")
