"""A database whose work is committed, for the example that needs Stripe."""

from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates, sessions

__all__ = ["committed", "default_scheme_afterwards", "no_remembered_rates", "sessions"]
