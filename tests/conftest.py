"""What all tests share. Their database is started by tests/embedded_database.py."""

import os

import pytest
from hypothesis import settings

from api import keys
from tests.rest import ALL_SCOPES, LONG_AGO, Caller

# The same examples every time, so that a run can be repeated, and however long they take: machines are noisy.
# PARLEY_EXAMPLES asks some tests for so many new ones.
settings.register_profile("untimed", deadline=None)
settings.register_profile("repeatable", settings.get_profile("untimed"), derandomize=True, database=None)
settings.load_profile("untimed")
if "PARLEY_EXAMPLES" not in os.environ:
    settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_remembered_keys():
    keys._cache.clear()


@pytest.fixture
def caller(db):
    """caller("read") is a client whose key has that scope; caller() has all of them."""

    def make(*scopes: str) -> Caller:
        return Caller(keys.create_key("Acme's backend", scopes or ALL_SCOPES, now=LONG_AGO)[1])

    return make
