"""The clock of these tests: a little after the captured requests were sent."""

from collections.abc import Iterator

import pytest
import time_machine

from api.keys import create_key
from tests.metering.doors.captured import NOW
from tests.rest import Caller


@pytest.fixture(autouse=True)
def then() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def bound_caller(db: None) -> Caller:
    """A client whose key may report for Bolt only."""
    return Caller(create_key("Bolt's own", ["ingest"], customer_key="bolt", now=NOW)[1])
