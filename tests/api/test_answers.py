"""Answers say decimals in plain digits and times in UTC."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest

from api.answers import encode


class Line(msgspec.Struct):
    amount: Decimal
    at: datetime | None = None


@pytest.mark.parametrize(
    ("amount", "said"),
    [("0E-12", "0.000000000000"), ("1E-9", "0.000000001"), ("1E+3", "1000"), ("12.50", "12.50"), ("-0.10", "-0.10")],
)
def test_a_decimal_is_a_string_of_plain_digits(amount, said):
    assert msgspec.json.decode(encode([Line(Decimal(amount))]))[0]["amount"] == said


def test_a_time_is_told_in_utc():
    at = datetime(2026, 11, 20, 11, tzinfo=ZoneInfo("Europe/Berlin"))
    assert b'"2026-11-20T10:00:00Z"' in encode({"line": Line(Decimal(1), at)})


def test_a_time_without_a_zone_is_never_told():
    with pytest.raises(ValueError, match="zone"):
        encode(datetime(2026, 11, 20))  # noqa: DTZ001
