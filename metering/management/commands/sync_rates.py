"""Copies new supplier rates from the genai-prices catalogue as dated rows; never changes a row that is there."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from metering.catalogue import sync_rates


class Command(BaseCommand):
    help = "Append the catalogue's new supplier prices to the rate book."

    def handle(self, *args: Any, **options: Any) -> None:
        added = sync_rates(now=timezone.now())
        self.stdout.write(f"{added} new supplier rates")
