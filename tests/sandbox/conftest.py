from collections.abc import Iterator

import pytest
from stripe import StripeClient

from sandbox.stripe_sandbox import StripeSandbox
from tests.sandbox.stripe_cast import client_of


class FrozenClock:
    """Stripe's clock, moved by the test."""

    def __init__(self) -> None:
        self.seconds = 1_793_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def sandbox(clock: FrozenClock) -> Iterator[StripeSandbox]:
    with StripeSandbox(clock=clock) as running:
        yield running


@pytest.fixture
def client(sandbox: StripeSandbox) -> StripeClient:
    return client_of(sandbox)
