"""What does one model call cost us? Integers in, nano-dollars out; no clock, no database.

Prices are kept as atto-dollars (10^-18 USD) per token: a price in USD per million tokens with up to 12 decimals,
the precision of the rate book, is then an integer, so that a cost is exact until its one rounding.
"""

from dataclasses import dataclass
from decimal import Decimal

_ATTO_PER_NANO = 10**9
_HALF_A_NANO = _ATTO_PER_NANO // 2


class PriceTooFine(ValueError):
    """A price has more decimals than a whole number of atto-dollars can hold."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a provider charges for one call: atto-dollars per token of each bucket, and per request.

    `id` names the row of the rate book, so that an event can keep the rate it was costed with.
    """

    id: int
    input_atto: int
    cache_read_atto: int
    cache_write_atto: int
    output_atto: int
    request_atto: int


def atto_per_token(usd_per_million: Decimal) -> int:
    """USD per million tokens as atto-dollars per token. Raises PriceTooFine beyond 12 decimals."""
    return _whole(usd_per_million.scaleb(12))


def atto_per_request(usd: Decimal) -> int:
    """USD per request as atto-dollars. Raises PriceTooFine beyond 18 decimals."""
    return _whole(usd.scaleb(18))


def _whole(atto: Decimal) -> int:
    if atto != atto.to_integral_value():
        raise PriceTooFine(f"{atto} atto-dollars is not a whole number")
    return int(atto)


def cost_nanos(
    rate: Rate, input_tokens: int, cache_read_tokens: int, cache_write_tokens: int, output_tokens: int
) -> int:
    """The cost of one call in integer nano-dollars, rounded once, half away from zero.

    The buckets are disjoint; output holds reasoning. Counts and prices are never negative, which is why adding
    a half and flooring is the rounding asked for.
    """
    return (
        rate.input_atto * input_tokens
        + rate.cache_read_atto * cache_read_tokens
        + rate.cache_write_atto * cache_write_tokens
        + rate.output_atto * output_tokens
        + rate.request_atto
        + _HALF_A_NANO
    ) // _ATTO_PER_NANO
