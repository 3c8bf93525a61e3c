"""Databases and sessions for the billing tests: those of metering; and somebody without a key."""

from collections.abc import Callable, Iterator

import pytest

from billing.books import check
from billing.books.credit_notes import CREDIT_NOTES
from billing.books.ledger import LEDGER
from billing.books.postings import POSTINGS
from billing.books.taxes import TAXES
from billing.books.wallets import WALLETS
from tests.cast import NOON
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


LIVENESS = ("stuck", "parked", "wait", "recorded", "expires_when")
"""In the names of invariants that hold only where sweeps go on and Stripe refuses nothing."""


@pytest.fixture
def money_is_right() -> Iterator[None]:
    """Whatever the test does: afterwards no money is lost, and every account, note and tax is as it must be."""
    yield
    money = [invariant.name for invariant in (*LEDGER, *POSTINGS, *WALLETS, *TAXES, *CREDIT_NOTES)]
    lasting = [name for name in money if not any(word in name for word in LIVENESS)]
    assert [(found.invariant.name, found.rows) for found in check(NOON, only=lasting)] == []
