"""Where do the tests find a database? A throw-away embedded one, unless DATABASE_URL names another.

A plugin and not a part of conftest.py, because pytest-django loads the settings before any conftest is read.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.embedded_postgres import EmbeddedPostgres


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Processes of xdist inherit the variables, and with them the database, of the first process."""
    if "DATABASE_URL" not in os.environ:
        open_until_the_end = ExitStack()
        early_config.add_cleanup(open_until_the_end.close)
        directory = open_until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="parley-tests-"))
        server = EmbeddedPostgres(Path(directory), durable=False)
        open_until_the_end.enter_context(server.session())
        os.environ["DATABASE_URL"] = server.url
        os.environ["PARLEY_DATA"] = directory
        open_until_the_end.callback(os.environ.pop, "DATABASE_URL")
    return (yield)
