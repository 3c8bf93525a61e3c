"""What all tests share. Their database is started by tests/embedded_database.py."""

import pytest

from api import keys
from tests.rest import ALL_SCOPES, LONG_AGO, Caller


@pytest.fixture(autouse=True)
def no_remembered_keys():
    keys._cache.clear()


@pytest.fixture
def caller(db):
    """caller("read") is a client whose key has that scope; caller() has all of them."""

    def make(*scopes: str) -> Caller:
        return Caller(keys.create_key("Acme's backend", scopes or ALL_SCOPES, now=LONG_AGO)[1])

    return make
