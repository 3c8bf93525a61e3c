"""Makes an API key and prints it, once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from api.keys import TooMuchForOneCustomer, UnknownScope, create_key
from api.models import SCOPES


class Command(BaseCommand):
    help = "Makes an API key. The key alone goes to standard output; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the key is for, shown to operators")
        parser.add_argument("--scopes", required=True, help=f"comma-separated: {', '.join(SCOPES)}")
        parser.add_argument("--customer", help="key of the only customer this API key reports for (scope ingest)")

    def handle(self, *args: Any, name: str, scopes: str, customer: str | None, **options: Any) -> None:
        wanted = [scope.strip() for scope in scopes.split(",")]
        try:
            _, plain = create_key(name, wanted, customer_key=customer, now=timezone.now())
        except (UnknownScope, TooMuchForOneCustomer) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(plain)
