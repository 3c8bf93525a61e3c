"""Makes an API key and prints it, once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from api.keys import TooMuchForOneCustomer, UnknownScope, create_key
from api.models import SCOPES
from api.rate_limits import UnreadableRateLimit, read_rate_limit


class Command(BaseCommand):
    help = "Makes an API key. The key alone goes to standard output; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the key is for, shown to operators")
        parser.add_argument("--scopes", required=True, help=f"comma-separated: {', '.join(SCOPES)}")
        parser.add_argument(
            "--rate-limit", default="", help="per second: events=500,burst=5000,requests=50 or a part of it"
        )
        parser.add_argument("--customer", help="key of the only customer this API key reports for (scope ingest)")

    def handle(self, *args: Any, name: str, scopes: str, rate_limit: str, customer: str | None, **options: Any) -> None:
        wanted = [scope.strip() for scope in scopes.split(",")]
        try:
            limit = read_rate_limit(rate_limit)
            _, plain = create_key(name, wanted, customer_key=customer, rate_limit=limit, now=timezone.now())
        except (UnknownScope, TooMuchForOneCustomer, UnreadableRateLimit) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(plain)
