"""Sends files of events (NDJSON, one event of the REST contract a line) to a Parley server, through its REST API."""

import datetime as dt
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from metering.replay_customers import create_customer, currency_of
from metering.replay_run import Replay
from metering.replaying import ORDERS, Source, Survey, batches, survey
from parley_client import Api, RequestRefused, ServerSilent
from parley_client.api import MAX_EVENTS

LONGEST_DELAY_S = 5.0
REMARKS_SHOWN = 10
WRONG = ("conflict", "rejected")


class Command(BaseCommand):
    help = "Send events from NDJSON files (.gz too, - is standard input) through POST /v1/events. Safe to repeat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE")
        parser.add_argument("--url", help="of the server (default: $PARLEY_URL, or what serve wrote down)")
        parser.add_argument("--key", help="API key with the scopes needed (default: $PARLEY_KEY)")
        parser.add_argument("--create-customers", metavar="PLAN", help="make missing customers, on this plan")
        parser.add_argument(
            "--shift-to", type=dt.date.fromisoformat, metavar="DATE", help="new day (UTC) of the last event"
        )
        parser.add_argument("--batch", type=int, default=MAX_EVENTS, help="events in a request")
        parser.add_argument("--connections", type=int, default=2)
        parser.add_argument("--order", choices=ORDERS, default="forward", help="in which lines are sent")
        parser.add_argument("--patience", type=float, default=60.0, metavar="S", help="with a silent server")

    def handle(self, *args: Any, files: list[str], batch: int, connections: int, **options: Any) -> None:
        if not 1 <= batch <= MAX_EVENTS or connections < 1:
            raise CommandError(f"--batch is 1 to {MAX_EVENTS}, --connections at least 1")
        apis = connect(options["url"], options["key"], options["patience"], connections)
        with tempfile.TemporaryDirectory() as spool, ExitStack() as connected:
            for api in apis:
                connected.callback(api.close)
            sources = open_sources(files, Path(spool))
            try:
                found = survey(sources)
            except (OSError, EOFError) as error:
                raise CommandError(f"cannot read: {error}") from error
            days = found.days_to(options["shift_to"]) if options["shift_to"] else 0
            if plan := options["create_customers"]:
                self.create_customers(apis[0], found, plan, days)
            pieces = batches(sources, size=batch, order=options["order"], shift_days=days)
            replay = Replay(found)
            replay.run(apis, pieces)
        self.report(replay)

    def create_customers(self, api: Api, found: Survey, plan: str, days: int) -> None:
        created = 0
        try:
            currency = currency_of(api, plan)
            for key, first in sorted(found.first_seen.items()):
                starts_at = start_of_month(first + dt.timedelta(days=days))
                created += create_customer(api, key, currency=currency, plan=plan, starts_at=starts_at)
        except (ServerSilent, RequestRefused) as error:
            raise CommandError(f"{error}\nNo event was sent; {created} customers were created.") from error
        self.stdout.write(
            f"Customers: {created} created on {plan}, {len(found.first_seen) - created} left as they were."
        )

    def report(self, replay: Replay) -> None:
        self.stdout.write(replay.table())
        for remark in [remark for remark in replay.remarks if remark.status in WRONG][:REMARKS_SHOWN]:
            self.stdout.write(f"{remark.source}:{remark.line} {remark.id} {remark.status}: {remark.detail}")
        if waiting := replay.total("quarantined"):
            self.stdout.write(f"{waiting:,} events wait in quarantine until their customers exist.")
        if replay.failure is not None:
            acknowledged = f"{replay.total():,} of {replay.found.events.total():,} events were acknowledged"
            raise CommandError(f"{replay.failure}\n{acknowledged}; replaying all of them again is harmless.")
        if wrong := {status: replay.total(status) for status in WRONG if replay.total(status)}:
            raise CommandError(", ".join(f"{number:,} {status}" for status, number in wrong.items()))


def connect(url: str | None, key: str | None, patience_s: float, connections: int) -> list[Api]:
    url = url or os.environ.get("PARLEY_URL") or served_url()
    key = key or os.environ.get("PARLEY_KEY")
    if url is None:
        raise CommandError("no server runs on this data directory: name one by --url or PARLEY_URL")
    if key is None:
        raise CommandError("name an API key by --key or PARLEY_KEY; `manage.py create_api_key` makes one")
    try:
        return [Api(url, key, patience_s=patience_s, longest_delay_s=LONGEST_DELAY_S) for _ in range(connections)]
    except ValueError as error:
        raise CommandError(str(error)) from error


def served_url() -> str | None:
    """Where `manage.py serve` says it listens."""
    try:
        return str(json.loads((Path(settings.DATA_DIR) / "serve.json").read_text())["url"])
    except FileNotFoundError:
        return None


def open_sources(files: list[str], spool: Path) -> list[Source]:
    """The files, under their short names where these differ; standard input, read only once, is kept in `spool`."""
    if "-" in files:
        with (spool / "stdin").open("wb") as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
    paths = {name: spool / "stdin" if name == "-" else Path(name) for name in files}
    short = {name: "-" if name == "-" else path.name for name, path in paths.items()}
    alone = len({*short.values()}) == len(short)
    return [Source(short[name] if alone else name, path) for name, path in paths.items()]


def start_of_month(instant: dt.datetime) -> dt.datetime:
    return instant.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
