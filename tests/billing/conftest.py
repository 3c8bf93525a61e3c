"""Databases and sessions for the billing tests: those of metering; and somebody without a key."""

from collections.abc import Callable

import pytest

from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates, sessions
from tests.rest import Caller

__all__ = ["committed", "default_scheme_afterwards", "no_remembered_rates", "sessions"]


@pytest.fixture
def stranger_status(db: None) -> Callable[..., int]:
    """What somebody without a key gets."""

    def call(url: str, *, post: bool = False) -> int:
        stranger = Caller(None)
        return int((stranger.post(url, {}) if post else stranger.get(url)).status_code)

    return call
