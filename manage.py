#!/usr/bin/env python
"""Runs Parley's commands (`manage.py help` lists them).

Where DATABASE_URL is not set, a command that needs a database runs inside a session of the embedded PostgreSQL.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

NEED_NO_DATABASE = {
    "check",
    "collectstatic",
    "diffsettings",
    "findstatic",
    "help",
    "makemigrations",
    "replay",
    "version",
}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    named = option("--data", sys.argv) if sys.argv[1:2] == ["serve"] else None
    data_dir = Path(named or os.environ.get("PARLEY_DATA") or Path(__file__).parent / ".parley")
    os.environ["PARLEY_DATA"] = str(data_dir.resolve())
    with database(data_dir):
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)


def database(data_dir: Path) -> AbstractContextManager[None]:
    """What must be open while the command runs. Django reads DATABASE_URL when it loads, so it is set before."""
    wants_help = {"--help", "-h", "--version"} & set(sys.argv)
    if os.environ.get("DATABASE_URL") or wants_help or not sys.argv[1:] or sys.argv[1] in NEED_NO_DATABASE:
        return nullcontext()
    from config.embedded_postgres import EmbeddedPostgres

    server = EmbeddedPostgres(data_dir)
    os.environ["DATABASE_URL"] = server.url
    return server.session()


def option(name: str, arguments: list[str]) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE`."""
    for position, word in enumerate(arguments):
        if word == name and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


if __name__ == "__main__":
    main()
