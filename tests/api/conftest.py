"""Who calls in these tests besides `caller` (tests/conftest.py)."""

import pytest

from tests.rest import Caller


@pytest.fixture
def stranger():
    return Caller(None)
