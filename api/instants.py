"""How does a person name an instant on the command line? As RFC 3339 with an offset, never a naive time."""

import argparse
import datetime as dt

from django.utils import timezone


def read_instant(text: str) -> dt.datetime:
    """ "2026-12-01T00:00:00Z" as an aware time; for argparse."""
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-12-01T00:00:00Z") from None
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no offset; write {text}Z for UTC")
    return instant.astimezone(dt.UTC)


def add_as_of(parser: argparse.ArgumentParser) -> None:
    """The option --as-of, by default now."""
    parser.add_argument(
        "--as-of",
        type=read_instant,
        default=timezone.now(),
        metavar="TIME",
        help="RFC 3339 with an offset; default now",
    )
