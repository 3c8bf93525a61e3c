"""Databases and sessions for the billing tests: those of metering."""

from tests.metering.conftest import committed, default_scheme_afterwards, no_remembered_rates, sessions

__all__ = ["committed", "default_scheme_afterwards", "no_remembered_rates", "sessions"]
