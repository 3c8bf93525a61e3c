"""Who calls in these tests besides `caller` (tests/conftest.py)."""

import pytest

from tests.rest import Caller


@pytest.fixture
def stranger(db):
    """Somebody without a key. With the database: closing an answer looks after connections that other tests opened."""
    return Caller(None)
