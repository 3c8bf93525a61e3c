"""A call's cost is exact until its one rounding to nano-dollars."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.costing import PriceTooFine, Rate, atto_per_request, atto_per_token, cost_nanos

SONNET = Rate(
    id=1,
    input_atto=atto_per_token(Decimal("3")),
    cache_read_atto=atto_per_token(Decimal("0.3")),
    cache_write_atto=atto_per_token(Decimal("3.75")),
    output_atto=atto_per_token(Decimal("15")),
    request_atto=0,
)
TOKENS = st.integers(0, 10**9)
PRICES = st.decimals(0, 999_999, places=12)


def flat(usd_per_million: str, request: str = "0") -> Rate:
    """The same price for every bucket."""
    atto = atto_per_token(Decimal(usd_per_million))
    return Rate(1, atto, atto, atto, atto, atto_per_request(Decimal(request)))


def test_each_bucket_is_charged_at_its_own_price() -> None:
    # 1,000 x 3 + 10,000 x 0.30 + 2,000 x 3.75 + 500 x 15 = 21,000 millionths of a dollar
    assert cost_nanos(SONNET, 1_000, 10_000, 2_000, 500) == 21_000_000


def test_half_a_nano_dollar_is_rounded_away_from_zero() -> None:
    assert [cost_nanos(flat("0.0005"), tokens, 0, 0, 0) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]


def test_a_call_is_rounded_once_and_not_once_a_bucket() -> None:
    assert cost_nanos(flat("0.0004"), 1, 1, 1, 1) == 2


def test_a_price_per_request_is_charged_once_a_call() -> None:
    assert cost_nanos(flat("1", request="0.012"), 1, 0, 0, 0) == 12_001_000


def test_a_thousand_million_tokens_at_a_twelfth_of_a_dollar_are_right_to_the_nano() -> None:
    exact = Decimal(10**9) / 12 / 10**6 * 10**9
    assert abs(cost_nanos(flat("0.083333333333"), 10**9, 0, 0, 0) - exact) < 1


def test_a_price_finer_than_twelve_decimals_is_refused() -> None:
    with pytest.raises(PriceTooFine):
        atto_per_token(Decimal("0.0833333333333"))


@given(PRICES, PRICES, PRICES, PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_integers_agree_with_decimal_arithmetic(
    p1: Decimal, p2: Decimal, p3: Decimal, p4: Decimal, t1: int, t2: int, t3: int, t4: int
) -> None:
    rate = Rate(1, *map(atto_per_token, (p1, p2, p3, p4)), request_atto=0)
    exact = (p1 * t1 + p2 * t2 + p3 * t3 + p4 * t4) * 1000
    assert cost_nanos(rate, t1, t2, t3, t4) == exact.to_integral_value(ROUND_HALF_UP)
