"""A door that answers, and clients that are closed when their test ends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from parley_client import Parley, Problem
from tests.clients.door import Door, open_door


@pytest.fixture
def door() -> Iterator[Door]:
    with open_door() as opened:
        yield opened


@pytest.fixture
def problems() -> list[Problem]:
    """What the clients of this test told."""
    return []


@pytest.fixture
def parley_at(problems: list[Problem]) -> Iterator[Callable[..., Parley]]:
    """parley_at(url, **options): a quick client, which tells `problems`."""
    with ExitStack() as opened:

        def make(url: str, **options: Any) -> Parley:
            client = Parley(url, "pk_test", **{"linger_s": 0.02, "listener": problems.append, **options})
            opened.callback(client.close, 0.5)
            return client

        yield make


@pytest.fixture
def parley(parley_at: Callable[..., Parley], door: Door) -> Parley:
    return parley_at(door.url)
