"""Whole years of customers, each as an accountant would want to see it."""

import pytest

pytest.register_assert_rewrite("tests.stories.ledger_of_a_year")
