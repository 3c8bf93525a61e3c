"""`manage.py fold`: folds stored events into their conversations, every two seconds, until it is told to stop."""

import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from django.utils import timezone

from metering.catching_up import LOST, fold_waiting

LAG_S, LEAST_PAUSE_S = 2.0, 0.1
"""From one fold to the end of the next, as long as that keeps up: the larger the windows, the less each event costs."""


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
        pause_s = LEAST_PAUSE_S
        while not stop.wait(pause_s):
            begin_s = time.monotonic()
            try:
                fold_waiting(now=timezone.now())
            except LOST as error:
                self.stderr.write(f"the database is not available: {error}")
                connection.close()
            pause_s = max(LEAST_PAUSE_S, LAG_S - (time.monotonic() - begin_s))
