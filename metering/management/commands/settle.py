"""`manage.py settle --as-of T`: fix the tier of every conversation that is due at T."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from tqdm import tqdm

from api.instants import add_as_of
from metering.settling import settle


class Command(BaseCommand):
    help = "Settle every conversation that is due, fixing its tier and supplier cost."

    def add_arguments(self, parser: CommandParser) -> None:
        add_as_of(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with tqdm(desc="settled", unit=" conversations", disable=None) as bar:
            settled = settle(as_of=options["as_of"], now=timezone.now(), progress=bar.update)
        self.stdout.write(f"{settled:,} conversations settled as of {options['as_of'].isoformat(timespec='seconds')}")
