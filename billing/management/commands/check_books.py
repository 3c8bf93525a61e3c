"""`manage.py check_books`: every invariant of the books, as a query; exits 1 if any does not hold."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing.books import INVARIANTS, Invariant, UnknownInvariant, Violation, check


class Command(BaseCommand):
    help = "Look for anything in the books that cannot be: every invariant as a query. Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only",
            action="append",
            metavar="NAME",
            help="look at this invariant alone; may be given several times",
        )
        parser.add_argument("--list", action="store_true", help="say what the invariants are, and look at none")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            for invariant in INVARIANTS:
                self.stdout.write(f"{invariant.name}: {invariant.promise}")
            return
        only: list[str] | None = options["only"]
        try:
            violations = check(timezone.now(), only=only, progress=self._begin)
        except UnknownInvariant as error:
            raise CommandError(f"There is no invariant {error}; --list says which there are.") from error
        for violation in violations:
            self._show(violation)
        looked_at = len(INVARIANTS if only is None else set(only))
        if violations:
            rows = sum(violation.found for violation in violations)
            raise CommandError(f"{len(violations)} of {looked_at} invariants do not hold, in {rows:,} rows")
        self.stdout.write(f"{looked_at} invariants hold")

    def _begin(self, invariant: Invariant) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"checking {invariant.name}", self.style.NOTICE)

    def _show(self, violation: Violation) -> None:
        self.stdout.write(f"{violation.invariant.name}: {violation.found:,} rows. {violation.invariant.promise}")
        for row in violation.rows:
            self.stdout.write("  " + "  ".join(f"{name}={value}" for name, value in row.items()))
        if violation.found > len(violation.rows):
            self.stdout.write(f"  ... and {violation.found - len(violation.rows):,} more")
