"""What `make serve` runs: the whole product on one machine, until Ctrl-C.

Web server, background worker with its scheduler and, without a Stripe key, the Stripe stand-in run under one
supervisor. The database is the one DATABASE_URL names or the embedded one, which manage.py has opened. Every state is
under the data directory.
"""

import fcntl
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils import timezone

from config import operator_login
from config.embedded_postgres import EmbeddedPostgres
from config.processes import Supervisor, kill_survivors
from config.programs import Addresses, PortTaken, choose_addresses, programs
from metering.catalogue import sync_rates

DEFAULT_PORT = 8000
WEB_WORKERS = 2
LOOK_EVERY_S = 0.1
LOOK_AT_DATABASE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 1.0


class Command(BaseCommand):
    help = "Run database, web server, worker and scheduler until Ctrl-C."
    requires_system_checks: list[str] = []  # `migrate` runs them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the web server; 0 takes a free one")
        parser.add_argument("--data", type=Path, help="where every state is kept (default: $PARLEY_DATA or .parley)")
        parser.add_argument("--workers", type=int, default=WEB_WORKERS, help="processes of the web server")

    def handle(self, *args: Any, **options: Any) -> None:
        data_dir = Path(settings.DATA_DIR).resolve()
        data_dir.mkdir(parents=True, exist_ok=True)
        with only_server_of(data_dir), noted_stop_signals() as received:
            self.say("Starting, which takes some seconds ...")
            if killed := kill_survivors(data_dir):
                self.say(f"Ended {killed} processes left by a server that was killed.")
            call_command("migrate", interactive=False, verbosity=0)
            sync_rates(timezone.now())
            if embedded_database(data_dir) is not None:
                operator_login.ensure_operator(data_dir)
            connections.close_all()
            try:
                addresses = choose_addresses(data_dir, options["port"])
            except PortTaken as taken:
                raise CommandError(str(taken)) from taken
            supervisor = Supervisor(programs(addresses, web_workers=options["workers"]), self.say)
            try:
                self.keep_running(supervisor, addresses, received)
            finally:
                addresses.withdraw()
                supervisor.stop()
                kill_survivors(data_dir)

    def keep_running(self, supervisor: Supervisor, addresses: Addresses, received: list[int]) -> None:
        database, ready = embedded_database(addresses.data_dir), False
        look_at_database_at_s = time.monotonic()
        while not received:
            now_s = time.monotonic()
            if database is not None and now_s >= look_at_database_at_s:
                database.start()
                look_at_database_at_s = now_s + LOOK_AT_DATABASE_EVERY_S
            supervisor.tend(now_s)
            if not ready and answers(addresses.url):
                ready = True
                addresses.publish()
                self.announce(addresses)
            time.sleep(LOOK_EVERY_S)
        self.say("Stopping ...")

    def announce(self, addresses: Addresses) -> None:
        self.say(f"Parley is at {addresses.url}/")
        login = addresses.data_dir / operator_login.FILE
        self.say(f"  console:  {addresses.url}/admin/" + (f" (login in {login})" if login.exists() else ""))
        self.say(f"  API docs: {addresses.url}/v1/docs")
        self.say(f"  data:     {addresses.data_dir}")
        self.say("Ctrl-C stops it.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


@contextmanager
def only_server_of(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's serve.lock; raises CommandError while another `serve` does."""
    descriptor = os.open(data_dir / "serve.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"Parley is already running on {data_dir}.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def noted_stop_signals() -> Iterator[list[int]]:
    """The Ctrl-C and SIGTERM received so far, instead of their usual effect."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = [signal.signal(number, lambda got, _: received.append(got)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)


def embedded_database(data_dir: Path) -> EmbeddedPostgres | None:
    """The embedded server if it is the database in use."""
    server = EmbeddedPostgres(data_dir)
    return server if server.url == os.environ.get("DATABASE_URL") else None


def answers(url: str) -> bool:
    """Whether a web server answers, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False
    return True
