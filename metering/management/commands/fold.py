"""`manage.py fold`: folds stored events into their conversations, a few times a second, until it is told to stop."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from django.db.utils import InterfaceError, OperationalError
from django.utils import timezone

from metering.catching_up import fold_waiting

PAUSE_S = 0.25
"""Between two folds. Longer makes each event cheaper, and conversations seen in passing (the console) older."""


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="fold what waits now, and end")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        if once:
            fold_waiting(now=timezone.now())
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(PAUSE_S):
            try:
                fold_waiting(now=timezone.now())
            except (OperationalError, InterfaceError) as error:
                self.stderr.write(f"the database is not available: {error}")
                connection.close()
                stop.wait(1.0)
