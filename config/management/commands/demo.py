"""`manage.py demo`: from nothing to a paid invoice, through a served Parley of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from config.demonstration import NotPaid, bill_text, demonstrate
from config.management.commands.serve import answers
from parley_client import RequestRefused, ServerSilent

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


class Command(BaseCommand):
    help = "A month of traffic through the REST API, settled, invoiced and paid in the Stripe sandbox; prints the bill."
    requires_system_checks: list[str] = []  # `migrate` runs them

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get("STRIPE_API_KEY"):
            raise CommandError("The demo charges a test card in the sandbox; unset STRIPE_API_KEY.")
        data_dir = Path(settings.DATA_DIR)
        data_dir.mkdir(parents=True, exist_ok=True)
        started_at_s = time.monotonic()
        self.say(f"Parley's state is kept in {data_dir}. Starting ...")
        call_command("migrate", interactive=False, verbosity=0)
        with served(data_dir) as url:
            try:
                invoice = demonstrate(url, say=self.say)
            except (NotPaid, RequestRefused, ServerSilent) as error:
                raise CommandError(f"{error} (logs: {data_dir / 'logs'})") from error
            self.say("")
            self.say(bill_text(invoice))
        self.say("")
        self.say(f"Done in {time.monotonic() - started_at_s:.0f} s. To look around: make serve, then")
        self.say(f"  console   http://127.0.0.1:8000/admin/   (login in {data_dir / 'console-login'})")
        self.say("  API docs  http://127.0.0.1:8000/v1/docs")
        self.say("  how the bill comes about: docs/pricing.md")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


@contextmanager
def served(data_dir: Path) -> Iterator[str]:
    """The URL of the Parley served from the data directory: the one that runs, else one for the time being."""
    if url := served_url(data_dir):
        yield url
        return
    command = [sys.executable, "manage.py", "serve", "--port", "0", "--data", str(data_dir)]
    with (data_dir / "demo-serve.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=log, stderr=log, start_new_session=True)
    try:
        yield wait_for_url(data_dir, server)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for_url(data_dir: Path, server: subprocess.Popen[bytes]) -> str:
    give_up_at_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_at_s and server.poll() is None:
        if url := served_url(data_dir):
            return url
        time.sleep(0.1)
    raise CommandError(f"The server did not start; see {data_dir / 'demo-serve.log'}")


def served_url(data_dir: Path) -> str | None:
    """Where a running `serve` says it is; one that was killed may have left its word behind."""
    try:
        url = str(json.loads((data_dir / "serve.json").read_text())["url"])
    except FileNotFoundError:
        return None
    return url if answers(url) else None
