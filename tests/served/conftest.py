"""A Parley served to the tests of a module, on a free port and a data directory that is thrown away."""

from collections.abc import Iterator

import pytest

from tests.served.serving import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for the whole module; on leaving it is stopped and must leave no process."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running
