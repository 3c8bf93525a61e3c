"""Ends an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from api.keys import revoke_key
from api.models import ApiKey


class Command(BaseCommand):
    help = "Ends an API key, everywhere within a second. Name it by its id: the part between pk_ and the secret."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="of the key, as in pk_<id>_<secret>; the console lists them")

    def handle(self, *args: Any, id: str, **options: Any) -> None:
        key = ApiKey.objects.filter(lookup_id=id).first()
        if key is None:
            raise CommandError(f"there is no API key with the id {id!r}")
        revoke_key(key, now=timezone.now())
        self.stdout.write(f"{key.name} is revoked")
